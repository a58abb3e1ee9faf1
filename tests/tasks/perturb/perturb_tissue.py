"""Simulated tissue, and models trained on it in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weir.artifacts.model_folder import ModelCard
from weir.artifacts.raw_folder import RawFolder
from weir.settings.training import Training
from weir.stages.restore import build_model
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.flow.cell_flow import CellFlow
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.representation import stage1
from weir.tasks.perturb.representation.nb_vae import NBVAE
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.models import PerturbStage1, PerturbStage2
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.simulate import simulate
from weir.training.loop import train

SHORT = Training(steps=400, batch_size=128, learning_rate=5e-3, validate_every=400)


def simulated_tissue(settings: Simulation, folder: Path) -> PerturbData:
    """Processed cells with a niche; types are known, batches are not told."""
    raw, output = folder / "raw", folder / "tissue"
    raw.mkdir()
    output.mkdir()
    RawFolder.record(raw, "simulator", simulate(settings, raw))
    config = {
        "task": "perturb",
        "source": {"simulator": settings.model_dump()},
        "obs": {"dose": "dose", "cell_type": "cell_type", "spatial": "spatial"},
        "genes": {"highly_variable": None},
        "components": 5,
    }
    preprocess(PerturbDataset.model_validate(config), raw, output)
    return load(output)


def trained_autoencoder(tissue: PerturbData, folder: Path) -> ModelCard:
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
    model = build_model(card)
    cells = tissue.split("train")
    stage1.prepare(model, config, cells)
    train(stage1.objective(config, model), cells, None, SHORT, seed=0, checkpoints=folder)
    torch.save(model.state_dict(), folder / "weights")
    return ModelCard(**{**vars(card), "chain": {"weights": str(folder / "weights")}})


def trained_flow(
    tissue: PerturbData, upstream: ModelCard, folder: Path, **settings: Any
) -> CellFlow:
    """A flow without an anchor; `settings` are those of its node."""
    config = PerturbStage2.model_validate(
        {"stage1": "vae", "field": {"width": 64, "layers": 1}, "anchor": None} | settings
    )
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
    model = build_model(card)
    vae: NBVAE = build_model(upstream)
    vae.load_state_dict(torch.load((upstream.chain or {})["weights"], weights_only=True))
    cells = tissue.split("train")
    stage2.prepare(model, config, cells, vae.eval())
    objective = stage2.objective(config, model)
    train(objective, model.items(cells), None, SHORT, seed=0, checkpoints=folder)
    return model.eval()
