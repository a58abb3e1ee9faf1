"""Scores over a whole validation set, and selection by one of which more is better."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from training_toy import Batch, points

from weir.settings.training import Training
from weir.training.loop import train
from weir.training.objective import Objective
from weir.training.stepper import NonFinite


class Scored(Objective):
    """Predicts each item in evaluation; scores by what no batch could tell alone."""

    increasing = frozenset({"spread"})

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(3, 1)
        self.asked: list[dict[str, Tensor]] = []

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        said = self.model(batch.x)[:, 0]
        losses = {"loss": (said - batch.y[:, 0]).square().mean()}
        return losses if self.training else losses | {"said": said}

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        self.asked.append(predicted)
        return {"spread": float(predicted["said"].max() - predicted["said"].min())}


def run(folder: Path, objective: Objective, monitor: str):
    settings = Training(steps=6, batch_size=8, validate_every=1, learning_rate=0.1, monitor=monitor)
    return train(objective, points(), points(21, seed=1), settings, seed=0, checkpoints=folder)


def test_scores_are_of_all_items_in_order(tmp_path: Path):
    objective = Scored()
    result = run(tmp_path, objective, "loss")
    everyone = points(21, seed=1)
    with torch.no_grad():
        said = objective.model(everyone.batch(torch.arange(21)).x)[:, 0]
    assert all(
        list(asked) == ["said"] and asked["said"].shape == (21,) for asked in objective.asked
    )
    chosen = next(e for e in result.history if e["step"] == result.best_step)
    torch.testing.assert_close(objective.asked[result.best_step - 1]["said"], said)
    assert chosen["validation/spread"] == pytest.approx(float(said.max() - said.min()), rel=1e-5)
    assert "validation/said" not in chosen and "train/said" not in chosen


def test_more_is_better_where_the_objective_says_so(tmp_path: Path):
    result = run(tmp_path, Scored(), "spread")
    values = [entry["validation/spread"] for entry in result.history]
    assert values.index(max(values)) != values.index(min(values))
    assert result.best_step == values.index(max(values)) + 1


def test_a_prediction_that_is_not_finite_is_an_error(tmp_path: Path):
    class Broken(Scored):
        def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
            found = super().forward(batch, progress)
            return {n: v / 0.0 if n == "said" else v for n, v in found.items()}

    with pytest.raises(NonFinite, match="said"):
        run(tmp_path, Broken(), "loss")
