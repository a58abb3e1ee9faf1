"""A training small enough to be repeated many times, and blows to deal it on the way."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning_fabric  # noqa: F401  (so that forked processes need not import it)
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from weir.errors import WeirError
from weir.processes import leave_to_main_process
from weir.settings.training import Training
from weir.training.loop import TrainingResult, train
from weir.training.objective import Objective

SEED = 3


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
    """Least squares; unless `calm`, with dropout, input noise and running statistics."""

    def __init__(self, calm: bool = False) -> None:
        super().__init__()
        self.noise = 0.0 if calm else 0.1
        self.model = nn.Sequential(
            nn.Linear(3, 16),
            nn.GELU(),
            # Not right after a bias, whose gradient would be rounding errors alone: AdamW makes
            # whole steps of these.
            nn.Identity() if calm else nn.BatchNorm1d(16),
            nn.Dropout(self.noise),
            nn.Linear(16, 1),
        )
        self.before_step: Callable[[], None] = lambda: None

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        if self.training:
            self.before_step()
        x = batch.x + self.noise * (1 - progress) * torch.randn_like(batch.x)
        error = self.model(x) - batch.y
        losses = {"loss": error.square().mean(), "mae": error.abs().mean()}
        return losses if self.training else losses | {"error": error[:, 0], "y": batch.y[:, 0]}

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """Median error, and that of no prediction at all."""
        return {name: float(value.abs().median()) for name, value in predicted.items()}


def points(count: int = 50, seed: int = 0) -> Points:
    """`count` points of a function with noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    y = (x[:, :1] * x[:, 1:2]).sin() + 0.1 * torch.randn(count, 1, generator=generator)
    return Points(x, y)


def regression(calm: bool = False) -> Regression:
    """A freshly initialised objective, always the same one."""
    torch.manual_seed(0)
    return Regression(calm)


def run(
    folder: Path, objective: Objective | None = None, data: Points | None = None, **settings: Any
) -> tuple[Objective, TrainingResult]:
    """Train in `folder`."""
    objective = regression() if objective is None else objective
    values = {"steps": 40, "batch_size": 8, "validate_every": 10, "checkpoint_every": 7}
    result = train(
        objective,
        points() if data is None else data,
        points(20, seed=1),
        Training.model_validate(values | settings),
        seed=SEED,
        checkpoints=folder / "checkpoints",
        label="toy",
    )
    return objective, result


def process(folder: Path, blow: list[Any] | None, settings: dict[str, Any], rank: int = 0) -> None:
    """Body of a process: train, struck by a blow (signal, where, how-manieth time), and save.

    `where` is `step` (inside the forward pass), `save` (before a checkpoint is renamed to its
    final name) or `saved` (just after).
    """
    torch.set_num_threads(1)
    sys.stderr = open(folder / ("stderr" if rank == 0 else f"stderr{rank}"), "a")  # noqa: SIM115
    if settings.pop("local", False):
        folder = folder / f"node{rank}"
        folder.mkdir(exist_ok=True)
    objective = regression(settings.pop("calm", False))
    data = points()
    if settings.pop("poisoned", False):
        data = Poisoned(data.x, data.y)
    if blow is not None:
        name, where, count = blow
        left = iter(range(count, 0, -1))

        def strike() -> None:
            if next(left, 0) == 1:
                os.kill(os.getpid(), signal.Signals[name])

        if where == "step":
            objective.before_step = strike
        rename = os.replace

        def struck_rename(*paths: Any) -> None:
            if where == "save":
                strike()
            rename(*paths)
            if where == "saved":
                strike()

        os.replace = struck_rename
    try:
        _, result = run(folder, objective, data, **settings)
    except WeirError as error:
        print(error, file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None
    leave_to_main_process()
    record = (result.history, result.best_step, result.steps, result.stopped_early)
    weights = {name: tensor.contiguous() for name, tensor in objective.state_dict().items()}
    save_file(weights, folder / "result.safetensors", metadata={"result": repr(record)})


def serve() -> None:
    """Fork processes for every line `[folder, blow, settings]`; answer with their exit codes.

    A fork has torch imported already, and unlike one of the test process is sure to be fresh.
    A fourth and fifth item say how many processes train together, and which of them is struck.
    """
    for line in sys.stdin:
        folder, blow, settings, count, struck = [*json.loads(line), 1, 0][:5]
        children = [
            _fork(Path(folder), blow if rank == struck else None, settings, rank, variables)
            for rank, variables in enumerate(together(count))
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(*codes, flush=True)


def together(count: int) -> list[dict[str, str]]:
    """Environments of processes that train together on this machine; nothing for one."""
    if count == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    common = {
        "WEIR_DEVICES": str(count),
        "WEIR_ACCELERATOR": "cpu",
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    return [{**common, "LOCAL_RANK": str(rank)} for rank in range(count)]


def _fork(
    folder: Path, blow: list[Any] | None, settings: Any, rank: int, variables: dict[str, str]
) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.environ.update(variables)
            process(folder, blow, settings, rank)
            code = 0
        except SystemExit as leave:
            code = leave.code or 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def differences(a: nn.Module, b: nn.Module) -> float:
    """Largest difference of any weight."""
    theirs = b.state_dict()
    return max(
        (v.float() - theirs[k].float()).abs().max().item() for k, v in a.state_dict().items()
    )


class Poisoned(Points):
    """Item 17 is NaN."""

    def to(self, device: Any) -> Poisoned:
        return Poisoned(self.x.to(device), self.y.to(device))

    def batch(self, items: Tensor) -> Batch:
        batch = super().batch(items)
        batch.x[items == 17, 1] = math.nan
        return batch


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        process(Path(sys.argv[1]), None, json.loads(sys.argv[2]))
