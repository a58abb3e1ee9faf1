"""Independent Gaussian processes, one for each code, with the record's own level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weir.tasks.clinical.baselines.filling import FillBaseline

if TYPE_CHECKING:
    from weir.tasks.clinical.flow.grid import BinEvents

RECORDS = 96
"""Training records with at least two values that a code's kernel is fitted to."""

STEPS = 80
"""Steps of Adam on the marginal likelihood."""


class GaussianProcess(FillBaseline):
    """Mean by bin, plus a level of the record, plus an Ornstein-Uhlenbeck or Matern process, plus
    noise: closed-form prediction, kernels fitted by marginal likelihood to training records.

    Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5.

    Args:
        codes: number of known codes.
        bins: of the grid.
        hours: see `FillBaseline`.
        kernel: `ou` (rough) or `matern` (of smoothness 3/2).
    """

    def __init__(
        self, codes: int, bins: int, hours: float | None = None, *, kernel: str = "ou"
    ) -> None:
        super().__init__(codes, bins, hours)
        if kernel not in ("ou", "matern"):
            raise ValueError(f"unknown kernel {kernel!r}; known kernels: ou, matern")
        self.kernel = kernel
        # Logarithms: variances of level, process and noise, and the length in bins.
        start = [math.log(0.3), math.log(0.4), math.log(0.3), math.log(3.0)]
        self.store(log_kernel=torch.tensor(start).repeat(codes, 1))

    def covariance(self, log_kernel: Tensor) -> Tensor:
        """Prior covariance without noise, `[..., bin, bin]`, of kernels `[..., 4]`."""
        place = torch.arange(self.bins, device=log_kernel.device, dtype=log_kernel.dtype)
        level, process, _, length = log_kernel.exp().unbind(-1)
        apart = (place[:, None] - place).abs() / length[..., None, None]
        if self.kernel == "matern":
            shape = (1 + math.sqrt(3) * apart) * torch.exp(-math.sqrt(3) * apart)
        else:
            shape = torch.exp(-apart)
        return level[..., None, None] + process[..., None, None] * shape

    def learn(self, pieces: list[tuple[Tensor, Tensor]]) -> None:
        """Climb the marginal likelihood of each code's values in some training records."""
        value, has = self._chosen(pieces)
        log_kernel = self.log_kernel.double().clone().requires_grad_(True)
        with torch.enable_grad():
            optimizer = torch.optim.Adam([log_kernel], lr=0.1)
            for _ in range(STEPS):
                optimizer.zero_grad()
                root = torch.linalg.cholesky(self._observed(log_kernel[:, None], has))
                white = torch.linalg.solve_triangular(root, value[..., None], upper=False)
                log_det = root.diagonal(dim1=-2, dim2=-1).log().sum()
                # Towards the start, so that codes with few values stay sensible.
                prior = 0.5 * (log_kernel - self.log_kernel.double()).square().sum()
                (0.5 * white.square().sum() + log_det + prior).backward()
                optimizer.step()
        self.store(log_kernel=log_kernel.detach().clamp(-6, 6).float())

    def _chosen(self, pieces: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Centred values `[code, record, bin]` float64 and which there are, of some records."""
        value = torch.cat([piece for piece, _ in pieces]).permute(2, 0, 1)
        has = torch.cat([piece for _, piece in pieces]).permute(2, 0, 1)
        enough = has.sum(-1) > 1
        # Those with enough values first, in their order.
        order = (~enough).int().argsort(dim=1, stable=True)[:, :RECORDS, None]
        order = order.expand(-1, -1, self.bins)
        has = has.gather(1, order) & enough.gather(1, order[..., 0])[..., None]
        off = value.gather(1, order).double() - self.centre.T[:, None].double()
        return off * has, has

    def _observed(self, log_kernel: Tensor, has: Tensor) -> Tensor:
        """Covariance of what is observed; the rest is independent of it, with variance 1."""
        mask = has.to(log_kernel.dtype)
        within = self.covariance(log_kernel) * mask[..., None] * mask[..., None, :]
        noise = log_kernel[..., 2].exp()[..., None]
        return within + torch.diag_embed(noise * mask + (1 - mask))

    def law(
        self, events: BinEvents, shown: Tensor, samples: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """See `FillBaseline.law`; draws follow the joint law over bins."""
        has = ((events.values > 0) & shown).mT  # [record, code, bin]
        log_kernel = self.log_kernel.double()[None]
        off = (events.mean - self.centre).mT.double() * has
        prior = self.covariance(log_kernel)
        root = torch.linalg.cholesky(self._observed(log_kernel, has))
        across = prior * has.double()[..., None]  # [record, code, observed bin, bin]
        solved = torch.cholesky_solve(across, root)
        mean = (solved.mT @ off[..., None])[..., 0]
        left = prior - across.mT @ solved
        noise = log_kernel[..., 2].exp() + 1e-6
        left = left + torch.diag_embed(noise[..., None].expand(*left.shape[:-1]))
        spread = torch.linalg.cholesky(left).float()
        white = torch.empty(
            *spread.shape[:-1], samples, device=spread.device, dtype=spread.dtype
        ).normal_(generator=generator)
        mean = mean.mT.float() + self.centre
        return mean, mean[:, None] + (spread @ white).permute(0, 3, 2, 1)
