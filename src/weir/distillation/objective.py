"""What all objectives of a student share: a batch of pairs in, validation scores of its draws."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weir.distillation.pairs import PairBatch
from weir.flows.model import FlowModel
from weir.flows.proper import fair_crps, fair_energy
from weir.training.objective import Objective


class StudentObjective(Objective):
    """Base of the distillation objectives; subclasses implement `loss`.

    Args:
        model: the student, a copy of the teacher with a step-size input.
        energy_weight: weight of the energy loss of the student's draws, added to the objective's
            own; needs at least two draws per condition.
    """

    model: FlowModel

    def __init__(self, model: FlowModel, *, energy_weight: float = 0.0) -> None:
        super().__init__()
        if not model.student:
            raise ValueError("distillation trains a student: a model with a step-size input")
        self.model = model
        self.energy_weight = energy_weight

    def loss(self, pairs: PairBatch, condition: Any, progress: float) -> Tensor:
        """The scalar to minimise, at a share of the training done."""
        raise NotImplementedError

    def forward(self, batch: PairBatch, progress: float) -> dict[str, Tensor]:
        """`loss`; when evaluating also `crps`, `energy` of one-step draws against the teacher's."""
        condition = self.model.condition(batch.batch)
        batch = batch.coloured(self.model, condition)
        loss = self.loss(batch, condition, progress)
        if self.energy_weight:
            made = fresh_draws(self.model, batch, condition)
            loss = loss + self.energy_weight * energy_loss(made, batch.output)
        losses = {"loss": loss}
        if not self.training and batch.path.shape[1] > 1:
            with torch.no_grad():
                made = fresh_draws(self.model, batch, condition)
                losses["crps"] = fair_crps(made, batch.output).mean()
                losses["energy"] = fair_energy(made, batch.output).mean()
        return losses


def one_step(model: FlowModel, noise: Tensor, condition: Any) -> Tensor:
    """A student's outputs for noise `[condition, draw, *event]` in one evaluation, same shape."""
    zero, one = noise.new_zeros(()), noise.new_ones(())
    return noise + model.jump(noise, zero, one, condition)


def fresh_draws(model: FlowModel, pairs: PairBatch, condition: Any) -> Tensor:
    """A student's outputs for noise of its own, as many as the teacher's, same shape.

    Scores of distributions compare independent draws: outputs of the teacher's own noise lie
    next to the teacher's outputs whatever the spread, and would be rewarded for it.
    """
    return one_step(model, model.source(condition, pairs.path.shape[1]), condition)


def energy_loss(made: Tensor, output: Tensor) -> Tensor:
    """Fair energy score per root dimension plus fair CRPS per coordinate, both of order one.

    The joint distance alone leaves the marginals loose, hence the second term.

    Args:
        made: the student's draws, `[condition, m, *event]`, m >= 2.
        output: the teacher's, `[condition, k, *event]`.
    """
    size = made[0, 0].numel()
    return fair_energy(made, output).mean() / size**0.5 + fair_crps(made, output).mean()


def pseudo_huber(error: Tensor, constant: float) -> Tensor:
    """Mean over events of `sqrt(|e|^2 + c^2) - c`, per root dimension.

    Quadratic below c, linear above, so that the few hard pairs do not dominate (Song & Dhariwal
    2024, "Improved Techniques for Training Consistency Models").

    Args:
        error: `[condition, draw, *event]`.
        constant: c as a multiple of the event's dimension D.
    """
    flat = error.flatten(2)
    size = flat.shape[-1]
    c = constant * size
    return ((flat.square().sum(-1) + c**2).sqrt() - c).mean() / size**0.5
