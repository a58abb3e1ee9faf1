"""The flow of records: what it may look at, what it keeps, and what training reaches."""

from __future__ import annotations

import pytest
import torch
from clinical_flow import BINS, small_flow
from torch import Tensor

from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.pairs import PairSet, knot_times, sample_pairs
from weir.distillation.regression import RegressionObjective
from weir.tasks.clinical.bin_data import bin_batch
from weir.tasks.clinical.bin_masks import Masks
from weir.tasks.clinical.data import ClinicalData
from weir.tasks.clinical.flow import RecordFlow
from weir.tasks.clinical.flow_loss import FlowObjective
from weir.tasks.clinical.grid import merge
from weir.tasks.clinical.joint import JointObjective
from weir.tasks.clinical.records import Records
from weir.tasks.clinical.stage1 import Stage1Objective
from weir.tasks.clinical.stage1_config import ClinicalStage1


@pytest.fixture(scope="module")
def flow(tiny_clinical: ClinicalData) -> RecordFlow:
    """Untrained, but not the identity."""
    return small_flow(tiny_clinical)


@pytest.fixture
def some(tiny_clinical: ClinicalData) -> Records:
    """Twelve records."""
    return tiny_clinical.split("train").batch(torch.arange(12))


def late(records: int = 12) -> Tensor:
    """The last quarter hidden."""
    return (torch.arange(BINS) >= 6).expand(records, -1)


def without(records: Records, events: Tensor) -> Records:
    """The records less some events; sets that lose all of theirs are gone."""
    kept = ~events
    number, sets = torch.unique(records.event_set[kept], return_inverse=True)
    return records._replace(
        code=records.code[kept],
        value=records.value[kept],
        measured=records.measured[kept],
        event_set=sets,
        time=records.time[number],
        set_record=records.set_record[number],
    )


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_hidden_bins_and_outcomes_are_not_looked_at(flow: RecordFlow, some: Records):
    gone = (flow.grid.bin(some.time) >= 6)[some.event_set]
    assert gone.any()
    other = without(some, gone)._replace(outcome=1 - some.outcome)
    first, second = (flow.fill(r, late(), 4, generator=seeded()) for r in (some, other))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)


def test_shown_bins_are_looked_at(flow: RecordFlow, some: Records):
    other = some._replace(value=some.value + 1.0 * some.measured)
    first, second = (flow.fill(r, late(), 4, generator=seeded()) for r in (some, other))
    assert not torch.allclose(first.mean, second.mean)


def test_shown_bins_keep_their_latents(flow: RecordFlow, some: Records):
    condition = flow.query(some, late())
    x = flow.transport(flow.source(condition, 3), condition, steps=2).final
    latent = flow.decode(x, condition)[:, 0]
    binned = merge(some, flow.grid)
    shown = binned.occupied(flow.grid) & ~late()
    alone = binned.records._replace(set_record=torch.arange(len(binned.place)))
    mean = binned.dense(flow.vae.encode(alone).mean, flow.grid)
    torch.testing.assert_close(latent[shown][:, :-1], mean[shown], atol=1e-5, rtol=1e-4)
    assert bool((latent[shown][:, -1] == 1).all())
    assert bool((latent[~binned.occupied(flow.grid) & ~late()][:, -1] == -1).all())


def test_nothing_is_filled_after_the_end(flow: RecordFlow, some: Records):
    short = some._replace(end=torch.full_like(some.end, 10.0))
    found = flow.fill(short, torch.ones(12, BINS, dtype=torch.bool), 2)
    assert int(found.bin.max()) == int(10.0 / flow.grid.width)
    assert found.samples.shape == (len(found.bin), 2, flow.codes)


def test_a_batch_from_stored_latents_is_one_made_at_once(
    flow: RecordFlow, tiny_clinical: ClinicalData
):
    train = tiny_clinical.split("train")
    queries, items = flow.queries(train), torch.tensor([5, 2, 30])
    batch = queries.batch(items)
    again = bin_batch(
        train.batch(items),
        flow.grid,
        flow.marginals,
        flow.vae,
        queries.hidden[items],
        queries.told[items],
    )
    for a, b in zip(batch, again, strict=True):
        torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-3)


def test_queries_are_the_same_each_time_and_training_masks_are_not(
    flow: RecordFlow, tiny_clinical: ClinicalData
):
    train, items = tiny_clinical.split("train"), torch.arange(20)
    torch.manual_seed(0)
    fixed = [flow.queries(train).batch(items).hidden for _ in range(2)]
    assert torch.equal(*fixed)
    data = flow.items(train)
    assert not torch.equal(data.batch(items).hidden, data.batch(items).hidden)


def test_masks_are_of_all_three_kinds():
    masks = Masks(nothing=0.3, prefix=0.3)
    hidden, told = masks.draw(6000, 12, torch.Generator().manual_seed(0))
    assert bool(hidden.any(1).all())
    nothing = hidden.all(1)
    beginning = (hidden.long().diff(dim=1) >= 0).all(1) & ~nothing & ~hidden[:, 0]
    assert abs(float(nothing.float().mean()) - 0.3) < 0.03
    assert 0.27 < float(beginning.float().mean()) < 0.4  # few random masks look like it
    assert abs(float(told[nothing].float().mean()) - 0.9) < 0.03
    assert abs(float(told[~nothing].float().mean()) - 0.2) < 0.03


def test_stage_2_leaves_the_first_stage_alone(flow: RecordFlow, tiny_clinical: ClinicalData):
    objective = FlowObjective(flow).train()
    assert not flow.vae.training
    losses = objective(flow.items(tiny_clinical.split("train")).batch(torch.arange(16)), 0.5)
    losses["loss"].backward()
    assert all(p.grad is None for p in flow.vae.parameters())
    reached = [n for n, p in flow.named_parameters() if p.requires_grad and p.grad is None]
    assert not reached
    flow.zero_grad()
    flow.eval()


