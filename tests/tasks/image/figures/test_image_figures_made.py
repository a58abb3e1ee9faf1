"""What evaluations write is what figures read: from models to panels, nothing made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_models import card, stir
from image_sets import clouds, halves
from stored import stored

from weir.artifacts.evaluation import Evaluation, load_evaluation
from weir.report.drawing.figure import Figure
from weir.stages.restore import build_model
from weir.tasks.image.baselines import build
from weir.tasks.image.data.load import ImageData
from weir.tasks.image.evaluation import evaluate as evaluation
from weir.tasks.image.evaluation import toys as quality_toys
from weir.tasks.image.figures.figures import HEADLINE, figures
from weir.tasks.image.settings.baseline import ImageBaseline
from weir.tasks.image.settings.scoring import ImageEvaluate
from weir.tasks.image.simulation.toys import law_of


def evaluated(data: ImageData, folder: Path) -> list[Evaluation]:
    """A Gaussian, a flow and a denoiser, these with weights by chance."""
    torch.manual_seed(0)
    gaussian = build(ImageBaseline(method="gaussian", dataset="d"), data.schema)
    gaussian.fit(data, 0)
    models = {"gaussian": ("baseline", gaussian)}
    for kind in ("denoiser", "flow"):
        model = build_model(card(kind, data.card()))
        models[kind] = ("teacher", stir(model))
    found = []
    for name, (kind, model) in models.items():
        output = folder / name
        output.mkdir(parents=True)
        ref = f"{'stage2' if kind == 'teacher' else kind}/{name}"
        settings = {"samples": 12, "steps": 3, "pictures": 4, "sigmas": [0.5, 1.0]}
        result = evaluation.evaluate(
            model.eval(), data, ImageEvaluate(model=ref, **settings), seed=0, label=name
        )
        stored(result, output, name=name, node=name, label=name, task="image", kind=kind)
        found.append(load_evaluation(output / "details"))
    return found


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No score that takes long and that no figure shows; the points' law stands in for another."""
    monkeypatch.setattr(evaluation, "two_sample_auc", lambda *_: {"two_sample_auc": 0.5})
    monkeypatch.setattr(evaluation, "latency", lambda *_, **__: 1.0)
    monkeypatch.setattr(quality_toys, "PLACES", 9)
    monkeypatch.setattr(ImageData, "toy", lambda _: law_of({"kind": "mixture"}))


def labels(figure: Figure) -> set[str]:
    return {view.label for view in figure.views}


def test_pictures(tmp_path: Path) -> None:
    runs = evaluated(halves(60, 40), tmp_path)
    drawn = {figure.title: figure for figure in figures(runs)}
    assert list(drawn) == [
        "Samples",
        "From noise to a sample",
        "Classes asked for and classes seen",
        "Bits per dimension, picture by picture",
        "Denoising error",
        "What is left under noise",
        "Nearest training items",
    ]
    everyone = {"gaussian", "flow", "denoiser"}
    assert labels(drawn["Samples"]) == everyone | {"Data"}
    assert labels(drawn["From noise to a sample"]) == everyone - {"gaussian"}
    assert labels(drawn["What is left under noise"]) == everyone
    bits = drawn["Bits per dimension, picture by picture"].views[0].panels[0]
    assert "gaussian" in bits and "flow" in bits and "denoiser" not in bits
    data = drawn["Samples"].views[0].panels[0]
    assert ">left<" in data and ">right<" in data
    known = set(runs[0].metrics)
    assert set(HEADLINE) - known == {"energy_distance", "density_gap"}


def test_points(tmp_path: Path) -> None:
    runs = evaluated(clouds(100, 60), tmp_path)
    drawn = {figure.title: figure for figure in figures(runs)}
    assert list(drawn) == [
        "Points made",
        "Fields of scores",
        "Denoising error",
        "Nearest training items",
    ]
    fields = {view.label: view.panels for view in drawn["Fields of scores"].views}
    assert set(fields) == {"gaussian", "flow", "denoiser"}
    assert all(len(panels) == 2 for panels in fields.values())
    assert "contours" in fields["flow"][0] and "contours" not in fields["denoiser"][0]
