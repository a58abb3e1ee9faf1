"""Joint training of an autoencoder and of a flow of its latents: what every task shares of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weir.training.objective import Objective


class LatentJoint(Objective):
    """The autoencoder's loss plus a weight, which rises, times that of the flow of its latents.

    Latents are standardised by the batch's own moments, through which the gradient goes as well:
    the flow's loss then does not fall when the latents merely shrink. Running moments are what
    the trained model standardises with. Subclasses implement `forward` and `flow_groups`.

    Args:
        model: built with `frozen=False`; has `latent_mean` and `latent_sd`, `[d_latent]`.
        autoencoder: the objective of the autoencoder that is part of `model`.
        weight: of the flow's loss.
        warmup: share of the training during which that weight rises from zero.
        vae_lr_scale: the autoencoder's learning rate as a multiple of the flow's.
        memory: batches over which running moments average.
    """

    batches: Tensor

    def __init__(
        self,
        model: nn.Module,
        autoencoder: Objective,
        *,
        weight: float,
        warmup: float = 0.3,
        vae_lr_scale: float = 1.0,
        memory: int = 200,
    ) -> None:
        super().__init__()
        if model.frozen:
            raise ValueError("joint training needs a model that is not frozen")
        self.model, self.autoencoder = model, autoencoder
        self.weight, self.warmup, self.vae_lr_scale = weight, warmup, vae_lr_scale
        self.memory = memory
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

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

    def moments(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation `[d_latent]` by which to standardise the latents of a batch.

        In training they are the batch's own, which the running ones follow; otherwise, and for a
        batch without latents, the running ones.

        Args:
            mean: `[item, d_latent]`, of the posteriors.
            log_variance: `[item, d_latent]`.
        """
        if not self.training or not len(mean):
            return self.model.latent_mean, self.model.latent_sd
        variance = mean.var(0, correction=0) + log_variance.exp().mean(0)
        centre = mean.mean(0)
        self._follow(centre.detach(), variance.detach())
        return centre, variance.sqrt()

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.batches += 1
        pace = max(1 / int(self.batches), 1 / self.memory)
        model = self.model
        model.latent_mean.lerp_(mean, pace)
        model.latent_sd.copy_(model.latent_sd.square().lerp(variance, pace).sqrt())