def test_joint_training_reaches_the_encoder(tiny_clinical: ClinicalData, some: Records):
    model = small_flow(tiny_clinical, frozen=False)
    first = Stage1Objective(model.vae, ClinicalStage1(dataset="x", outcome={"weight": 0}))
    joint = JointObjective(model, first, FlowObjective(model), weight=1.0, warmup=0.5)
    joint.train()
    assert joint.flow_weight(0.0) == 0.0
    assert joint.flow_weight(0.25) == 0.5
    losses = joint._flow(some)
    losses["loss"].backward()
    encoder = [p.grad for n, p in model.vae.named_parameters() if n.startswith("posterior")]
    assert all(g is not None and bool(g.abs().sum() > 0) for g in encoder)
    groups = joint.parameter_groups()
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed))
    own = [id(p) for n, p in model.named_parameters() if not n.startswith("vae.")]
    assert set(own) <= set(listed)
    assert id(model.vae.posterior.weight) in listed
    whole = joint(some, 1.0)
    assert bool(joint.eval()(some, 1.0)["loss"].isfinite())
    assert bool(whole["loss"].isfinite())
    assert int(joint.batches) == 2


def test_a_student_begins_as_its_teacher(flow: RecordFlow, some: Records):
    student = flow.as_student()
    condition = flow.query(some, late())
    x = flow.source(condition, 2, seeded())
    zero = torch.zeros(())
    torch.testing.assert_close(
        student.velocity(x, zero + 0.3, condition, zero),
        flow.velocity(x, zero + 0.3, condition),
    )
    assert student.nfe() == 1
    trained = {n.split(".")[0] for n, p in student.named_parameters() if p.requires_grad}
    assert trained == {"network"}


@pytest.mark.parametrize("method", ["regression", "meanflow"])
def test_pairs_of_a_teacher_train_a_student(
    flow: RecordFlow, tiny_clinical: ClinicalData, method: str
):
    queries, items = flow.queries(tiny_clinical.split("train")), torch.arange(12)
    found = next(iter(sample_pairs(flow, queries, items, draws=2, seed=0, steps=4, knots=2)))
    pairs = PairSet(queries, items, found.output, found.knots, knot_times(4, 2), 0)
    student = flow.as_student()
    objective = (
        RegressionObjective(student) if method == "regression" else MeanFlowObjective(student, flow)
    )
    optimizer = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], 3e-3)
    batch = pairs.batch(items)
    # Shown bins are at their place from the start: they are no part of what is learnt.
    known = flow.condition(batch.batch).known
    moved = (found.output - flow.colour(batch.noise, flow.condition(batch.batch))).abs()
    assert float(moved.transpose(1, 2)[known].max()) == 0.0
    losses = []
    for _ in range(8):
        torch.manual_seed(0)  # the same times at every step
        optimizer.zero_grad()
        loss = objective(batch, 0.5)["loss"]
        loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in student.network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    # The other method's targets move along with the student.
    assert method == "meanflow" or losses[-1] < losses[0]


def test_training_lowers_the_loss_and_finds_the_level_of_a_record(tiny_clinical: ClinicalData):
    """Ill subjects have higher values of c0 throughout: what is shown of it tells the rest."""
    flow = small_flow(tiny_clinical)
    data = flow.items(tiny_clinical.split("train"))
    objective = FlowObjective(flow, draws=1).train()
    optimizer = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad], 1e-2)
    torch.manual_seed(0)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        found = objective(data.batch(torch.randperm(len(data))[:32]), 0.5)
        found["loss"].backward()
        optimizer.step()
        losses.append(float(found["forecast"].detach()))
    assert sum(losses[-10:]) < sum(losses[:10])
    flow.eval()
    test = tiny_clinical.split("test")
    records = test.batch(torch.arange(len(test)))
    found = flow.fill(records, (torch.arange(BINS) >= 4).expand(len(test), -1), 8)
    by_record = torch.zeros(len(test)).index_add_(0, found.record, found.mean[:, 0])
    by_record /= found.record.bincount(minlength=len(test)).clamp_min(1)
    ill = records.outcome > 0
    assert float(by_record[ill].mean() - by_record[~ill].mean()) > 0.3


def test_filled_values_have_the_context_law_in_the_order_of_the_latents(
    tiny_clinical: ClinicalData, some: Records
):
    flow = small_flow(tiny_clinical)
    # A decoder that is sure of what it says: nothing but the latent sets the order.
    torch.nn.init.constant_(flow.decoder.value.bias[flow.codes :], -20.0)
    torch.nn.init.normal_(flow.decoder.value.weight[: flow.codes], std=1.0)
    found = flow.fill(some, late(), 400, generator=seeded())
    condition = flow.query(some, late())
    alone = flow.decoder.from_context(condition.context)
    mean, sd = (part[found.record, found.bin] for part in alone)
    score = torch.stack(
        [
            flow.marginals.scores(
                found.samples[..., code],
                torch.full((), code + 1).long().expand(found.samples.shape[:2]),
            )
            for code in range(3)
        ],
        -1,
    )
    inner = mean[:, :3].abs() + sd[:, :3] < 1.5
    assert inner.any()
    torch.testing.assert_close(score.mean(1)[inner], mean[:, :3][inner], atol=0.25, rtol=0)
    # Values of one sample go together: the same latents order all codes.
    spread = found.samples[:, :, :3] - found.samples[:, :, :3].mean(1, keepdim=True)
    together = (spread[..., 0] * spread[..., 1]).mean(1) / (
        spread[..., 0].std(1) * spread[..., 1].std(1)
    )
    assert float(together.abs().mean()) > 0.1
