"""Sources of noise: white, or Gaussian with the covariance of the data that a flow starts near.

A source that shares its covariance with the data leaves the flow only what is not Gaussian, and
what depends on the condition; a few solver steps then suffice.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

SourceName = Literal["isotropic", "correlated"]


class GaussianSource(nn.Module):
    """`x = L e`, `e` white, for events of a fixed shape; `L` is a buffer, saved with the model.

    Attributes:
        shape: shape of one event, without batch axes.
        factor: `[size, size]` lower triangular Cholesky factor of the covariance of the flattened
            event; empty for the isotropic source.
    """

    factor: Tensor

    def __init__(self, shape: tuple[int, ...], name: SourceName = "isotropic") -> None:
        super().__init__()
        if name not in ("isotropic", "correlated"):
            raise ValueError(f"unknown source {name!r}; known sources: isotropic, correlated")
        self.shape = tuple(shape)
        self.size = int(torch.Size(shape).numel())
        self.name: SourceName = name
        factor = torch.eye(self.size) if name == "correlated" else torch.empty(0)
        self.register_buffer("factor", factor)

    @torch.no_grad()
    def set_covariance(self, covariance: Tensor) -> None:
        """Take `covariance`, `[size, size]`, symmetric and positive definite.

        Raises:
            ValueError: the source is isotropic, or the matrix has another shape or no Cholesky
                factor.
        """
        if self.name != "correlated":
            raise ValueError("an isotropic source takes no covariance")
        if covariance.shape != (self.size, self.size):
            raise ValueError(
                f"covariance of shape {list(covariance.shape)}, expected {[self.size, self.size]}"
            )
        factor, info = torch.linalg.cholesky_ex(covariance.double())
        if int(info) != 0:
            raise ValueError("covariance is not positive definite; use more shrinkage")
        self.factor.copy_(factor.to(self.factor.dtype))

    def colour(self, white: Tensor) -> Tensor:
        """White noise `[..., *shape]` turned into noise of this source, same shape."""
        if self.name == "isotropic":
            return white
        flat = white.reshape(-1, self.size) @ self.factor.T
        return flat.reshape(white.shape)

    def forward(self, leading: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draws `[*leading, *shape]`; `generator` is torch's global one by default."""
        white = torch.randn(*leading, *self.shape, generator=generator, device=self.factor.device)
        return self.colour(white)


def shrink(
    correlation: Tensor, shape: tuple[int, int], *, kronecker: float = 0.5, diagonal: float = 0.01
) -> Tensor:
    """A correlation matrix drawn towards structure, in double precision, `[size, size]`.

    The correlation of a few hundred coordinates is noisy when windows overlap, so it is drawn
    towards the Kronecker product of its mean row and column correlations, then towards the
    identity.

    Args:
        correlation: `[size, size]` of events flattened from `shape`, unit diagonal.
        shape: rows and columns of an event.
        kronecker: weight of the Kronecker product, 0 to 1.
        diagonal: weight of the identity, 0 to 1; positive makes the result positive definite.
    """
    correlation = correlation.double()
    blocks = correlation.reshape(*shape, *shape)
    across = blocks.diagonal(dim1=1, dim2=3).mean(-1)
    along = blocks.diagonal(dim1=0, dim2=2).mean(-1)
    mixed = torch.lerp(correlation, torch.kron(across, along), kronecker) * (1 - diagonal)
    mixed.diagonal().add_(diagonal)
    return mixed
