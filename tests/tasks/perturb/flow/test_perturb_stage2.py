"""Stage 2: items of latents, losses, what is learnt, and whom the gradient reaches."""

from __future__ import annotations

import pytest
import torch
from perturb_tiny_flow import CONDITIONS, LATENT, cell_set, flow, stir
from torch import Tensor

from weir.artifacts.model_folder import ModelCard
from weir.errors import UserError
from weir.metrics.distances import energy_distance
from weir.settings.nodes import Distill
from weir.stages.restore import build_model
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.flow import joint, stage2
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.flow.latents import EncodedCells, LatentSet
from weir.tasks.perturb.flow.loss import Stage2Objective, grouped_energy
from weir.tasks.perturb.settings.models import PerturbJoint, PerturbStage1, PerturbStage2

SHIFTS = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, -1.0, 1.0], [2.0, -1.0, 1.0]])


def shifted(cells: int = 240) -> LatentSet:
    """Pairs whose latents differ by the shift of their condition, and nothing else."""
    torch.manual_seed(0)
    number = torch.arange(cells)
    condition = torch.cat([torch.zeros(cells, dtype=torch.int64), number % 3 + 1])
    control = torch.randn(cells, LATENT)
    ones = torch.ones(2 * cells)
    encoded = EncodedCells(
        torch.cat([control, control + SHIFTS[number % 3 + 1]]),
        torch.full((2 * cells, LATENT), -4.0),
        torch.zeros(2 * cells, 2),
        torch.zeros(2 * cells, 2),
        300 * ones,
        ones.long(),
        ones.long(),
        torch.zeros(2 * cells, 0),
    )
    return LatentSet(
        encoded,
        CONDITIONS,
        condition,
        condition,
        cells + number,
        number[:, None],
        torch.ones(cells),
    )


def train(objective: Stage2Objective, data: LatentSet, steps: int = 80) -> None:
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], 1e-2)
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(data.batch(torch.randint(len(data), (128,))), 0.0)["loss"].backward()
        optimizer.step()
    objective.eval()


def moved(model: CellFlow, data: LatentSet) -> tuple[Tensor, Tensor]:
    """Shift of every item's generated latent, and its condition."""
    batch = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        condition = model.condition(batch)
        x = model.source(condition, 1)
        made = model.transport(x, condition).final
    return (made - x)[:, 0], data.condition[data.targets]


@pytest.mark.parametrize("energy_weight", [0.0, 1.0])
def test_flow_from_controls_recovers_a_known_shift(energy_weight: float) -> None:
    data, model = shifted(), flow()
    train(Stage2Objective(model, energy_weight=energy_weight), data)
    shift, condition = moved(model, data)
    for kind in (1, 2, 3):
        found = shift[condition == kind].mean(0)
        torch.testing.assert_close(found, SHIFTS[kind], atol=0.15, rtol=0)


def test_interaction_is_not_assumed_where_effects_add() -> None:
    """Doubles that were never seen are the sum of the singles, up to what the network makes of it.

    Their direction at least has to be right: the adapter adds, the field is linear in alpha.
    """
    data, model = shifted(), flow(interaction=0)
    singles = data.targets[data.condition[data.targets] < 3]
    train(
        Stage2Objective(model),
        LatentSet(
            data.cells,
            data.conditions,
            data.condition,
            data.group,
            singles,
            (singles - 240)[:, None],
            torch.ones(len(singles)),
        ),
    )
    shift, condition = moved(model, data)
    torch.testing.assert_close(shift[condition == 3].mean(0), SHIFTS[3], atol=0.3, rtol=0)


def test_what_all_cells_have_in_common_is_learnt_as_if_it_stood_alone() -> None:
    """The state-dependent part may fit the items at will: the common part stays their mean."""
    data, model = shifted(), flow(state=0.0)
    train(Stage2Objective(model), data)
    found, condition = moved(model, data)
    assert found[condition == 1].std(0).max() < 1e-5
    rich = flow()
    rich.network.state = 0.0
    train(Stage2Objective(rich), data)
    common, _ = moved(rich, data)
    for kind in (1, 2, 3):
        for shift in (found, common):
            torch.testing.assert_close(
                shift[condition == kind].mean(0), SHIFTS[kind], atol=0.2, rtol=0
            )


