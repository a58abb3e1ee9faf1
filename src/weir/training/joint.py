"""Joint training of an autoencoder and of a flow of its latents: what every task shares of it."""

from __future__ import annotations

from typing import Any

from torch import nn

from weir.training.objective import Objective


class LatentJoint(Objective):
    """The autoencoder's loss plus a weight, which rises, times that of the flow of its latents.

    Subclasses implement `forward` and `flow_groups`.

    Args:
        model: built with `frozen=False`.
        autoencoder: the objective of the autoencoder that is part of `model`.
        weight: of the flow's loss.
        warmup: share of the training during which that weight rises from zero.
        vae_lr_scale: the autoencoder's learning rate as a multiple of the flow's.
    """

    def __init__(
        self,
        model: nn.Module,
        autoencoder: Objective,
        *,
        weight: float,
        warmup: float = 0.3,
        vae_lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if model.frozen:
            raise ValueError("joint training needs a model that is not frozen")
        self.model, self.autoencoder = model, autoencoder
        self.weight, self.warmup, self.vae_lr_scale = weight, warmup, vae_lr_scale

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The autoencoder's groups with a learning rate of their own, and the flow's."""
        groups = [
            {**group, "lr_scale": self.vae_lr_scale}
            for group in self.autoencoder.parameter_groups()
        ]
        known = {id(p) for p in self.autoencoder.parameters()}
        rest = [(name, p) for name, p in self.model.named_parameters() if id(p) not in known]
        return [*groups, *self.flow_groups(rest)]

    def flow_groups(self, named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        """Optimizer groups of the flow's parameters, by name in `model`."""
        raise NotImplementedError

    def flow_weight(self, progress: float) -> float:
        """Weight of the flow's loss when a share `progress` of the training is done."""
        return self.weight * min(1.0, progress / self.warmup if self.warmup else 1.0)
