"""The plain denoiser under EDM: any network as field, the honest rival of the score flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.flows import edm
from weir.flows.paths import expand_time
from weir.tasks.image.edm_flow import EdmFlow
from weir.tasks.image.image_loss import ImageObjective
from weir.tasks.image.network import EventNetwork
from weir.tasks.image.scale import SIGMA_DATA

if TYPE_CHECKING:
    from weir.tasks.image.image_code import ImageCode


class Denoiser(EdmFlow):
    """EDM with an unrestricted network (Karras et al. 2022); also the student of a score flow.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        network: settings of `weir.tasks.image.network.EventNetwork`.
        student: build it as a student.
        settings: those of `EdmFlow`.
    """

    def __init__(
        self,
        code: ImageCode,
        priors: Any,
        network: dict[str, Any],
        *,
        student: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(code, priors, **settings)
        self.network = EventNetwork(self.event, self.classes, student=student, **network)
        self.student = student
        # A jump of finite length is no derivative: there is no denoiser in a student.
        self.has_denoiser = not student

    def field(self, u: Tensor, sigma: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """The network's output."""
        return self.network(u, self.noise.level(sigma), label, step)


class DenoiserObjective(ImageObjective):
    """EDM's loss: the squared error of F at log-normal noises, which is its weighted `|D - y|^2`.

    Args:
        model: the denoiser.
        draws: noises per item and step.
    """

    def __init__(self, model: Denoiser, *, draws: int = 1) -> None:
        super().__init__(model)
        self.draws = draws

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """`loss`, per dimension."""
        event, label = event.repeat(self.draws, *(1,) * (event.ndim - 1)), label.repeat(self.draws)
        noise = self.model.noise
        sigma = edm.sample_sigma((len(event),), noise.p_mean, noise.p_std, device=event.device)
        sigma = sigma.clamp(noise.sigma_min, noise.sigma_max)
        white = torch.randn_like(event)
        total = expand_time((sigma.square() + SIGMA_DATA**2).sqrt(), event)
        target = (expand_time(sigma / SIGMA_DATA, event) * event - SIGMA_DATA * white) / total
        u = edm.noisy(event, sigma, white) / total
        error = self.model.field(u, sigma, label) - target
        return {"loss": error.square().mean()}
