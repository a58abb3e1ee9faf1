"""Principal components of expression, fitted on training cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PCA = "pca.safetensors"


@dataclass(frozen=True)
class Pca:
    """A linear map of log-normalised expression.

    Attributes:
        mean: `[gene]` float32.
        components: `[k, gene]` float32, orthonormal rows, by falling variance.
    """

    mean: Tensor
    components: Tensor

    def project(self, expression: Tensor) -> Tensor:
        """Coordinates `[..., k]` of log-normalised expression `[..., gene]`."""
        return (expression - self.mean) @ self.components.T

    def to(self, device: torch.device | str) -> Pca:
        """The same map on `device`."""
        return Pca(self.mean.to(device), self.components.to(device))

    def save(self, folder: Path) -> None:
        """Write `pca.safetensors` into a folder."""
        tensors = {"mean": self.mean.contiguous(), "components": self.components.contiguous()}
        save_file(tensors, folder / PCA)

    @classmethod
    def load(cls, folder: Path) -> Pca:
        """Read `pca.safetensors` of a folder.

        Raises:
            OSError, SafetensorError, KeyError: it is missing or damaged.
        """
        tensors = load_file(folder / PCA)
        return cls(tensors["mean"], tensors["components"])
