"""NaN and infinity are errors that name step, items and tensors; nothing bad is saved."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
import torch
import training_toy
from torch import Tensor, nn
from training_toy import Batch, Poisoned, differences, points, regression, run

from weir.settings.training import Training
from weir.signals import Interrupted
from weir.training import stepper as stepper_module
from weir.training.checkpoints import checkpoint_file, read_checkpoint
from weir.training.loop import train
from weir.training.order import Order
from weir.training.stepper import NonFinite


@pytest.mark.parametrize("looking_is_free", [True, False])
def test_nan_in_the_data_names_step_items_and_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looking_is_free: bool
) -> None:
    """Also where losses are fetched late, as on a GPU: the state saved is that before the step."""
    monkeypatch.setattr(stepper_module, "looking_is_free", lambda fabric: looking_is_free)
    order = Order(50, 8, training_toy.SEED)
    bad = next(step for step in range(40) if 17 in order.items(step).tolist())
    assert bad > 0
    data = points()
    settings = {"checkpoint_every": 100, "validate_every": 100}
    with pytest.raises(NonFinite) as caught:
        run(tmp_path, data=Poisoned(data.x, data.y), **settings)
    message = str(caught.value)
    assert f"toy: step {bad + 1} is not finite" in message
    assert "in the data: batch.x of items 17;" in message
    assert "first output: model.0;" in message
    assert "losses: loss, mae;" in message
    assert "gradients: model.0.weight" in message
    assert f"batch of items {', '.join(map(str, order.items(bad).tolist()))}" in message
    assert "\n" not in message
    path = checkpoint_file(tmp_path / "checkpoints", "error")
    assert str(path) in message
    tensors, record = read_checkpoint(path)
    assert record["standing"]["step"] == bad
    # Trained weights are those of a healthy training cut off before the step.
    healthy = regression()
    calls = iter(range(bad))

    def stop() -> None:
        if next(calls, None) == bad - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    healthy.before_step = stop
    with pytest.raises(Interrupted):
        run(tmp_path / "healthy", healthy, **settings)
    for name, parameter in healthy.named_parameters():
        assert torch.equal(tensors[f"objective.{name}"], parameter), name
    assert not checkpoint_file(tmp_path / "checkpoints", "last").exists()


def test_fetching_late_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, expected = run(tmp_path / "once", ema=0.9)
    monkeypatch.setattr(stepper_module, "looking_is_free", lambda fabric: False)
    late, result = run(tmp_path / "late", ema=0.9)
    assert differences(at_once, late) == 0
    assert result.history == expected.history


class Explodes(training_toy.Regression):
    """The loss is finite, its gradient is not: the derivative of sqrt at 0."""

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        losses = super().forward(batch, progress)
        if progress > 0.5:
            losses["loss"] = losses["loss"] + (self.model[0].bias[:1] * 0).sqrt().sum()
        return losses


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_bad_gradient_of_a_good_loss_is_caught(tmp_path: Path, clip: float | None) -> None:
    with pytest.raises(NonFinite) as caught:
        run(tmp_path, Explodes(), clip=clip)
    assert "step 22 is not finite; gradients: model.0.bias; batch" in str(caught.value)
    tensors, _ = read_checkpoint(checkpoint_file(tmp_path / "checkpoints", "error"))
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    _, record = read_checkpoint(checkpoint_file(tmp_path / "checkpoints", "last"))
    assert record["standing"]["step"] == 21


def test_bad_weights_never_become_the_last_checkpoint(tmp_path: Path) -> None:
    """Even when no loss and no gradient shows them."""
    objective = regression()
    objective.unused = nn.Parameter(torch.zeros(2))
    calls = iter(range(10))

    def spoil() -> None:
        if next(calls, None) == 9:
            objective.unused.data[1] = math.inf

    objective.before_step = spoil
    with pytest.raises(NonFinite, match="weights unused are not finite after step 14"):
        run(tmp_path, objective)
    folder = tmp_path / "checkpoints"
    assert read_checkpoint(checkpoint_file(folder, "last"))[1]["standing"]["step"] == 7
    assert read_checkpoint(checkpoint_file(folder, "error"))[1]["standing"]["step"] == 14


def test_bad_validation_names_its_items(tmp_path: Path) -> None:
    good, bad = points(), points(20, seed=1)
    bad.y[13] = math.inf
    settings = Training(steps=5, batch_size=8)
    with pytest.raises(NonFinite, match=r"step 5: validation losses loss, mae .* items 8 to 15"):
        train(regression(), good, bad, settings, seed=0, checkpoints=tmp_path)
    assert checkpoint_file(tmp_path, "error").exists()
