"""Objectives: what the training loop trains, a model and the losses that are asked of it.

`LatentJoint` is what all tasks share of training an autoencoder and a flow of its latents together.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Objective(nn.Module):
    """A model together with its loss; subclasses implement `forward`.

    Those that have more to set than the model do so in a constructor of their own.

    Randomness must come from torch's global generator: the loop seeds it as a function of
    (seed, step, rank), which is what makes an interrupted run resume to the same bytes.
    """

    model: nn.Module
    increasing: frozenset[str] = frozenset()
    """Validation values of which a larger one is better, such as an AUROC."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        if model is not None:
            self.model = model

    def forward(self, batch: Any, progress: float) -> dict[str, Tensor]:
        """Scalar losses of one batch, among them `"loss"`, which is minimised.

        In evaluation there may be predictions among them, one for each item, for `scores`.

        Args:
            batch: whatever the data set's `batch` returns.
            progress: share of the training done, 0 to 1, for curricula and annealing.
        """
        raise NotImplementedError

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """Validation values that are no means over batches.

        Args:
            predicted: what `forward` predicted of every validation item, `[item]` each, on the CPU.
        """
        return {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups: `params`, and optionally `lr_scale` and `weight_decay`."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]


class DataSet(Protocol):
    """Items addressed by number, gathered in one call: no workers, no order of its own."""

    def __len__(self) -> int: ...

    def to(self, device: Any) -> DataSet: ...

    def batch(self, items: Tensor) -> Any: ...


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
