"""Losses of a flow on latents: flow matching, and the distance between generated and true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weir.flows.paths import TimeLaw, sample_times
from weir.tasks.perturb.flow.latents import posterior_draw
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.perturb.flow.cell_flow import CellCondition, CellFlow
    from weir.tasks.perturb.flow.latents import LatentBatch


def endpoints(
    model: CellFlow, condition: CellCondition, mean: Tensor, deviation: Tensor, draws: int
) -> tuple[Tensor, Tensor]:
    """Pairs of source and data, `[item, draw, d_int]` each.

    From a control cell, both posteriors are drawn with the same noise: between two Gaussians with
    parallel axes that is the optimal transport, so the pair differs by the perturbation alone.

    Args:
        model: the flow.
        condition: of the items.
        mean: `[item, d_int]`, standardised latents of the data.
        deviation: `[item, d_int]`, their posterior standard deviations.
        draws: pairs per item.
    """
    white = torch.randn(len(mean), draws, *model.event, device=mean.device)
    data = posterior_draw(white, mean, deviation)
    if model.start == "control":
        return posterior_draw(white, condition.mean, condition.deviation), data
    return torch.randn_like(white), data


def matching_loss(
    model: CellFlow,
    condition: CellCondition,
    source: Tensor,
    data: Tensor,
    weight: Tensor,
    times: TimeLaw,
) -> Tensor:
    """Weighted mean squared error of the velocity on the paths between pairs.

    In training it is the sum of two: of the velocity without its state-dependent part, from which
    what all cells have in common is learnt, and of the whole, from which the rest is.

    Args:
        model: the flow.
        condition: of the items.
        source: `[item, draw, d_int]`.
        data: `[item, draw, d_int]`.
        weight: `[item]`.
        times: law of the training times.
    """
    items, draws = source.shape[:2]
    t = sample_times((items * draws,), times, device=source.device).reshape(items, draws)
    x = model.path.interpolate(source, data, t)
    target = model.path.target(source, data, t)

    def error(velocity: Tensor) -> Tensor:
        return (weight * (velocity - target).square().mean((1, 2))).mean()

    if not model.training:
        return error(model.velocity(x, t, condition))
    base, alike, state = model.parts(x, t, condition)
    whole = error(base + alike.detach() + state)
    return whole + error(base.detach() + alike)


def grouped_energy(made: Tensor, truth: Tensor, group: Tensor) -> Tensor:
    """Energy distance between two samples inside groups, weighted by the groups' sizes.

    `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, all three over pairs of different items: `made[i]` and
    `truth[i]` belong together and would count as too close. Groups of one item count nothing.

    Args:
        made: `[item, event]`.
        truth: `[item, event]`.
        group: `[item]` int64.

    Returns:
        A scalar; zero if no group has two items.
    """
    _, inverse, count = group.unique(return_inverse=True, return_counts=True)
    pairs = (inverse[:, None] == inverse) & ~torch.eye(
        len(group), dtype=torch.bool, device=group.device
    )
    # Each item's share: its group's mean over n (n - 1) pairs, times the group's share n / N.
    size = count[inverse].to(made.dtype)
    weight = pairs / (size - 1).clamp_min(1)[:, None] / len(group)
    return sum(
        sign * (weight * _distance(x, y)).sum()
        for sign, x, y in ((2, made, truth), (-1, made, made), (-1, truth, truth))
    )


def _distance(x: Tensor, y: Tensor) -> Tensor:
    # The small constant keeps the gradient at zero distance, on the diagonal, finite.
    square = (x[:, None] - y).square().sum(-1)
    return (square + 1e-12).sqrt()


def decaying(named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """Optimizer groups of a flow's named parameters: networks that decay, and the rest."""
    networks = ("network.base.", "network.basis.")
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in named:
        groups[not any(part in name for part in networks)].append(parameter)
    return [{"params": groups[0]}, {"params": groups[1], "weight_decay": 0.0}]


class Stage2Objective(Objective):
    """Flow matching on latents, plus the energy distance of generated ones.

    Args:
        model: the flow.
        times: law of the training times.
        draws: posterior draws and times per item.
        energy_weight: weight of the energy distance beside the flow-matching loss.
        energy_steps: Euler steps of the cells generated for it.
        scored: report the energy distance when evaluating.
    """

    def __init__(
        self,
        model: CellFlow,
        *,
        times: TimeLaw = "uniform",
        draws: int = 1,
        energy_weight: float = 0.0,
        energy_steps: int = 2,
        scored: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.times: TimeLaw = times
        self.draws = draws
        self.energy_weight, self.energy_steps = energy_weight, energy_steps
        self.scored = scored

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The networks' matrices decay; what describes contexts and perturbations does not."""
        named = [(n, p) for n, p in self.named_parameters() if p.requires_grad]
        return decaying(named)

    def forward(self, batch: LatentBatch, progress: float) -> dict[str, Tensor]:
        """`loss`; `energy`, of few-step draws inside groups, when evaluating."""
        model = self.model
        condition = model.condition(batch)
        mean = model.standardise(batch.mean)
        deviation = (0.5 * batch.log_variance).exp() / model.latent_sd
        source, data = endpoints(model, condition, mean, deviation, self.draws)
        loss = matching_loss(model, condition, source, data, batch.weight, self.times)
        if self.training and self.energy_weight:
            loss = loss + self.energy_weight * self._energy(
                condition, source, data, batch.group, self.energy_steps
            )
        losses = {"loss": loss}
        if not self.training and self.scored:
            losses["energy"] = self._energy(condition, source, data, batch.group, None)
        return losses

    def _energy(
        self,
        condition: CellCondition,
        source: Tensor,
        data: Tensor,
        group: Tensor,
        steps: int | None,
    ) -> Tensor:
        solver = None if steps is None else "euler"
        made = self.model.transport(source[:, :1], condition, steps=steps, solver=solver).final
        return grouped_energy(made[:, 0], data[:, 0], group)