def test_networks_decay_and_perturbations_do_not() -> None:
    objective = Stage2Objective(flow(source="noise", effect_roles=("cell_type",)))
    decayed, free = objective.parameter_groups()
    assert free["weight_decay"] == 0 and "weight_decay" not in decayed
    model = objective.model
    assert {id(p) for p in decayed["params"]} == {
        id(p) for part in (model.network.base, model.network.basis) for p in part.parameters()
    }
    every = [id(p) for group in (decayed, free) for p in group["params"]]
    assert sorted(every) == sorted(id(p) for p in objective.parameters() if p.requires_grad)


def test_grouped_energy_is_the_energy_distance_of_each_group() -> None:
    torch.manual_seed(0)
    made, truth = torch.randn(30, 2), torch.randn(30, 2) + 1
    one = torch.zeros(30, dtype=torch.int64)
    # The statistic leaves out pairs of one item, as if the diagonal were not known.
    cross = torch.cdist(made, truth)
    cross = (cross.sum() - cross.diagonal().sum()) / (30 * 29)
    within = [torch.pdist(x).mean() for x in (made, truth)]
    torch.testing.assert_close(grouped_energy(made, truth, one), 2 * cross - sum(within))
    group = torch.arange(30) % 2
    halves = [grouped_energy(made[group == k], truth[group == k], one[:15]) for k in (0, 1)]
    torch.testing.assert_close(grouped_energy(made, truth, group), sum(halves) / 2)
    assert grouped_energy(made, truth, torch.arange(30)) == 0
    much = torch.randn(600, 2), torch.randn(600, 2) + 1
    found = grouped_energy(*much, torch.zeros(600, dtype=torch.int64)).item()
    assert found == pytest.approx(float(energy_distance(*much)), abs=1e-2)


def test_energy_s_gradient_is_finite_for_equal_cells() -> None:
    made = torch.zeros(6, 2, requires_grad=True)
    grouped_energy(made, torch.zeros(6, 2), torch.zeros(6, dtype=torch.int64)).backward()
    assert torch.isfinite(made.grad).all()


def test_items_are_perturbed_cells_with_controls_of_their_context() -> None:
    data, model = cell_set(), flow()
    stage2.fit(model, data)
    items = model.items(data)
    assert torch.equal(items.targets, (data.condition > 0).nonzero()[:, 0])
    assert (data.condition[items.sources] == 0).all()
    assert (data.context[items.sources] == data.context[items.targets][:, None]).all()
    batch = items.batch(torch.tensor([0, 5]))
    some = data.batch(items.targets[[0, 5]])
    torch.testing.assert_close(batch.query.doses, some.doses)
    with torch.no_grad():
        torch.testing.assert_close(batch.mean, model.vae.encode(some).mean)


def test_items_from_noise_are_all_cells_and_their_own_sources() -> None:
    data, model = cell_set(), flow(source="noise")
    items = model.items(data)
    assert len(items) == len(data)
    batch = items.batch(torch.arange(len(data)))
    assert torch.equal(batch.mean, batch.query.cells.mean)
    torch.testing.assert_close(batch.query.doses, data.doses())


def test_cells_without_controls_in_their_context_are_refused() -> None:
    data = cell_set()
    with pytest.raises(UserError, match="no perturbed cell of a part has a control"):
        flow().items(data.subset(data.condition > 0))


def test_balance_weighs_groups_alike() -> None:
    data = cell_set()
    few = data.subset((data.condition != 1) | (torch.arange(len(data)) < 20))
    model = flow(pairing=stage2.Pairing(balance=1.0))
    items = model.items(few)
    group = items.group[items.targets]
    sums = torch.stack([items.weight[group == g].sum() for g in group.unique()])
    torch.testing.assert_close(sums, sums[0].expand_as(sums))
    assert items.weight.mean().item() == pytest.approx(1)


def test_fit_standardises_the_latents_of_the_training_cells() -> None:
    data, model = cell_set(), flow()
    stage2.fit(model, data)
    with torch.no_grad():
        cells = model.items(data).cells
        draws = cells.mean + (0.5 * cells.log_variance).exp() * torch.randn(500, *cells.mean.shape)
        x = model.standardise(draws)
    torch.testing.assert_close(x.mean((0, 1)), torch.zeros(LATENT), atol=0.02, rtol=0)
    torch.testing.assert_close(x.std((0, 1)), torch.ones(LATENT), atol=0.02, rtol=0)


