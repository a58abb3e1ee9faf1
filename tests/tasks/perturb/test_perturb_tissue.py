"""Simulated tissue: told where a cell sits, the flow makes the cells of that place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from weir.config.training import Training
from weir.stages.model_folder import ModelCard
from weir.tasks.perturb import stage1, stage2
from weir.tasks.perturb.data import PerturbData, load
from weir.tasks.perturb.dataset_config import PerturbDataset
from weir.tasks.perturb.flow import CellFlow
from weir.tasks.perturb.flow_config import PerturbStage2
from weir.tasks.perturb.law import Law
from weir.tasks.perturb.preprocess import preprocess
from weir.tasks.perturb.simulate import RAW, simulate
from weir.tasks.perturb.simulation_config import Simulation
from weir.tasks.perturb.stage1_config import PerturbStage1
from weir.tasks.perturb.vae import NBVAE
from weir.training.loop import train

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
SHORT = Training(steps=400, batch_size=128, learning_rate=5e-3, validate_every=400)


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> PerturbData:
    folder = tmp_path_factory.mktemp("tissue")
    raw, output = folder / "raw", folder / "tissue"
    raw.mkdir()
    output.mkdir()
    simulate(SETTINGS, raw)
    source = {"origin": "simulator", "files": [{"name": RAW, "sha256": "0" * 64}]}
    (raw / "source.json").write_text(json.dumps(source))
    config = {
        "task": "perturb",
        "source": {"simulator": SETTINGS.model_dump()},
        "obs": {"dose": "dose", "cell_type": "cell_type", "spatial": "spatial"},
        "genes": {"highly_variable": None},
        "components": 5,
    }
    preprocess(PerturbDataset.model_validate(config), raw, output)
    return load(output)


@pytest.fixture(scope="module")
def autoencoder(tissue: PerturbData, tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """The card of a trained autoencoder, whose weights lie in its `chain`.

    It has no technical latent: with a single batch, that would take up the tissue's mark.
    """
    config = PerturbStage1.model_validate(
        {"dataset": "tissue", "network": {"d_int": 6, "d_tech": 0, "hidden": 32, "dropout": 0.0}}
    )
    card = ModelCard(
        "stage1", "vae", 0, "perturb", "tissue", config.model_dump(mode="json"), tissue.card()
    )
    torch.manual_seed(0)
    model = stage1.build(card)
    cells = tissue.split("train")
    stage1.prepare(model, config, cells)
    folder = tmp_path_factory.mktemp("vae")
    train(stage1.objective(config, model), cells, None, SHORT, seed=0, checkpoints=folder)
    torch.save(model.state_dict(), folder / "weights")
    return ModelCard(**{**vars(card), "chain": {"weights": str(folder / "weights")}})


def trained(tissue: PerturbData, upstream: ModelCard, roles: list[str], folder: Path) -> CellFlow:
    """A flow from noise that is told some roles."""
    settings = {
        "stage1": "vae",
        "source": "noise",
        "context": {"roles": roles},
        "field": {"width": 64, "layers": 1},
        "anchor": None,
    }
    config = PerturbStage2.model_validate(settings)
    card = ModelCard(
        "stage2",
        "flow",
        0,
        "perturb",
        "tissue",
        config.model_dump(mode="json"),
        tissue.card(),
        upstream=vars(upstream),
    )
    torch.manual_seed(0)
    model = stage2.build(card)
    vae: NBVAE = stage1.build(upstream)
    vae.load_state_dict(torch.load((upstream.chain or {})["weights"], weights_only=True))
    cells = tissue.split("train")
    stage2.prepare(model, config, cells, vae.eval())
    objective = stage2.objective(config, model)
    train(objective, model.items(cells), None, SHORT, seed=0, checkpoints=folder)
    return model.eval()


def follows_the_place(model: CellFlow, tissue: PerturbData) -> float:
    """Correlation over control cells of the true field and that of cells made in their place."""
    controls = tissue.cells(tissue.table.condition == 0)
    law = Law.load(tissue.folder)
    gene = {name: k for k, name in enumerate(law.names.genes)}
    direction = torch.tensor([law.parameters.tissue[gene[name]] for name in tissue.schema.genes])
    numbers = [int(name.removeprefix("cell")) for name in tissue.cell_names[controls.rows.numpy()]]
    field = torch.from_numpy(law.parameters.field[numbers])
    sources = controls.batch(torch.arange(len(controls)))
    made = model.respond(sources, sources.doses, generator=torch.Generator().manual_seed(0))
    along = made.expression.double() @ direction
    return float(torch.corrcoef(torch.stack([along, field]))[0, 1])


def test_a_flow_that_is_told_the_niche_follows_the_tissue(
    tissue: PerturbData, autoencoder: ModelCard, tmp_path: Path
) -> None:
    told = trained(tissue, autoencoder, ["cell_type", "niche"], tmp_path / "on")
    blind = trained(tissue, autoencoder, ["cell_type"], tmp_path / "off")
    on, off = follows_the_place(told, tissue), follows_the_place(blind, tissue)
    # Of measured cells, whose noise no prediction has, it is .55.
    assert on > 0.2 > abs(off), (on, off)
