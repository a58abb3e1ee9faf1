"""The plain denoiser under EDM: any network as field, the honest rival of the score flow.

Networks that are given a time and a class stand behind one call, `EventNetwork`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from weir.errors import UserError
from weir.flows import edm
from weir.flows.paths import expand_time
from weir.networks.modulated import ModulatedMLP
from weir.networks.unet import UNet
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.flow.edm_flow import EdmFlow
from weir.tasks.image.flow.image_flow import ImageObjective

if TYPE_CHECKING:
    from weir.tasks.image.representation.code import ImageCode


NetworkKind = Literal["unet", "mlp"]


class EventNetwork(nn.Module):
    """A UNet or a modulated MLP that is told the class; zero at first.

    Args:
        event: shape of an event.
        classes: number of classes; the label `classes` stands for no class.
        kind: `unet` for pictures, `mlp` for small pictures and points.
        width: channels of the UNet at full resolution, hidden width of the MLP.
        layers: residual blocks at each resolution, or residual layers.
        multiples: channels of the UNet at each halved resolution, as multiples of `width`.
        attention: of the UNet, at its lowest resolution.
        context: width of the class's vector.
        dropout: of the blocks.
        student: with a student's step size as further input.

    Raises:
        UserError: a UNet is to work on what is no picture.
    """

    def __init__(
        self,
        event: tuple[int, ...],
        classes: int,
        *,
        kind: NetworkKind = "unet",
        width: int = 32,
        layers: int = 1,
        multiples: Sequence[int] = (1, 2, 2),
        attention: bool = True,
        context: int = 32,
        dropout: float = 0.0,
        student: bool = False,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.label = nn.Embedding(classes + 1, context)
        if kind == "unet":
            if len(event) != 3:
                raise UserError(
                    "network.kind (of a flow, student.kind): a unet needs pictures, and these "
                    f"events have shape {list(event)}; set it to mlp"
                )
            self.network: Any = UNet(
                event[0],
                context,
                width=width,
                multiples=multiples,
                blocks=layers,
                attention=attention,
                dropout=dropout,
            )
        else:
            size = math.prod(event)
            self.network = ModulatedMLP(
                size, context, size, width=width, layers=layers, dropout=dropout
            )
        if student:
            self.add_step()

    def add_step(self) -> None:
        """Add a student's step-size input, which does nothing yet."""
        self.network.add_step()

    def forward(self, x: Tensor, t: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """Of x's shape.

        Args:
            x: `[item, *event]`.
            t: `[item]`, in 0 to 1.
            label: `[item]` int64.
            step: `[item]`.
        """
        events = x[:, None] if self.kind == "unet" else x.flatten(1)[:, None]
        return self.network(events, t, self.label(label), step).reshape(x.shape)


class Denoiser(EdmFlow):
    """EDM with an unrestricted network (Karras et al. 2022); also the student of a score flow.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        network: settings of `weir.tasks.image.flow.denoiser.EventNetwork`.
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
