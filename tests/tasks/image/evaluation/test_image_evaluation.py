"""A whole evaluation of models of known law: scores, tables, pictures, and what is left out."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from image_sets import clouds, halves
from PIL import Image
from stored import stored
from torch import Tensor, nn

from weir.errors import UserError, WeirError
from weir.tasks.image.baselines import Fitted, baseline
from weir.tasks.image.data.load import ImageData, Images
from weir.tasks.image.evaluation.evaluate import evaluate
from weir.tasks.image.settings.baseline import ImageBaseline
from weir.tasks.image.settings.scoring import ImageEvaluate


def fitted(method: str, data: ImageData) -> Fitted:
    config = ImageBaseline(method=method, dataset="halves", components=2, rank=4)
    model = baseline.build(config, data.schema, None)
    baseline.fit(model, config, data, None, seed=0, checkpoints=Path(), log=print)
    return model


def run(model: nn.Module, data: ImageData, folder: Path, /, **settings) -> dict:
    config = ImageEvaluate(**{"model": "baseline/it", "samples": 60, **settings})
    return stored(evaluate(model, data, config, seed=0, label="it"), folder)


SAMPLES = [
    "energy_score",
    "crps",
    "spread_ratio",
    "class_accuracy",
    "missing_classes",
    "classifier_fd",
    "classifier_kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "nearest_ratio",
    "two_sample_auc",
]
DENSITY = ["bits_per_dim", "bits_per_dim_class", "bayes_accuracy"]


def test_a_model_of_the_right_law(tmp_path: Path) -> None:
    data = halves()
    found = run(fitted("gaussian", data), data, tmp_path, sigmas=[1.0, 0.5])
    scores = found["metrics"]
    assert set(scores) == {*SAMPLES, *DENSITY, "denoising_mse_0.5", "denoising_mse_1"}
    assert scores["class_accuracy"] == 1 and scores["missing_classes"] == 0
    assert scores["bayes_accuracy"] == 1
    # Pixels are uniform on 4 of 8 levels, a law of 2 bits; the Gaussian of variance 1/12 of the
    # range costs .25 more. The class adds one bit in 16 pixels.
    assert scores["bits_per_dim_class"] == pytest.approx(2.25, abs=0.1)
    assert scores["bits_per_dim"] - scores["bits_per_dim_class"] == pytest.approx(1 / 16, abs=1e-3)
    assert scores["spread_ratio"] == pytest.approx(1, abs=0.05)
    assert 0 < scores["denoising_mse_0.5"] < scores["denoising_mse_1"] < 1
    assert found["headline"] == "energy_score" and found["quality_curve"] == []
    assert found["nfe"] == 0
    assert found["protocol"]["items"] == 100
    assert set(found["definitions"]) == set(scores)


def test_tables_of_pictures(tmp_path: Path) -> None:
    data = halves()
    run(fitted("mixture", data), data, tmp_path, pictures=3, sigmas=[2.0, 0.5])
    tables = {path.stem: pd.read_parquet(path) for path in (tmp_path / "details").glob("*.parquet")}
    assert set(tables) == {"bits", "confusion", "denoising", "nearest", "pictures"}
    assert list(tables["bits"].columns)[:3] == ["item", "label", "bits"]
    assert len(tables["bits"]) == 100
    confusion = tables["confusion"].set_index(["asked", "judged"])["count"]
    assert confusion["left", "left"] == 60 and confusion["left", "right"] == 0
    assert set(tables["nearest"]["kind"]) == {"sample", "test"}
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert list(curve.columns) == ["sigma", "mse"] and len(curve) == 2
    pictures = tables["pictures"]
    counts = pictures.groupby("kind").size()
    assert counts.to_dict() == {
        "data": 6,
        "sample": 6,
        "noisy": 4,
        "denoise": 4,
        "neighbour": 4,
    }
    assert set(pictures["label"]) == {"left", "right"}
    first = Image.open(io.BytesIO(pictures["png"][0]))
    assert first.size == (4, 4) and first.mode == "L"
    left = pictures[(pictures["kind"] == "data") & (pictures["label"] == "left")]
    shown = np.asarray(Image.open(io.BytesIO(left["png"].iloc[0])))
    assert shown[:, :2].min() > shown[:, 2:].max()
    strip = pictures[pictures["kind"] == "denoise"]
    assert strip.groupby("column")["value"].first().tolist() == [0.5, 2.0]
    sheet = Image.open(tmp_path / "details/grid.png")
    assert sheet.size == (3 * 5 - 1, 2 * 5 - 1)


def test_training_images_are_as_good_as_others_but_no_new_ones(tmp_path: Path) -> None:
    data = halves(train=200, test=200)
    scores = run(fitted("training_images", data), data, tmp_path)["metrics"]
    assert set(scores) == set(SAMPLES)
    assert scores["nearest_ratio"] < 0.5
    assert scores["two_sample_auc"] == pytest.approx(0.5, abs=0.1)
    assert scores["coverage"] > 0.9
    assert len(pd.read_csv(tmp_path / "curve.csv")) == 0


def test_points_in_the_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clouds(train=2000, test=600)

    class Law:
        """The one that `clouds` draws from."""

        def log_prob(self, points: Tensor) -> Tensor:
            each = [
                torch.distributions.Normal(torch.tensor([x, 0.0]), 0.5).log_prob(points).sum(1)
                for x in (-2.0, 2.0)
            ]
            return torch.stack(each).logsumexp(0) - torch.tensor(2.0).log()

    monkeypatch.setattr(ImageData, "toy", lambda _: Law())
    found = run(fitted("gaussian", data), data, tmp_path, samples=400, sigmas=[0.1, 1.0])
    scores = found["metrics"]
    assert abs(scores["density_gap"]) < 0.02
    assert abs(scores["energy_distance"]) < 0.02
    assert scores["bayes_accuracy"] == 1
    assert "bits_per_dim" not in scores and "class_accuracy" not in scores
    points = pd.read_parquet(tmp_path / "details/points.parquet")
    assert points.groupby("kind").size().to_dict() == {"data": 600, "sample": 800}
    field = pd.read_parquet(tmp_path / "details/field.parquet")
    assert sorted(field["sigma"].unique()) == [0.1, 1.0]
    check_field(field[field["sigma"] == 1.0], data.schema.spread)
    assert not (tmp_path / "details/grid.png").exists()


def check_field(field: pd.DataFrame, sigma: float) -> None:
    """The score is the gradient of the log density, both of the two Gaussians under noise."""
    side = len(field["x"].unique())
    log = field["log_density"].to_numpy().reshape(side, side)  # [x, y]
    x, y = np.sort(field["x"].unique()), np.sort(field["y"].unique())
    for name, slope in zip("uv", np.gradient(log, x, y), strict=True):
        score = field[name].to_numpy().reshape(side, side)
        inner = slice(1, -1)
        np.testing.assert_allclose(score[inner, inner], slope[inner, inner], atol=0.1)
    variance = 0.25 + sigma**2
    means = np.array([-2.0, 2.0])[:, None, None]
    square = (x[:, None] - means) ** 2 + y**2
    truth = np.log(np.exp(-square / (2 * variance)).mean(0) / (2 * np.pi * variance))
    np.testing.assert_allclose(log, truth, atol=0.15)


class Copies(nn.Module):
    """Draws one picture of a class again and again; of any class the first one, if asked to."""

    code, guidance, direct_sigma, has_density, has_denoiser = None, 0.0, 0.0, False, False
    guidable = False

    def __init__(self, data: ImageData, value: float = 0.0, collapse: bool = False) -> None:
        super().__init__()
        batch = data.split("train").batch(torch.arange(2))
        self.pictures = batch.raw / 4 - 1 + value
        self.collapse = collapse
        self.asked: list[tuple] = []

    def draw(self, batch: Images, draws: int, *, steps=None, solver=None, generator=None) -> Tensor:
        self.asked.append((steps, solver))
        found = self.pictures[batch.label * (not self.collapse)]
        return found[:, None].expand(-1, draws, -1, -1, -1).clone()

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        return steps or 1


def test_collapsed_models_are_told(tmp_path: Path) -> None:
    data = halves()
    for name in ("each", "one"):
        (tmp_path / name).mkdir()
    each = run(Copies(data), data, tmp_path / "each")["metrics"]
    assert each["spread_ratio"] == 0 and each["coverage"] < 0.2
    assert each["class_accuracy"] == 1
    one = run(Copies(data, collapse=True), data, tmp_path / "one")["metrics"]
    assert one["class_accuracy"] == 0.5 and one["missing_classes"] == 1
    assert one["classifier_fd"] > each["classifier_fd"]
    assert one["energy_score"] > each["energy_score"]


def test_quality_against_steps(tmp_path: Path) -> None:
    data = halves()
    model = Copies(data)
    settings = {"model": "stage2/it", "steps": 4, "quality_steps": [8, 2], "solver": "euler"}
    found = run(model, data, tmp_path, **settings)
    assert [point["nfe"] for point in found["quality_curve"]] == [2, 4, 8]
    assert (
        found["nfe"] == 4
        and found["quality_curve"][1]["energy_score"] == (found["metrics"]["energy_score"])
    )
    assert set(model.asked) == {(4, "euler"), (8, "euler"), (2, "euler")}
    assert {"steps", "nfe", "energy_score", "crps"} == set(found["quality_curve"][0])


def test_settings_of_sampling_reach_the_model(tmp_path: Path) -> None:
    data = halves()
    model = Copies(data)
    model.guidable = True
    found = run(model, data, tmp_path, guidance=1.5, direct_sigma=0.3)
    assert (model.guidance, model.direct_sigma) == (1.5, 0.3)
    assert found["protocol"]["guidance"] == 1.5


def test_what_knows_no_missing_class_is_not_guided(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be guided"):
        run(Copies(halves()), halves(), tmp_path, guidance=0.5)


def test_one_item_of_each_class_is_scored_by_what_it_allows(tmp_path: Path) -> None:
    data = halves(test=2)
    metrics = run(Copies(data), data, tmp_path)["metrics"]
    assert metrics["energy_score"] > 0
    assert not {"spread_ratio", "two_sample_auc", "precision"} & set(metrics)


def test_a_diverged_model_is_an_error_that_names_the_class(tmp_path: Path) -> None:
    data = halves()
    with pytest.raises(WeirError, match="120 samples are NaN or infinite, first of class left"):
        run(Copies(data, value=float("nan")), data, tmp_path)


def test_a_first_stage_makes_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stage1/it makes no samples"):
        run(nn.Identity(), halves(), tmp_path, model="stage1/it")
