"""Every stage of task image, run by hand on the bundled digits and on points with a known law."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import weir as package
from weir.distillation.pairs import white_noise
from weir.flows import edm
from weir.tasks.image.data.load import load

MODELS = ("flow", "denoiser", "matching", "plain", "latent", "points", "onestep", "copied")


def document(album: Path, name: str) -> dict:
    folder = album / f"results/evaluate/{name}-s0/details"
    return json.loads((folder / "evaluation.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_scored_by_what_it_has(album: Path, name: str) -> None:
    metrics = document(album, name)["metrics"]
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["energy_score"] > 0 and metrics["crps"] > 0
    assert ("bits_per_dim" in metrics) == (name in ("flow", "plain"))
    assert ("density_gap" in metrics) == (name == "points")
    denoised = [key for key in metrics if key.startswith("denoising_mse")]
    assert bool(denoised) == (name in ("flow", "denoiser", "matching", "points"))


def test_ways_to_draw_cost_what_they_cost(album: Path) -> None:
    calls = {name: document(album, name)["nfe"] for name in (*MODELS, "direct", "guided")}
    # Two steps: of Heun's method the last is Euler's; guidance asks twice; students once.
    assert calls["flow"] == 3 and calls["denoiser"] == 2 and calls["matching"] == 4
    assert calls["direct"] == 2 and calls["guided"] == 4 and calls["plain"] == 1
    assert calls["onestep"] == calls["copied"] == 1


def test_the_report_shows_every_model(album: Path) -> None:
    page = (album / "results/report/index.html").read_text()
    assert all(name in page for name in MODELS)


def test_a_stored_teacher_is_its_model_s_flow_again(album: Path) -> None:
    """From the files alone: noise by its seed, EDM's noises as times, the model's own sampler."""
    folder = album / "results/teacher/flow-s0"
    card = json.loads((folder / "config.json").read_text())
    times = torch.tensor(card["times"])
    noises = edm.karras_sigmas(4)[torch.tensor([1, 3])]
    torch.testing.assert_close(edm.sigma_of(times[1:3]), noises, rtol=1e-4, atol=0)
    items = torch.from_numpy(np.load(folder / "items.npy"))[:16]
    stored = torch.from_numpy(np.load(folder / "output.npy"))[:16]
    model = package.load(album / "results/stage2/flow-s0")
    data = load(album / "data/processed/digits").split("train")
    condition = model.condition(data.batch(items))
    z = white_noise(card["seed"], items, 2, model.event)
    final = model.transport(z, condition, steps=4, solver="heun").final
    torch.testing.assert_close(final, stored, atol=1e-4, rtol=0)


def test_a_student_draws_in_one_call_from_its_folder_alone(album: Path) -> None:
    student = package.load(album / "results/distill/onestep-s0")
    batch = load(album / "data/processed/digits").split("test").batch(torch.arange(3))
    assert student.nfe() == 1
    assert student.draw(batch, 5).shape == (3, 5, 1, 8, 8)


def test_a_teacher_that_cannot_be_distilled_is_an_error_of_one_line(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from weir.cli import main

    shutil.copytree(album, tmp_path / "album")
    monkeypatch.chdir(tmp_path / "album")
    monkeypatch.setenv("WEIR_TRACKING", "off")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        text.replace(
            "teacher:\n",
            "teacher:\n  plain: {model: stage2/plain, steps: 2}\n"
            "  adaptive: {model: stage2/flow, solver: dopri5}\n",
        )
    )
    assert main(["teacher", "plain", "--seed", "0"]) == 2
    assert "no velocity to follow or to distil" in capfd.readouterr().err
    assert main(["teacher", "adaptive", "--seed", "0"]) == 2
    assert "dopri5 chooses its own steps" in capfd.readouterr().err
