"""Pairs (noise, sample) of a deterministic teacher: how they are drawn, and as a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from weir.flows.model import FlowModel
from weir.flows.solvers import SolverName, knot_steps


@runtime_checkable
class Conditions(Protocol):
    """The data set whose items are the conditions."""

    def __len__(self) -> int: ...

    def to(self, device: Any) -> Any: ...

    def batch(self, items: Tensor) -> Any: ...


class Pairs(NamedTuple):
    """What a teacher made of some conditions.

    Attributes:
        items: `[condition]` int64, numbers of the conditions in their data set.
        output: `[condition, draw, *event]`, where the noise ended.
        knots: `[condition, draw, knot, *event]`, states between noise and output, ends excluded;
            the knot axis is empty if none was asked for.
    """

    items: Tensor
    output: Tensor
    knots: Tensor


class PairBatch(NamedTuple):
    """A batch of conditions with all their stored pairs.

    Attributes:
        batch: the data set's own batch, from which a model computes its condition.
        path: `[condition, draw, point, *event]`: noise, stored knots, output. As a data set
            gives it, the noise is white.
        times: `[point]`, the times of the path's points, 0 first and 1 last.
    """

    batch: Any
    path: Tensor
    times: Tensor

    def coloured(self, model: FlowModel, condition: Any) -> PairBatch:
        """The same with the noise turned into the flow's source."""
        with torch.no_grad():
            noise = model.colour(self.noise, condition)
        return self._replace(path=torch.cat([noise[:, :, None], self.path[:, :, 1:]], 2))

    @property
    def noise(self) -> Tensor:
        """`[condition, draw, *event]`."""
        return self.path[:, :, 0]

    @property
    def output(self) -> Tensor:
        """`[condition, draw, *event]`."""
        return self.path[:, :, -1]

    def point(self, index: Tensor) -> Tensor:
        """`path[i, j, index[i, j]]` for every condition i and draw j; index `[condition, draw]`."""
        rows = torch.arange(self.path.shape[0], device=self.path.device)[:, None]
        columns = torch.arange(self.path.shape[1], device=self.path.device)
        return self.path[rows, columns, index]


def white_noise(seed: int, items: Tensor, draws: int, event: tuple[int, ...]) -> Tensor:
    """Standard normal noise `[item, draw, *event]` that depends on (seed, item, draw) alone.

    A counter-based generator (Philox; Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3") starts each event at a counter of its own, so that any pair can be drawn again without
    those before it, and noise need not be stored.
    """
    size = int(torch.Size(event).numel())
    noise = np.empty((len(items), draws, size), np.float32)
    for row, item in enumerate(items.tolist()):
        for draw in range(draws):
            bits = np.random.Philox(key=seed, counter=[0, 0, draw, item])
            np.random.Generator(bits).standard_normal(dtype=np.float32, out=noise[row, draw])
    return torch.from_numpy(noise).reshape(len(items), draws, *event)


def knot_times(steps: int, knots: int, grid: Tensor | None = None) -> Tensor:
    """Times `[knots + 2]` of noise, inner knots and output.

    Args:
        steps: of the solver.
        knots: states kept between noise and output.
        grid: `[steps + 1]`, times of the solver's states (`FlowModel.step_times`); equal steps by
            default.
    """
    at = torch.tensor(knot_steps(steps, knots + 2))
    return at.float() / steps if grid is None else grid[at]


def sample_pairs(
    teacher: FlowModel,
    data: Conditions,
    items: Tensor,
    *,
    draws: int,
    seed: int,
    steps: int,
    solver: SolverName = "heun",
    knots: int = 0,
    chunk: int = 2_000_000,
) -> Iterator[Pairs]:
    """Integrate the teacher from reproducible noise, a bounded number of conditions at a time.

    Args:
        teacher: in evaluation mode; its equation must be deterministic.
        data: the conditions.
        items: `[condition]` int64, which of them to sample.
        draws: samples of each condition.
        seed: seed of the noise.
        steps: solver steps.
        solver: a fixed-step solver.
        knots: states to keep between noise and output.
        chunk: values integrated together.

    Yields:
        Pairs on the CPU, in the order of `items`; to resume, pass the items that are left.
    """
    size = int(torch.Size(teacher.event).numel()) * draws * (knots + 2)
    with torch.no_grad():
        for some in items.split(max(1, chunk // size)):
            condition = teacher.condition(data.batch(some))
            white = white_noise(seed, some, draws, teacher.event).to(condition[0].device)
            solution = teacher.transport(
                teacher.colour(white, condition),
                condition,
                steps=steps,
                solver=solver,
                knots=knots + 2,
            )
            assert solution.knots is not None
            path = solution.knots.movedim(0, 2).cpu()
            yield Pairs(some, path[:, :, -1].clone(), path[:, :, 1:-1].clone())


@dataclass
class PairSet:
    """A data set of conditions with their pairs; noise is drawn again rather than stored.

    Attributes:
        data: the conditions' data set.
        items: `[condition]` int64 numbers in `data`.
        output: `[condition, draw, *event]`.
        knots: `[condition, draw, knot, *event]`, the knot axis possibly empty.
        times: `[knot + 2]`, times of noise, knots and output.
        seed: seed of the noise.
        draws: pairs of a condition in a batch; all stored ones by default.
    """

    data: Conditions
    items: Tensor
    output: Tensor
    knots: Tensor
    times: Tensor
    seed: int
    draws: int | None = None

    def __post_init__(self) -> None:
        conditions, stored = self.output.shape[:2]
        expected = (conditions, stored, len(self.times) - 2, *self.event)
        if len(self.items) != conditions or self.knots.shape != expected:
            raise ValueError(
                f"pairs do not fit together: {len(self.items)} items, output of shape "
                f"{list(self.output.shape)}, knots of shape {list(self.knots.shape)} "
                f"at {len(self.times)} times"
            )
        if self.draws is not None and not 1 <= self.draws <= stored:
            raise ValueError(f"{self.draws} draws wanted of {stored} stored per condition")

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one event."""
        return tuple(self.output.shape[2:])

    def __len__(self) -> int:
        return len(self.items)

    def to(self, device: torch.device | str) -> PairSet:
        """The same pairs with everything on `device`."""
        return PairSet(
            self.data.to(device),
            self.items,
            self.output.to(device),
            self.knots.to(device),
            self.times.to(device),
            self.seed,
            self.draws,
        )

    def batch(self, items: Tensor) -> PairBatch:
        """Conditions numbered `items` (`[batch]` int64, any device) of this set."""
        items = items.cpu()
        chosen = self.items[items]
        count = self.output.shape[1] if self.draws is None else self.draws
        white = white_noise(self.seed, chosen, count, self.event)
        on = self.output.device
        at = items.to(on)
        inner, output = self.knots[at][:, :count], self.output[at][:, :count]
        path = torch.cat([white.to(on)[:, :, None], inner, output[:, :, None]], 2)
        return PairBatch(self.data.batch(chosen), path, self.times)
