"""Networks of events given a time and a class, behind one call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from weir.errors import UserError
from weir.networks.modulated import ModulatedMLP
from weir.networks.unet import UNet

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
