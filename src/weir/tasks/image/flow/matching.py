"""Flow matching of pictures on the straight path, with the denoiser's network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from weir.flows.paths import Path, TimeLaw, expand_time, sample_times
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.flow.denoiser import EventNetwork
from weir.tasks.image.flow.image_flow import (
    ImageCondition,
    ImageFlow,
    ImageObjective,
    ImageSolver,
    flat,
)

if TYPE_CHECKING:
    from weir.tasks.image.representation.code import ImageCode


class MatchingFlow(ImageFlow):
    """A velocity field between white noise and events of unit variance, on the linear path.

    The network adds to the velocity between two standard normals, which an untrained flow is.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        network: settings of `weir.tasks.image.flow.denoiser.EventNetwork`.
        settings: those of `ImageFlow`.
    """

    has_denoiser = True

    def __init__(
        self, code: ImageCode, priors: Any, network: dict[str, Any], **settings: Any
    ) -> None:
        super().__init__(code, priors, **settings)
        self.path = Path("linear")
        self.network = EventNetwork(self.event, self.classes, **network)

    def velocity(
        self, x: Tensor, t: Tensor, condition: ImageCondition, step: Tensor | None = None
    ) -> Tensor:
        """`dx/dt` at `x`, `[condition, draw, *event]`, guided."""
        items, time, label, size = flat(x, t, condition, step)
        learnt = self.field(items, time, label, size)
        if self.guidance:
            without = self.field(items, time, self.unlabelled(label), size)
            learnt = learnt + self.guidance * (learnt - without)
        return learnt.reshape(x.shape)

    def field(self, x: Tensor, t: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """Velocity `[item, *event]` without guidance, at `t` and `label`, `[item]`."""
        gain = self.path.gaussian_gain(t, step)
        return expand_time(gain, x) * x + self.network(x, t, label, step)

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """See `ImageModel.denoise`: noise sigma is that of the path at `1 / (1 + sigma / .5)`."""
        label = self.unlabelled(event) if label is None else label
        t = SIGMA_DATA / (SIGMA_DATA + sigma)
        x = expand_time(t / SIGMA_DATA, event) * event
        clean = x + expand_time(1 - t, x) * self.field(x, t, label)
        return clean * SIGMA_DATA

    def nfe(self, steps: int | None = None, solver: ImageSolver | None = None) -> int:
        """Evaluations of the network per sample; guidance doubles them."""
        solver = self.solver if solver is None else solver
        return (2 if self.guidance else 1) * super().nfe(steps, solver)


class MatchingObjective(ImageObjective):
    """Squared error of the velocity on the straight path.

    Args:
        model: the flow.
        times: law of the training times.
        draws: noises per item and step.
    """

    def __init__(self, model: MatchingFlow, *, times: TimeLaw = "uniform", draws: int = 1) -> None:
        super().__init__(model)
        self.times: TimeLaw = times
        self.draws = draws

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """`loss`, per dimension."""
        data = event.repeat(self.draws, *(1,) * (event.ndim - 1)) / SIGMA_DATA
        label = label.repeat(self.draws)
        noise = torch.randn_like(data)
        t = sample_times((len(data),), self.times, device=data.device)
        path = self.model.path
        x, target = path.interpolate(noise, data, t), path.target(noise, data, t)
        return {"loss": functional.mse_loss(self.model.field(x, t, label), target)}
