"""Models of pictures in the real loop: they learn, resume to the same weights, and are restored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_models import PICTURES, POINTS, card, pictures
from torch import Tensor

from weir.artifacts.model_folder import save_model
from weir.errors import UserError
from weir.settings.training import Training
from weir.stages.restore import build_model, restore
from weir.tasks.image.data.load import Images, ImageSet
from weir.tasks.image.flow import stage2
from weir.tasks.image.flow.image_flow import ImageFlow
from weir.tasks.image.representation import stage1
from weir.tasks.image.representation.vae import ConvolutionalVAE
from weir.tasks.image.settings.models import ImageStage2
from weir.tasks.image.settings.scoring import ImageDistill
from weir.training.loop import train

WIDE = PICTURES | {"shape": [1, 8, 7]}
SETTINGS: dict[str, dict[str, Any]] = {
    "flow": {"drop_class": 0.1},
    "flow of splines": {"density": {"transform": "spline", "hidden": [16], "layers": 1}},
    "flow by coupling": {"density": {"coupling": True, "hidden": [16]}},
    "denoiser": {"drop_class": 0.1, "draws": 2},
    "denoiser with a unet": {"network": {"width": 8, "multiples": [1, 2], "layers": 1}},
    "matching": {"time_sampling": "logit_normal"},
    "plain": {},
}


def trained(name: str, data: ImageSet, folder: Path, **settings: Any) -> tuple[ImageFlow, Any]:
    """A model trained on pictures, and the loop's result."""
    made = card(name.split()[0], **SETTINGS[name])
    torch.manual_seed(0)
    model = build_model(made)
    config = ImageStage2.model_validate(made.config)
    stage2.prepare(model, config, pictures(), build_model(made.parent()))
    values = {"steps": 6, "batch_size": 8, "learning_rate": 1e-2, "validate_every": 3, "ema": 0.9}
    result = train(
        stage2.objective(config, model),
        model.items(data),
        model.items(pictures(10, seed=1)),
        Training.model_validate(values | {"checkpoint_every": 2} | settings),
        seed=0,
        checkpoints=folder,
    )
    return model, result


class Failing(ImageSet):
    """Pictures whose batches fail after so many."""

    calls, last = 0, 10**9

    def to(self, device: object) -> Failing:
        return self

    def batch(self, items: Tensor) -> Images:
        type(self).calls += 1
        if type(self).calls > self.last:
            raise ConnectionError
        return super().batch(items)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_that_is_cut_off_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    def run(folder: str, last: int) -> Any:
        Failing.calls, Failing.last = 0, last
        data = pictures()
        return trained(name, Failing(data.raw, data.label, data.row), tmp_path / folder)

    model, peace = run("peace", 10**9)
    with pytest.raises(ConnectionError):
        run("cut", 5)
    resumed, result = run("cut", 10**9)
    assert peace.resumed_from is None and result.resumed_from == 4
    weights = resumed.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


LEARNT: dict[str, Callable[[dict[str, float]], float]] = {
    "flow": lambda values: values["validation/nll_clean"],
    "denoiser": lambda values: values["validation/loss"],
    "matching": lambda values: values["validation/loss"],
    "plain": lambda values: values["validation/loss"],
}


@pytest.mark.parametrize("name", LEARNT)
def test_training_lowers_what_it_minimises(name: str, tmp_path: Path) -> None:
    _, result = trained(
        name, pictures(100), tmp_path, steps=60, validate_every=5, batch_size=64,
        checkpoint_every=1000, ema=None,
    )  # fmt: skip
    values = [LEARNT[name](entry) for entry in result.history]
    assert min(values[-5:]) < values[0] - 0.02


@pytest.mark.parametrize("name", ["flow", "denoiser", "matching", "plain"])
def test_a_model_is_restored_from_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    model, _ = trained(name, pictures(), tmp_path / "checkpoints")
    save_model(tmp_path / "folder", model, card(name, **SETTINGS[name]))
    again = restore(tmp_path / "folder")
    batch = pictures().batch(torch.arange(3))
    draws = [
        m.draw(batch, 2, steps=2, generator=torch.Generator().manual_seed(0))
        for m in (model, again)
    ]
    assert torch.equal(*draws)


def test_what_points_have_not_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(UserError, match=r"network\.kind .* set it to mlp"):
        build_model(card("denoiser", POINTS, network={"kind": "unet"}))
    with pytest.raises(UserError, match=r"student\.kind"):
        build_model(card("flow", POINTS)).as_student(ImageDistill(teacher="t"))
    with pytest.raises(UserError, match=r"density\.neighbours: needs pictures"):
        build_model(card("flow", POINTS, density={"neighbours": {"radius": 1, "width": 4}}))
    with pytest.raises(UserError, match="choose model pixels"):
        build_model(card("denoiser", POINTS, code="vae"))


def test_pixels_are_complete_without_training(tmp_path: Path) -> None:
    below = card("plain").parent()
    model = build_model(below)
    assert stage1.objective(_stage1(below.config), model) is None
    save_model(tmp_path, model, below)
    again = restore(tmp_path)
    unit = pictures().batch(torch.arange(4)).raw / 2 - 0.75
    torch.testing.assert_close(again.decode(again.encode(unit)), unit)
    assert again.encode(unit).shape == (4, 1, 4, 3)


def test_an_autoencoder_learns_and_its_events_have_the_flow_s_unit(tmp_path: Path) -> None:
    made = card("denoiser", WIDE, code="vae")
    below = made.parent()
    config = _stage1(
        below.config | {"network": {"width": 8, "halvings": 2, "channels": 2, "beta": 0.01}}
    )
    parent = made.upstream | {"config": config.model_dump(mode="json")}
    made = card("denoiser", WIDE, code="vae")
    made = type(made)(**{**made.__dict__, "upstream": parent})
    torch.manual_seed(0)
    vae = build_model(made.parent())
    assert isinstance(vae, ConvolutionalVAE) and vae.event == (2, 2, 2)
    data = pictures(100, schema=WIDE)
    stage1.prepare(vae, config, data)
    result = train(
        stage1.objective(config, vae), data, data,
        Training(steps=60, batch_size=50, learning_rate=1e-2, validate_every=30),
        seed=0, checkpoints=tmp_path,
    )  # fmt: skip
    assert result.history[-1]["validation/loss"] < result.history[0]["train/loss"] - 0.1
    model = build_model(made)
    stage2.prepare(model, ImageStage2.model_validate(made.config), data, vae)
    batch = data.batch(torch.arange(100))
    unit = vae.scale.unit(batch.raw)
    events = model.code.encode(unit)
    torch.testing.assert_close(events.std((0, 2, 3)), torch.full((2,), 0.5), atol=0.01, rtol=0)
    torch.testing.assert_close(events.mean((0, 2, 3)), torch.zeros(2), atol=0.01, rtol=0)
    error = (model.code.decode(events) - unit).square().mean() / unit.var()
    assert model.code.decode(events).shape == unit.shape and float(error) < 0.95
    assert model.draw(batch, 2, steps=2).shape == (100, 2, 1, 8, 7)
    assert not any(p.requires_grad for p in model.code.parameters())
    assert not model.train().code.training


def _stage1(config: dict[str, Any]) -> Any:
    from weir.tasks.image.settings.models import ImageStage1

    return ImageStage1.model_validate(config)
