"""What the loop promises of one training."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import training_toy
from torch import Tensor, nn
from training_toy import Batch, Poisoned, differences, points, regression, run

from weir.errors import UserError
from weir.settings.training import Training
from weir.signals import Interrupted
from weir.training import loop
from weir.training.checkpoints import checkpoint_file, read_checkpoint
from weir.training.loop import train
from weir.training.optimizer import build_optimizer, learning_rate_factor
from weir.training.order import Order
from weir.training.stepper import NonFinite


def test_equals_a_loop_written_by_hand(tmp_path: Path) -> None:
    """Weights, losses and learning rates are those of plain AdamW with clipping."""
    objective, result = run(tmp_path, regression(calm=True), steps=10, weight_decay=0.1, clip=0.5)
    model = regression(calm=True).model
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    losses = []
    for step in range(10):
        batch = points().batch(Order(50, 8, training_toy.SEED).items(step))
        loss = (model(batch.x) - batch.y).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * learning_rate_factor(step, 10, 0.05, 0.01)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert differences(objective.model, model) < 1e-6
    held_out = points(20, seed=1)
    expected = (model(held_out.x) - held_out.y).square().mean().item()
    (entry,) = result.history
    assert entry["step"] == 10
    assert entry["train/loss"] == pytest.approx(sum(losses) / 10, rel=1e-5)
    assert entry["validation/loss"] == pytest.approx(expected, rel=1e-5)
    assert entry["learning_rate"] == pytest.approx(1e-5)


@pytest.mark.parametrize("parts", [4, 3, 99])
def test_a_batch_in_parts_gives_the_same_weights(tmp_path: Path, parts: int) -> None:
    whole, a = run(tmp_path / "whole", regression(calm=True))
    cut, b = run(tmp_path / "cut", regression(calm=True), accumulate=parts)
    assert differences(whole, cut) < 1e-6
    for left, right in zip(a.history, b.history, strict=True):
        assert left == pytest.approx(right, rel=1e-5)


def test_weight_decay_and_learning_rate_by_group() -> None:
    objective = regression()

    class Grouped(type(objective)):
        def parameter_groups(self) -> list[dict[str, Any]]:
            first, *rest = self.model
            return [
                {"params": list(first.parameters()), "lr_scale": 0.1},
                {"params": [p for m in rest for p in m.parameters()], "weight_decay": 0.5},
            ]

    optimizer = build_optimizer(Grouped(), Training(weight_decay=0.2))
    found = {
        (group["lr_scale"], group["weight_decay"], parameter.ndim)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {(0.1, 0.2, 2), (0.1, 0.0, 1), (1.0, 0.5, 2), (1.0, 0.0, 1)}
    Grouped.parameter_groups = lambda self: [{"params": list(self.model[0].parameters())}]
    with pytest.raises(ValueError, match=r"in no group: model\.2\.weight"):
        build_optimizer(Grouped(), Training())
    Grouped.parameter_groups = lambda self: [{"params": [], "lr": 1}]
    with pytest.raises(ValueError, match="unknown keys"):
        build_optimizer(Grouped(), Training())


def test_the_best_weights_are_kept_and_patience_stops(tmp_path: Path) -> None:
    settings = {"learning_rate": 0.1, "steps": 400, "validate_every": 8, "patience": 5}
    objective, result = run(tmp_path, **settings)
    values = [entry["validation/loss"] for entry in result.history]
    best = values.index(min(values))
    assert result.stopped_early
    assert len(values) == best + 1 + 5
    assert result.best_step == result.history[best]["step"]
    assert result.steps == result.history[-1]["step"] < 400
    saved, _ = read_checkpoint(checkpoint_file(tmp_path / "checkpoints", "best"))
    for name, tensor in objective.state_dict().items():
        assert torch.equal(tensor, saved[f"objective.{name}"])
    with torch.no_grad():
        again = objective(points(20, seed=1).batch(torch.arange(20)), 1.0)["loss"].item()
    assert again == pytest.approx(min(values), rel=1e-5)


class Scripted(training_toy.Regression):
    """Validation losses as written down, three batches each."""

    def __init__(self, script: list[float]) -> None:
        super().__init__()
        self.script = [value for value in script for _ in range(3)]

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        losses = super().forward(batch, progress)
        return losses if self.training else {"loss": torch.tensor(self.script.pop(0))}


def test_patience_begins_anew_with_every_improvement(tmp_path: Path) -> None:
    objective = Scripted([5.0, 6.0, 6.0, 4.0, 4.0, 6.0, 3.0, 7.0, 4.0, 3.0, 1.0])
    _, result = run(tmp_path, objective, steps=11, validate_every=1, patience=3)
    assert result.stopped_early
    assert (result.best_step, result.steps) == (7, 10)  # a tie is no improvement


class Restless(training_toy.Regression):
    """Draws when it is validated, too."""

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        losses = super().forward(batch, progress)
        return losses | {"draw": torch.rand(())}


def test_validation_draws_the_same_every_time(tmp_path: Path) -> None:
    _, result = run(tmp_path, Restless())
    draws = [entry["validation/draw"] for entry in result.history]
    assert len(draws) == 4
    assert len(set(draws)) == 1
    assert len({entry["train/draw"] for entry in result.history}) == 4


def test_the_monitored_value_selects(tmp_path: Path) -> None:
    _, result = run(tmp_path, monitor="mae", learning_rate=0.1, validate_every=4)
    values = {entry["validation/mae"]: entry["step"] for entry in result.history}
    assert result.best_step == values[min(values)]
    with pytest.raises(UserError, match=r"training\.monitor rmse.*choose one of loss, mae"):
        run(tmp_path / "other", monitor="rmse")


def test_averaged_weights_are_validated_and_returned(tmp_path: Path) -> None:
    averaged, result = run(tmp_path / "average", regression(), ema=0.5, steps=3, validate_every=1)
    raw, _ = run(tmp_path / "raw", regression(), steps=3, validate_every=1)
    assert differences(averaged, raw) > 0
    with torch.no_grad():
        losses = averaged(points(20, seed=1).batch(torch.arange(20)), 1.0)
    best = min(entry["validation/loss"] for entry in result.history)
    assert losses["loss"].item() == pytest.approx(best, rel=1e-5)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    objective, result = run(tmp_path)
    fresh = regression()
    fresh.before_step = lambda: pytest.fail("trained again")
    again, repeated = run(tmp_path, fresh)
    assert differences(objective, again) == 0
    assert repeated.history == result.history
    assert repeated.best_step == result.best_step
    after = torch.rand(1)
    shutil.rmtree(tmp_path / "checkpoints")
    _, third = run(tmp_path)
    assert third.resumed_from is None
    assert torch.equal(torch.rand(1), after)  # later draws do not tell the two apart


def test_the_training_curve_is_logged(tmp_path: Path) -> None:
    logged: list[tuple[dict[str, float], int]] = []
    train(
        regression(),
        points(),
        points(20, seed=1),
        Training(steps=600, batch_size=4, validate_every=300),
        seed=0,
        checkpoints=tmp_path,
        log=lambda values, step: logged.append((values, step)),
    )
    curve = [step for values, step in logged if "learning_rate" in values]
    assert curve == list(range(3, 601, 3))
    assert {"train/loss", "train/mae", "learning_rate", "gradient_norm"} == logged[0][0].keys()
    assert [s for v, s in logged if "validation/loss" in v] == [300, 600]


def test_frozen_networks_stay_in_evaluation_mode(tmp_path: Path) -> None:
    objective = regression()
    frozen = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval().requires_grad_(False)
    objective.frozen = frozen
    modes: list[tuple[bool, bool]] = []
    objective.before_step = lambda: modes.append((frozen[1].training, objective.model[3].training))
    weight = frozen[0].weight.clone()
    run(tmp_path, objective, steps=4, validate_every=2, weight_decay=0.5)
    assert modes == [(False, True)] * 4
    assert torch.equal(weight, frozen[0].weight)


def test_half_precision_casts_the_network_not_the_data(tmp_path: Path) -> None:
    seen: set[tuple[torch.dtype, torch.dtype]] = set()
    objective = regression()
    objective.model[0].register_forward_hook(
        lambda module, given, output: seen.add((given[0].dtype, output.dtype))
    )
    full, _ = run(tmp_path / "full")
    run(tmp_path / "half", objective, precision="bf16")
    assert seen == {(torch.float32, torch.bfloat16)}
    assert 0 < differences(full, objective) < 0.1
    assert objective.model[0].weight.dtype == torch.float32
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        run(tmp_path / "fp16", precision="fp16")


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16's arithmetic and gradient scaler on a CPU, where Fabric only offers them by hand."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    def open_fabric(precision: str) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=5)
        return Fabric(
            accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)]
        )

    monkeypatch.setattr(loop, "open_fabric", open_fabric)


@pytest.mark.usefixtures("scaled")
def test_an_overflow_of_scaled_gradients_is_no_error_and_the_scale_is_resumed(
    tmp_path: Path,
) -> None:
    peace, expected = run(tmp_path / "peace", precision="fp16")
    struck = regression()
    calls = iter(range(30))
    struck.before_step = lambda: next(calls, 0) == 29 and os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        run(tmp_path / "struck", struck, precision="fp16")
    path = checkpoint_file(tmp_path / "struck" / "checkpoints", "interrupted")
    tensors, record = read_checkpoint(path)
    updates = tensors["optimizer.step.model.0.weight"].item()
    assert 0 < updates < 30  # the first ones overflowed and were skipped
    assert record["scaler"]["scale"] < 2.0**40
    again, result = run(tmp_path / "struck", precision="fp16")
    assert differences(peace, again) == 0
    assert result.history == expected.history


@pytest.mark.usefixtures("scaled")
def test_nan_is_an_error_under_scaling_too(tmp_path: Path) -> None:
    data = points()
    with pytest.raises(NonFinite, match=r"in the data: batch\.x of items 17;"):
        run(tmp_path, data=Poisoned(data.x, data.y), precision="fp16")


def test_the_callers_settings_of_torch_are_restored(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    threads = torch.get_num_threads()
    run(tmp_path, steps=2)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_patience_without_validation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training\.patience"):
        train(regression(), points(), None, Training(patience=1), seed=0, checkpoints=tmp_path)


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    settings = Training(steps=6, batch_size=8, validate_every=4)
    result = train(regression(), points(), None, settings, seed=0, checkpoints=tmp_path)
    assert result.best_step == 6
    assert [entry["step"] for entry in result.history] == [4, 6]
    assert set(result.history[0]) == {"step", "learning_rate", "train/loss", "train/mae"}
