"""All that a training must remember to go on as if it had never stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weir.errors import UserError
from weir.training.checkpoints import (
    DamagedCheckpoint,
    Kind,
    checkpoint_file,
    read_checkpoint,
    read_record,
)
from weir.training.objective import Objective
from weir.training.optimizer import MovingAverage

_log = logging.getLogger(__name__)


@dataclass
class Means:
    """Running means of the training losses."""

    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0

    def add(self, losses: dict[str, float]) -> None:
        """Add the losses of one step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.counted += 1

    def take(self) -> dict[str, float]:
        """Mean losses of the steps added, which are then forgotten."""
        means = {name: value / self.counted for name, value in self.sums.items()}
        self.sums, self.counted = {}, 0
        return means


@dataclass
class TrainingProgress:
    """The part of the state that is numbers.

    Attributes:
        step: optimizer steps done.
        seconds: spent training, over all processes that have worked on it.
        history: one entry per validation (without validation data: per `validate_every`).
        best_step: step of the selected weights so far, None before the first validation.
        best_value: its value of what is monitored, negative if more of it is better.
        stale: validations since.
        means: of the training losses since the last entry of `history`.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, int | float]] = field(default_factory=list)
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    means: Means = field(default_factory=Means)


def snapshot(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares memory with nothing."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def weights(objective: Objective) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, on the CPU."""
    state = objective.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise TypeError(f"state that is no tensor cannot be saved: {', '.join(odd)}")
    return {name: snapshot(tensor) for name, tensor in state.items()}


def capture(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    best: dict[str, Tensor] | None,
) -> dict[str, Tensor]:
    """The part of the state that is tensors, under the names of a checkpoint.

    A best weight that equals the present one (all of a frozen network, say) is left out.
    """
    tensors = {f"objective.{name}": value for name, value in weights(objective).items()}
    for name, parameter in objective.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = snapshot(value)
    if average is not None:
        for name, value in average.averages.items():
            tensors[f"average.{name}"] = snapshot(value)
    for name, value in (best or {}).items():
        if not torch.equal(value, tensors[f"objective.{name}"]):
            tensors[f"best.{name}"] = value
    return tensors


def restore(
    tensors: dict[str, Tensor],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    has_best: bool,
) -> dict[str, Tensor] | None:
    """Put captured tensors back and return the best weights, if there are any."""
    current = section(tensors, "objective")
    # Copies into memory of torch's own alignment: products over a mapped file's odd alignment
    # may round differently.
    objective.load_state_dict(current)
    for name, parameter in objective.named_parameters():
        state = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors.get(f"optimizer.{key}.{name}")
            if value is not None:
                on_host = key == "step" and not optimizer.defaults["fused"]
                state[key] = value.to("cpu" if on_host else parameter.device, copy=True)
        if state:
            optimizer.state[parameter] = state
    if average is not None:
        average.load(section(tensors, "average"))
    if not has_best:
        return None
    best = section(tensors, "best")
    return {name: best.get(name, value) for name, value in current.items()}


def section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under a first name, without it."""
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def furthest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], Kind] | None:
    """The readable checkpoint that is furthest, out of `last` and `interrupted`.

    A damaged one is reported in the log in one line and passed over: the training then goes on
    from the other or from the start, and reaches the same bytes either way.
    """
    steps: dict[Kind, int] = {}
    kinds: tuple[Kind, ...] = ("last", "interrupted")
    for kind in kinds:
        path = checkpoint_file(folder, kind)
        if path.exists():
            try:
                steps[kind] = read_record(path)["standing"]["step"]
            except DamagedCheckpoint as error:
                _log.warning("%s; it is passed over", error)
    for kind in sorted(steps, key=lambda k: -steps[k]):
        try:
            return *read_checkpoint(checkpoint_file(folder, kind)), kind
        except DamagedCheckpoint as error:
            _log.warning("%s; it is passed over", error)
    return None


def require_same(record: dict[str, Any], identity: dict[str, Any], path: Path) -> None:
    """Refuse a checkpoint of another training.

    Raises:
        UserError: seed, settings or shapes of the weights differ.
    """
    theirs = record["identity"]
    differing = [key for key in identity if theirs.get(key) != identity[key]]
    if differing:
        raise UserError(
            f"checkpoint {path} belongs to another training (other {', '.join(differing)}): "
            f"remove {path.parent} to start again"
        )


def require_same_machine(record: dict[str, Any], environment: dict[str, Any]) -> None:
    """Compute with as many threads as before, and warn of what else can change the bytes."""
    theirs = dict(record["environment"])
    if theirs.pop("threads") != environment["threads"]:
        # Sums are split by thread, so that their number decides how they are rounded.
        threads = record["environment"]["threads"]
        torch.set_num_threads(threads)
        _log.info("computing with %d threads, as the checkpoint did", threads)
    for key, value in theirs.items():
        if value != environment[key]:
            _log.warning(
                "resuming with %s %s, begun with %s: the result may differ in its last digits",
                key, environment[key], value,
            )  # fmt: skip


def standing_of(record: dict[str, Any]) -> TrainingProgress:
    """The numbers of a checkpoint's record."""
    standing = record["standing"]
    return TrainingProgress(**{**standing, "means": Means(**standing["means"])})
