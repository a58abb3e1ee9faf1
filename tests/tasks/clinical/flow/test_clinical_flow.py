"""The flow of records: what it may look at, what it keeps, and what training reaches."""

from __future__ import annotations

import pytest
import torch
from clinical_flow import BINS, small_flow
from torch import Tensor

from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.pairs import PairSet, knot_times, sample_pairs
from weir.distillation.regression import RegressionObjective
from weir.flows.model import FlowModel
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.flow.items import FlowBatch, Masks, Query, by_code
from weir.tasks.clinical.flow.joint import JointObjective
from weir.tasks.clinical.flow.loss import FlowObjective
from weir.tasks.clinical.flow.record_flow import RecordFlow
from weir.tasks.clinical.representation.stage1 import Stage1Objective
from weir.tasks.clinical.settings.models import ClinicalStage1


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


def test_no_attribute_hides_a_method_of_flows(flow: RecordFlow) -> None:
    """`grid` once did, which a teacher found out."""
    methods = {name for name in dir(FlowModel) if callable(getattr(FlowModel, name))}
    methods -= set(dir(torch.nn.Module))
    own = {*vars(flow), *flow._modules, *flow._buffers, *flow._parameters}
    assert not own & methods
    torch.testing.assert_close(flow.step_times(4), torch.linspace(0, 1, 5))


def test_single_cells_are_hidden_by_code(flow: RecordFlow, some: Records):
    """One code hidden everywhere: it is not looked at, the others of the same bins are."""
    hidden = torch.zeros(12, BINS, flow.codes + 1, dtype=torch.bool)
    hidden[..., 1] = True
    found = flow.fill(some, hidden, 4, generator=seeded())
    other = flow.fill(without(some, some.code == 1), hidden, 4, generator=seeded())
    torch.testing.assert_close(found.mean, other.mean)
    moved = some._replace(value=some.value + 1.0 * (some.code == 2) * some.measured)
    assert not torch.allclose(flow.fill(moved, hidden, 4).mean[:, 0], found.mean[:, 0])


def test_nothing_is_filled_after_the_end(flow: RecordFlow, some: Records):
    short = some._replace(end=torch.full_like(some.end, 10.0))
    found = flow.fill(short, torch.ones(12, BINS, dtype=torch.bool), 2)
    assert int(found.bin.max()) == int(10.0 / flow.grid.width)
    assert found.samples.shape == (len(found.bin), 2, flow.codes)


def test_what_was_stored_of_a_record_is_what_the_first_stage_says(
    flow: RecordFlow, tiny_clinical: ClinicalData
):
    train, items = tiny_clinical.split("train"), torch.tensor([5, 2, 30])
    batch = flow.items(train).batch(items)
    assert isinstance(batch, FlowBatch)
    representation = flow.vae.represent(train.batch(items))
    torch.testing.assert_close(batch.representation, representation, atol=5e-3, rtol=2e-3)


def test_queries_are_the_same_each_time_and_training_masks_are_not(
    flow: RecordFlow, tiny_clinical: ClinicalData
):
    train, items = tiny_clinical.split("train"), torch.arange(20)
    torch.manual_seed(0)
    queries = flow.queries(train)
    fixed = [queries.batch(some).hidden for some in (items, items.flip(0))]
    assert torch.equal(fixed[0], fixed[1].flip(0))
    data = flow.items(train)
    assert not torch.equal(data.batch(items).hidden, data.batch(items).hidden)


def test_masks_are_of_all_kinds():
    masks = Masks(nothing=0.3, prefix=0.3, cells=0.2, known=0.9, known_shown=0.2)
    hidden, told = masks.draw(6000, 12, 3, torch.Generator().manual_seed(0))
    nothing = hidden.all(2).all(1)
    whole = (hidden == hidden[..., :1]).all(2).all(1)
    bins = hidden[..., 0]
    beginning = whole & (bins.long().diff(dim=1) >= 0).all(1) & ~nothing & ~bins[:, 0]
    assert abs(float(nothing.float().mean()) - 0.3) < 0.03
    assert 0.27 < float(beginning.float().mean()) < 0.4  # few random masks look like it
    assert abs(float((~whole).float().mean()) - 0.2) < 0.03
    assert abs(float(told[nothing].float().mean()) - 0.9) < 0.03
    assert abs(float(told[~nothing].float().mean()) - 0.2) < 0.03
    assert by_code(bins, 3).shape == hidden.shape and by_code(hidden, 3) is hidden


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
    law = model.code(model.vae.represent(some))
    code = law.sample()
    encoder = [p for n, p in model.vae.named_parameters() if n.startswith("posterior")]
    # By the flow itself, and by what is decoded from the code.
    for loss in (joint.flow._standard(code, law).square().sum(), joint._flow(some, 1.0)["loss"]):
        gradients = torch.autograd.grad(loss, encoder, retain_graph=True)
        assert all(bool(g.abs().sum() > 0) for g in gradients)
    groups = joint.parameter_groups()
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed))
    own = [id(p) for n, p in model.named_parameters() if not n.startswith("vae.")]
    assert set(own) <= set(listed)
    assert id(model.vae.posterior.weight) in listed
    whole = joint(some, 1.0)
    assert bool(joint.eval()(some, 1.0)["loss"].isfinite())
    assert bool(whole["loss"].isfinite())
    assert int(model.code.batches) == 2


def test_a_student_begins_as_its_teacher(flow: RecordFlow, some: Records):
    student = flow.as_student()
    hidden = by_code(late(), flow.codes + 1)
    condition = flow.condition(Query(some, hidden, torch.zeros(12, dtype=torch.bool)))
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


def test_filled_values_have_the_law_of_single_values_in_the_order_of_what_was_made(
    tiny_clinical: ClinicalData, some: Records
):
    flow = small_flow(tiny_clinical)
    # A decoder that is sure of what it says, of values next to nothing: the code sets the order.
    codes = flow.codes
    torch.nn.init.constant_(flow.decoder.value.bias[codes : 2 * codes], -20.0)
    torch.nn.init.constant_(flow.decoder.value.bias[3 * codes :], -20.0)
    torch.nn.init.zeros_(flow.decoder.neighbours.weight)
    torch.nn.init.constant_(flow.decoder.log_pace, 20.0)
    torch.nn.init.zeros_(flow.decoder.own.weight)
    found = flow.fill(some, late(), 400, generator=seeded())
    spread = found.samples[:, :, :2] - found.samples[:, :, :2].mean(1, keepdim=True)
    assert bool((spread.std(1) > 0).all())
    # Values of one sample go together, from bin to bin as well: one code orders all.
    first, second = spread[0, :, 0], spread[1, :, 0]
    assert int(found.record[0]) == int(found.record[1])
    correlation = (first * second).mean() / (first.std() * second.std())
    assert float(correlation.abs()) > 0.5
    # Each value by itself has its own law, whatever the order.
    inner = found.mean.abs() < 1
    assert inner.any()
    torch.testing.assert_close(found.samples.mean(1)[inner], found.mean[inner], atol=0.25, rtol=0)
