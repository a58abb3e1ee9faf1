"""What the training loop trains: a model and the losses that are asked of it."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Objective(nn.Module):
    """A model together with its loss; subclasses implement `forward`.

    Randomness must come from torch's global generator: the loop seeds it as a function of
    (seed, step, rank), which is what makes an interrupted run resume to the same bytes.
    """

    model: nn.Module
    increasing: frozenset[str] = frozenset()
    """Validation values of which a larger one is better, such as an AUROC."""

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
