"""Tiny pictures and tiny models of them, for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weir.artifacts.model_folder import ModelCard
from weir.stages.restore import build_model
from weir.tasks.image.data.load import ImageSet
from weir.tasks.image.flow.image_flow import ImageFlow
from weir.tasks.image.flow.score_flow import ScoreFlow
from weir.tasks.image.settings.models import ImageStage1, ImageStage2, NetworkSettings
from weir.tasks.image.settings.scoring import ImageDistill

PICTURES: dict[str, Any] = {
    "task": "image",
    "shape": [1, 4, 3],
    "levels": 4,
    "classes": ["dark", "light"],
    "priors": [0.6, 0.4],
    "counts": {"train": 40, "validation": 10, "test": 10},
    "center": 0.1,
    "spread": 0.6,
    "judge": None,
    "repairs": [],
    "source_sha256": "",
    "digest": "",
    "simulated": False,
    "truth": None,
}
"""Schema of pictures of four by three pixels."""

POINTS: dict[str, Any] = PICTURES | {"shape": [2], "levels": None, "center": 0.2, "spread": 1.5}
"""Schema of points in the plane."""

NETWORK: dict[str, Any] = {"kind": "mlp", "width": 16, "layers": 1, "context": 8}

SMALL: dict[str, dict[str, Any]] = {
    "flow": {"density": {"layers": 2, "hidden": [16], "components": 3, "embedding": 8}},
    "denoiser": {"network": NETWORK},
    "matching": {"network": NETWORK},
    "plain": {"plain": {"layers": 1}},
}
"""Settings of a small model of each kind."""


def pictures(count: int = 40, seed: int = 0, schema: dict[str, Any] = PICTURES) -> ImageSet:
    """Pictures, or points, of two classes that differ in their mean."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 2
    shape = (count, *schema["shape"])
    white = torch.randn(shape, generator=generator)
    level = 2.0 * label.reshape(-1, *(1,) * (len(shape) - 1)) + white
    raw = level if schema["levels"] is None else level.round().clamp(0, 3).to(torch.uint8)
    return ImageSet(raw, label, torch.arange(count))


def card(
    model: str, schema: dict[str, Any] = PICTURES, code: str = "pixels", **settings: Any
) -> ModelCard:
    """Card of a stage2 node on a stage1 node."""
    below = ImageStage1.model_validate({"dataset": "d", "model": code})
    node = ImageStage2.model_validate({"stage1": "s", "model": model} | SMALL[model] | settings)
    parent = {
        "section": "stage1", "name": "s", "seed": 0, "task": "image", "dataset": "d",
        "config": below.model_dump(mode="json"), "schema": schema,
    }  # fmt: skip
    return ModelCard(
        "stage2", "m", 0, "image", "d", node.model_dump(mode="json"), schema, upstream=parent
    )


def build(model: str, schema: dict[str, Any] = PICTURES, **settings: Any) -> ImageFlow:
    """An untrained model on pixels, whose weights are always the same and nowhere zero."""
    torch.manual_seed(0)
    made = build_model(card(model, schema, **settings))
    return stir(made).eval()


def pupil(teacher: ImageFlow) -> ImageFlow:
    """A small student of a teacher, untrained."""
    asked = ImageDistill(teacher="t", student=NetworkSettings.model_validate(NETWORK))
    return teacher.as_student(asked if isinstance(teacher, ScoreFlow) else None)


def stir(module: nn.Module) -> Any:
    """`module` with small noise on its weights, so that nothing is zero by its start."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def code(schema: dict[str, Any] = PICTURES) -> Any:
    """The pixels as first stage."""
    return build_model(card("plain", schema).parent())


def white(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
