"""The flow of cells: identity without a perturbation, abduction, decoding, students."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from perturb_tiny_flow import CONDITIONS, GENES, LATENT, cell_set, cells, flow, stir, vocabulary

from weir.distillation.distributional import EnergyObjective
from weir.distillation.pairs import PairSet, knot_times, sample_pairs
from weir.distillation.regression import EndpointObjective, RegressionObjective
from weir.errors import UserError
from weir.tasks.perturb.data.schema import Condition, Context, LibraryLaw, Schema
from weir.tasks.perturb.flow.context import Vocabulary
from weir.tasks.perturb.flow.latents import query_set

TARGET = torch.tensor([1.0, 2.0])
NOTHING = torch.zeros(2)


def test_no_perturbation_returns_the_control_s_latent_to_the_bit() -> None:
    model = stir(flow()).eval()
    with torch.no_grad():
        condition = model.condition(cells(6, NOTHING))
        x = model.source(condition, 3)
        assert torch.equal(model.transport(x, condition, steps=5).final, x)
        moved = model.transport(x, model.condition(cells(6, TARGET)), steps=5).final
    assert (moved - x).abs().max() > 0.01


def test_no_perturbation_returns_the_very_counts_of_an_edited_cell() -> None:
    model, sources = stir(flow()).eval(), cells(6)
    made = model.respond(sources, NOTHING.expand(6, -1))
    assert torch.equal(made.counts, sources.counts)
    other = model.respond(sources, TARGET.expand(6, -1))
    assert not torch.equal(other.counts, sources.counts)


def test_source_is_the_posterior_of_the_control_cell() -> None:
    model = flow().eval()
    model.latent_mean.copy_(torch.tensor([1.0, 0.0, -1.0]))
    model.latent_sd.copy_(torch.tensor([2.0, 0.5, 1.0]))
    with torch.no_grad():
        posterior = model.vae.encode(cells())
        draws = model.source(model.condition(cells()), 20000)
    draws = draws * model.latent_sd + model.latent_mean
    torch.testing.assert_close(draws.mean(1), posterior.mean, atol=0.04, rtol=0)
    torch.testing.assert_close(draws.var(1), posterior.log_variance.exp(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("path", ["linear", "trigonometric"])
def test_inverting_then_integrating_under_one_condition_returns_the_cell(path: str) -> None:
    model = stir(flow(source="noise", path=path)).eval()
    with torch.no_grad():
        condition = model.condition(cells(6, TARGET))
        x = torch.randn(6, 4, LATENT)
        noise = model.invert(x, condition, steps=120)
        back = model.transport(noise, condition, steps=120).final
    assert (noise - x).abs().max() > 0.1
    torch.testing.assert_close(back, x, atol=1e-3, rtol=0)


def test_edit_from_noise_under_no_perturbation_keeps_the_cell() -> None:
    model = stir(flow(source="noise", keep_noise=False)).eval()
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    some = cells()
    made = [
        model.respond(
            some, NOTHING.expand(6, -1), steps=40, solver="heun", estimand="edit", generator=g
        ).expression
        for g in generators
    ]
    assert torch.equal(*made) and made[0].shape == (6, GENES)


def test_untrained_flow_from_noise_is_the_gaussian() -> None:
    model = flow(source="noise").eval()
    with torch.no_grad():
        condition = model.condition(cells())
        x = model.source(condition, 5)
        end = model.transport(x, condition, steps=50, solver="heun").final
    torch.testing.assert_close(end, x, atol=2e-3, rtol=0)


def test_estimands_that_a_model_cannot_give_are_refused() -> None:
    some, target = cells(), TARGET.expand(6, -1)
    with pytest.raises(UserError, match="only edits"):
        flow().eval().respond(some, target, estimand="population")
    student = flow(source="noise").as_student().eval()
    with pytest.raises(UserError, match="abduction"):
        student.respond(some, target, estimand="edit")
    assert student.respond(some, target).counts.shape == (6, GENES)
    with pytest.raises(UserError, match="unknown"):
        flow().eval().respond(some, target, estimand="both")


def test_population_draws_its_own_library_and_edit_keeps_the_cell_s() -> None:
    model = flow(source="noise", keep_noise=False).eval()
    some = cells(1)
    many = type(some)(*(field.expand(400, *field.shape[1:]) for field in some))
    many = many._replace(library=torch.full((400,), 5000.0))
    made = {
        kind: model.respond(many, TARGET.expand(400, -1), estimand=kind).counts.sum(1).log()
        for kind in ("population", "edit")
    }
    mean, deviation = vocabulary().log_library
    assert made["population"].mean().item() == pytest.approx(mean, abs=0.2)
    assert made["population"].std() > 0.8 * deviation
    assert made["edit"].mean().item() == pytest.approx(torch.tensor(5000.0).log().item(), abs=0.2)


def test_decoded_means_add_up_to_the_library() -> None:
    model, some = flow().eval(), cells()
    with torch.no_grad():
        condition = model.condition(some)
        rate = model.decode(model.source(condition, 2), condition)
    torch.testing.assert_close(rate.sum(-1), some.library[:, None].expand(-1, 2))


def test_queries_are_all_controls_under_all_conditions() -> None:
    model, data = flow().eval(), cell_set()
    queries = model.queries(data)
    controls = (data.condition == 0).sum()
    assert len(queries) == controls * 3
    batch = queries.batch(torch.arange(len(queries)))
    pairs = torch.cat([batch.cells.mean, batch.doses], 1)
    assert len(pairs.unique(dim=0)) == len(queries)
    assert {tuple(row) for row in batch.doses.tolist()} == {
        tuple(row) for row in CONDITIONS[1:].tolist()
    }
    # A flow with a base has something to learn of the control as well.
    assert len(flow(source="noise").eval().queries(data)) == controls * 4


def test_teacher_without_a_control_is_refused() -> None:
    data = cell_set()
    with pytest.raises(UserError, match="no control cell"):
        query_set(flow().vae, data.subset(data.condition > 0), CONDITIONS[1:])


def test_as_student_copies() -> None:
    teacher = stir(flow()).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = teacher.as_student()
    assert student.student and not teacher.student and teacher.network.basis.step is None
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(p.requires_grad for p in student.vae.parameters())
    built = flow(student=True)
    built.load_state_dict(student.state_dict())


@pytest.mark.parametrize("source", ["control", "noise"])
@pytest.mark.parametrize("kind", [RegressionObjective, EnergyObjective, EndpointObjective])
def test_a_student_learns_from_stored_pairs_and_jumps_in_one_call(source: str, kind: type) -> None:
    teacher = stir(flow(source=source)).eval()
    queries = teacher.queries(cell_set())
    items = torch.arange(24)
    parts = list(sample_pairs(teacher, queries, items, draws=2, seed=3, steps=4, knots=1))
    output, knots = (torch.cat([getattr(part, n) for part in parts]) for n in ("output", "knots"))
    pairs = PairSet(queries, items, output, knots, knot_times(4, 1), 3)
    objective = kind(teacher.as_student()).train()
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], 3e-3)
    batch, losses = pairs.batch(torch.arange(24)), []
    torch.manual_seed(0)
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective(batch, 0.0)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if kind is not EnergyObjective:
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    student = objective.model.eval()
    made = student.respond(cells(), TARGET.expand(6, -1))
    assert student.nfe() == 1 and torch.isfinite(made.expression).all()


def test_vocabulary_reads_contexts_of_every_kind() -> None:
    schema = Schema(
        task="perturb",
        genes=("g",),
        perturbations=("A", "B"),
        conditions=(Condition("control"), Condition("A+B", {"B": 3.0, "A": 0.5})),
        cell_types=("T", "B", "NK"),
        batches=("one", "two"),
        contexts=(Context("T", "T"), Context("NK, two", "NK", "two")),
        niche=0,
        dose_scale=(0.5, float("nan")),
        scale=1000.0,
        library=LibraryLaw(7.0, 0.5),
        fold=None,
        simulated=False,
        cells={},
        repairs=(),
        source_sha256="",
        digest="",
    )
    found = Vocabulary.of(schema)
    assert found.conditions.tolist() == [[0, 0], [0.5, 3.0]]
    assert found.unit.tolist() == [0.5, 1.0]
    assert found.contexts.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 2]]
    every = Vocabulary.of(replace(schema, contexts=(Context(""),)))
    assert every.contexts.eq(1).all()
