"""A training small enough to be repeated many times: a noisy line through an MLP.

    python tests/training/toy.py FOLDER [setting=value ...] [--kill-at STEP] [--signal-at STEP NAME]

trains into FOLDER/checkpoints and leaves weights and history in FOLDER/result.safetensors.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from weir.config.training import Training
from weir.training.objective import Objective


class Batch(NamedTuple):
    """`x [item, 3]`, `y [item, 1]`."""

    x: Tensor
    y: Tensor


class Points:
    """Points of a noisy function, all of them resident."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: Any) -> Points:
        return Points(self.x.to(device), self.y.to(device))

    def batch(self, items: Tensor) -> Batch:
        return Batch(self.x[items], self.y[items])


class Regression(Objective):
    """Least squares with dropout and noise on the inputs, so that every step draws."""

    def __init__(self, noise: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        self.noise = noise
        self.model = nn.Sequential(
            nn.Linear(3, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 1)
        )
        self.before_step: Any = lambda: None

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if self.training:
            self.before_step()
        x = batch.x + self.noise * (1 - progress) * torch.randn_like(batch.x)
        error = self.model(x) - batch.y
        return {"loss": error.square().mean(), "mae": error.abs().mean()}


def points(count: int = 50, seed: int = 0) -> Points:
    """`count` points of a function with noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    y = (x[:, :1] * x[:, 1:2]).sin() + 0.1 * torch.randn(count, 1, generator=generator)
    return Points(x, y)


def regression(seed: int = 0, **options: float) -> Regression:
    """A freshly initialised objective."""
    torch.manual_seed(seed)
    return Regression(**options)


def main(arguments: list[str]) -> None:
    """Train as the command line says."""
    from safetensors.torch import save_file

    from weir.training.loop import train

    torch.set_num_threads(1)
    folder, *rest = arguments
    text = {k: v for k, _, v in (a.partition("=") for a in rest)}
    at, name = int(text.pop("at", "-1")), text.pop("signal", "SIGKILL")
    early, plain = text.pop("early", ""), text.pop("plain", "")
    settings = Training.model_validate({"steps": 40, "batch_size": 8, **text})
    objective = regression(noise=0.0, dropout=0.0) if plain else regression()
    if plain:
        objective.model[1] = nn.Identity()
    calls = 0

    def strike() -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.Signals[name])

    objective.before_step = strike
    result = train(
        objective, points(), points(20, seed=1), settings, seed=3, checkpoints=Path(folder) / "c"
    )  # fmt: skip
    from weir.training.devices import leave_to_main_process

    leave_to_main_process()
    assert not early or result.stopped_early
    record = repr((result.history, result.best_step, result.steps, result.stopped_early))
    save_file(
        {k: v.contiguous() for k, v in objective.state_dict().items()},
        Path(folder) / "result.safetensors",
        metadata={"result": record},
    )


if __name__ == "__main__":
    from weir.errors import WeirError

    try:
        main(sys.argv[1:])
    except WeirError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
