"""Simulated tissue: told where a cell sits, the flow makes the cells of that place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from perturb_tissue import simulated_tissue, trained_autoencoder, trained_flow
from torch import Tensor

from weir.artifacts.model_folder import ModelCard
from weir.tasks.perturb.data.cells import CellSet
from weir.tasks.perturb.data.load import PerturbData
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.flow.coupling import beside_niche
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.law import Law

SETTINGS = Simulation(
    cells=900,
    genes=40,
    cell_types=2,
    batches=1,
    perturbations=1,
    doses=(10.0,),
    combinations=0,
    type_effect=0.3,
    state=0.2,
    spatial=1.5,
    depth=2000.0,
)
ANSWERING = SETTINGS.model_copy(
    update={"spatial": 0.0, "spatial_response": 0.8, "type_dependence": 0.0, "targets": 0.3}
)
"""Here the place changes how a cell responds, and nothing else."""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> PerturbData:
    return simulated_tissue(SETTINGS, tmp_path_factory.mktemp("tissue"))


@pytest.fixture(scope="module")
def autoencoder(tissue: PerturbData, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return trained_autoencoder(tissue, tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> PerturbData:
    return simulated_tissue(ANSWERING, tmp_path_factory.mktemp("answering"))


def controls_of(tissue: PerturbData) -> CellSet:
    return tissue.cells(tissue.table.condition == 0)


def field_of(tissue: PerturbData, cells: CellSet) -> Tensor:
    """The true field at the cells' places."""
    numbers = [int(name.removeprefix("cell")) for name in tissue.cell_names[cells.rows.numpy()]]
    return torch.from_numpy(Law.load(tissue.folder).parameters.field[numbers])


def direction_of(tissue: PerturbData, shift: str) -> Tensor:
    law = Law.load(tissue.folder)
    gene = {name: k for k, name in enumerate(law.names.genes)}
    whole = getattr(law.parameters, shift).reshape(-1)
    return torch.tensor([whole[gene[name]] for name in tissue.schema.genes])


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def follows_the_place(model: CellFlow, tissue: PerturbData) -> float:
    """Correlation over control cells of the true field and that of cells made in their place."""
    controls = controls_of(tissue)
    sources = controls.batch(torch.arange(len(controls)))
    made = model.respond(sources, sources.doses, generator=torch.Generator().manual_seed(0))
    along = made.expression.double() @ direction_of(tissue, "tissue")
    return correlation(along, field_of(tissue, controls))


def test_a_flow_that_is_told_the_niche_follows_the_tissue(
    tissue: PerturbData, autoencoder: ModelCard, tmp_path: Path
) -> None:
    noise = {"source": "noise"}
    told, blind = (
        trained_flow(
            tissue, autoencoder, tmp_path / "-".join(roles), context={"roles": roles}, **noise
        )
        for roles in (["cell_type", "niche"], ["cell_type"])
    )
    on, off = follows_the_place(told, tissue), follows_the_place(blind, tissue)
    # Of measured cells, whose noise no prediction has, it is .55.
    assert on > 0.2 > abs(off), (on, off)


def edits(model: CellFlow, tissue: PerturbData) -> tuple[float, float]:
    """How single cells' edits agree with the law.

    Returns:
        Correlation of the size of a cell's response with its exact, noiseless one; and root mean
        squared error against the exact twins, in units of that of no change.
    """
    controls, law = controls_of(tissue), Law.load(tissue.folder)
    sources = controls.batch(torch.arange(len(controls)))
    doses = torch.full((len(controls), 1), 10.0)
    made = model.respond(sources, doses, generator=torch.Generator().manual_seed(0))

    def expression(counts: Tensor) -> Tensor:
        return log_normalise(counts, counts.sum(1), tissue.schema.scale).double()

    exact = expression(law.rates(controls.rows, doses))
    exact = exact - expression(law.rates(controls.rows, 0 * doses))
    before, twins = expression(sources.counts), expression(law.twins(controls.rows, doses))
    direction = direction_of(tissue, "effect")
    size = correlation((made.expression - before) @ direction, exact @ direction)
    error, still = (x.sub(twins).square().sum() for x in (made.expression, before))
    return size, float((error / still).sqrt())


def test_an_edit_that_is_told_the_niche_differs_from_place_to_place(
    answering: PerturbData, tmp_path: Path
) -> None:
    vae = trained_autoencoder(answering, tmp_path)
    told, blind = (
        trained_flow(answering, vae, tmp_path / name, context={"effect_roles": roles})
        for name, roles in (("on", ["niche"]), ("off", []))
    )
    (size, error), (blind_size, blind_error) = edits(told, answering), edits(blind, answering)
    # The twins, with the noise that a cell has before and after, reach .88.
    assert size > 0.4 > 0.2 > abs(blind_size), (size, blind_size)
    assert error < 0.97 * blind_error, (error, blind_error)


def test_places_weigh_as_much_as_latents_whatever_their_unit() -> None:
    torch.manual_seed(0)
    latent, niche = torch.randn(500, 3), torch.randn(500, 2) * torch.tensor([5.0, 0.01])
    beside = beside_niche(latent, torch.cat([niche, torch.ones(500, 1)], 1))
    assert beside.shape == (500, 5)
    variance = beside.var(0, correction=0)
    assert torch.allclose(variance[:3].sum(), variance[3:].sum(), rtol=1e-4)
    assert torch.allclose(variance[3], variance[4], rtol=1e-4)
    assert torch.equal(beside_niche(latent, torch.zeros(500, 0)), latent)
