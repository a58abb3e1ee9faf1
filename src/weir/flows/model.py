"""Interface of a flow model: all that teacher sampling and distillation ask of any task's."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from weir.flows.paths import Path
from weir.flows.solvers import Solution, SolverName, integrate, nfe, require_finite

Condition = TypeVar("Condition", bound=tuple[Tensor, ...])
"""A NamedTuple of tensors, each with a leading axis of conditions."""


def take(condition: Condition, items: Tensor | slice) -> Condition:
    """Those conditions that `items` selects, in every tensor of the tuple."""
    return type(condition)(*(field[items] for field in condition))


class FlowModel(nn.Module):
    """A conditional flow from noise (t = 0) to data (t = 1) in a space of events.

    Subclasses set `event` and `path` and implement `velocity`. What else they do not say is the
    simplest there is: the condition is the batch, the source white noise, an event the data itself.
    Tensors of events have axes `[condition, draw, *event]`.

    Attributes:
        event: shape of one event.
        path: between noise and data, on which the flow is trained.
        steps: solver steps when a caller names none.
        solver: solver when a caller names none.
        student: whether `velocity` accepts a step size, which makes the model a student that
            covers a finite step in one evaluation.
    """

    event: tuple[int, ...]
    path: Path
    steps: int = 4
    solver: SolverName = "midpoint"
    student: bool = False

    def as_student(self, settings: Any = None) -> FlowModel:
        """A student to be trained, with a step size as a further input.

        By default a copy, for a network that has that input, zero in the teacher.

        Args:
            settings: of the node that asks for it; None for the defaults.
        """
        student = copy.deepcopy(self)
        student.student = True
        return student

    def items(self, data: Any, seed: int = 0) -> Any:
        """The data set that the flow is trained on, made of the task's: itself, or its latents.

        Args:
            data: of the task.
            seed: of what is drawn once, if anything is.
        """
        return data

    def queries(self, data: Any) -> Any:
        """The data set of conditions that a teacher samples to be distilled."""
        return self.items(data)

    def condition(self, batch: Any) -> Any:
        """What the velocity depends on, computed once per item of a data set's batch.

        By default the batch itself, where that is a NamedTuple of tensors.
        """
        return batch

    def colour(self, white: Tensor, condition: Any) -> Tensor:
        """Standard normal noise `[condition, draw, *event]` turned into the flow's source."""
        return white

    def velocity(self, x: Tensor, t: Tensor, condition: Any, step: Tensor | None = None) -> Tensor:
        """`dx/dt` at `(x, t)`, of x's shape.

        Args:
            x: `[condition, draw, *event]`.
            t: `[]`, `[condition]` or `[condition, draw]`.
            condition: a NamedTuple of tensors `[condition, ...]`.
            step: size of the step to cover, of t's shape; students only.
        """
        raise NotImplementedError

    def decode(self, x: Tensor, condition: Any) -> Tensor:
        """Events `[condition, draw, *event]` on the scale of the data."""
        return x

    def source(
        self, condition: Any, draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Noise `[condition, draw, *event]`."""
        lead: Tensor = condition[0]
        white = torch.randn(len(lead), draws, *self.event, generator=generator, device=lead.device)
        return self.colour(white, condition)

    def jump(self, x: Tensor, r: Tensor, t: Tensor, condition: Any) -> Tensor:
        """Mean velocity `u` of a student between times r and t: `x_t = x_r + (t - r) u`."""
        return self.velocity(x, r, condition, t - r)

    def transport(
        self,
        x: Tensor,
        condition: Any,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
        knots: int = 0,
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Carry noise `x`, `[condition, draw, *event]`, to events.

        A student makes `steps` jumps (one by default), a teacher solves the equation; the work
        per condition, whatever the number of draws, is done by `condition`, not here. `generator`
        is for solvers that add noise on the way; those of here add none.
        """
        if not self.student:
            return integrate(
                lambda x, t: self.velocity(x, t, condition),
                x,
                steps=self.steps if steps is None else steps,
                solver=self.solver if solver is None else solver,
                knots=knots,
            )
        steps = 1 if steps is None else steps
        size = x.new_tensor(1 / steps)
        return integrate(
            lambda x, t: self.velocity(x, t, condition, size),
            x,
            steps=steps,
            solver="euler",
            knots=knots,
        )

    def step_times(self, steps: int, solver: SolverName | None = None) -> Tensor:
        """Times `[steps + 1]` of the states of `transport`, 0 first and 1 last."""
        return torch.arange(steps + 1) / steps

    def generate(
        self,
        condition: Any,
        draws: int,
        *,
        steps: int | None = None,
        solver: Any = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Fresh events `[condition, draw, *event]`; a task may know other ways than `transport`."""
        noise = self.source(condition, draws, generator)
        return self.transport(
            noise, condition, steps=steps, solver=solver, generator=generator
        ).final

    @torch.no_grad()
    def draw(
        self,
        batch: Any,
        draws: int,
        *,
        steps: int | None = None,
        solver: Any = None,
        generator: torch.Generator | None = None,
        chunk: int = 1_000_000,
    ) -> Tensor:
        """Samples `[item, draw, *data]` for a batch, in parts of about `chunk` values.

        Raises:
            WeirError: a sample, or a step on the way to it, is not finite.
        """
        condition = self.condition(batch)
        size = int(torch.Size(self.event).numel())
        together = max(1, chunk // (size * draws))
        parts = []
        for first in range(0, len(condition[0]), together):
            part = take(condition, slice(first, first + together))
            x = self.generate(part, draws, steps=steps, solver=solver, generator=generator)
            parts.append(require_finite(self.decode(x, part), "decoded sample", "after the solver"))
        return torch.cat(parts)

    def nfe(self, steps: int | None = None, solver: SolverName | None = None) -> int:
        """Evaluations of the network per sample."""
        if self.student:
            return 1 if steps is None else steps
        solver = self.solver if solver is None else solver
        return nfe(solver, self.steps if steps is None else steps)