def test_a_type_never_perturbed_counts_as_unknown_to_the_perturbation_but_not_to_the_base() -> None:
    data, model = cell_set(), flow(source="noise", effect_roles=("cell_type",))
    stage2.fit(model, data.subset((data.condition == 0) | (data.cell_type_code == 1)))
    assert model.effect.seen_cell_type.tolist() == [False, True, False]
    assert model.base.seen_cell_type.tolist() == [False, True, True]


@pytest.mark.parametrize("source", ["control", "noise"])
def test_gradient_does_not_reach_the_frozen_autoencoder(source: str) -> None:
    data, model = cell_set(), stir(flow(source=source))
    before = {name: value.clone() for name, value in model.vae.state_dict().items()}
    objective = Stage2Objective(model, energy_weight=1.0).train()
    optimizer = torch.optim.AdamW(objective.parameter_groups()[0]["params"], 0.1)
    items = model.items(data)
    for _ in range(2):
        objective(items.batch(torch.arange(len(items))), 0.0)["loss"].backward()
        optimizer.step()
    assert all(p.grad is None for p in model.vae.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.vae.state_dict().items())
    assert all(p.grad is not None for p in model.network.parameters())
    assert not model.vae.training and model.network.training


def test_validation_values() -> None:
    data, model = cell_set(), stir(flow())
    objective, items = Stage2Objective(model), model.items(data)
    batch = items.batch(torch.arange(32))
    assert set(objective.train()(batch, 0.0)) == {"loss"}
    with torch.no_grad():
        assert set(objective.eval()(batch, 0.0)) == {"loss", "energy"}


def card(data: PerturbData, section: str, config: object, upstream: object = None) -> ModelCard:
    return ModelCard(
        section=section,
        name="tiny",
        seed=0,
        task="perturb",
        dataset=data.name,
        config=config.model_dump(mode="json"),
        schema=data.card(),
        upstream=upstream and vars(upstream),
    )


@pytest.mark.parametrize("source", ["control", "noise"])
def test_nodes_build_prepare_train_and_generate(tiny_perturb: PerturbData, source: str) -> None:
    """The whole way on preprocessed cells: configuration, card, items, loss, student, counts."""
    network = {"d_int": 4, "d_tech": 2, "hidden": 16}
    first = card(tiny_perturb, "stage1", PerturbStage1(dataset="tiny", network=network))
    vae = build_model(first).eval()
    config = PerturbStage2(stage1="tiny", source=source, field={"width": 16, "layers": 1})
    second = card(tiny_perturb, "stage2", config, first)
    model = build_model(second)
    training = tiny_perturb.split("train")
    stage2.prepare(model, config, training, vae)
    objective = stage2.objective(config, model)
    for part in ("train", "validation"):
        items = model.items(tiny_perturb.split(part))
        losses = objective.eval()(items.batch(torch.arange(min(64, len(items)))), 0.0)
        assert all(torch.isfinite(loss) for loss in losses.values())
    again = build_model(second)
    again.load_state_dict(model.state_dict())
    response = tiny_perturb.responses("test")[0]
    sources = response.sources.batch(torch.arange(10))
    target = response.truth.doses()[:1].expand(10, -1)
    made = [
        m.eval().respond(sources, target, generator=torch.Generator().manual_seed(0)).counts
        for m in (model, again)
    ]
    assert torch.equal(*made) and made[0].shape == (10, len(tiny_perturb.schema.genes))
    pupil = build_model(card(tiny_perturb, "distill", Distill(teacher="t"), second))
    pupil.load_state_dict(model.as_student().state_dict())
    assert pupil.student and pupil.nfe() == 1


def test_joint_node_builds_and_prepares(tiny_perturb: PerturbData) -> None:
    network = {"d_int": 4, "d_tech": 2, "hidden": 16}
    config = PerturbJoint(dataset="tiny", network=network, field={"width": 16, "layers": 1})
    model = build_model(card(tiny_perturb, "joint", config))
    training = tiny_perturb.split("train")
    joint.prepare(model, config, training)
    objective = joint.objective(config, model)
    losses = objective(training.batch(torch.arange(64)), 0.5)
    losses["loss"].backward()
    assert not model.frozen and model.vae.encoder.input.weight.grad.abs().sum() > 0


def test_trigonometric_path_from_controls_is_refused() -> None:
    with pytest.raises(ValueError, match="linear for source control"):
        PerturbStage2(stage1="a", path="trigonometric")
