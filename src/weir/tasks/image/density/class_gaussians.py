"""A mixture of low-rank Gaussians for each class: its law under any noise is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from weir.networks.fitted import FittedModule
from weir.tasks.image.density import low_rank as expectation
from weir.tasks.image.density.low_rank import LowRank

FULL_RANK = 512
"""Directions of their own variance of a class that has a single Gaussian."""


class ClassGaussians(FittedModule):
    """Laws of events, flattened, with white noise added, given the class or not.

    Args:
        size: of an event.
        priors: share of each class.
    """

    owner: Tensor
    log_prior: Tensor

    def __init__(self, size: int, priors: Sequence[float]) -> None:
        super().__init__()
        self.classes = len(priors)
        self.store(
            owner=torch.zeros(0).long(),
            log_weight=torch.zeros(0),
            mean=torch.zeros(0, size),
            basis=torch.zeros(0, size, 0),
            variance=torch.zeros(0, 0),
            rest=torch.zeros(0),
            log_prior=torch.tensor(list(priors)).log(),
        )

    def fit(
        self,
        events: Tensor,
        label: Tensor,
        *,
        components: int,
        rank: int,
        prior: float = 60.0,
        steps: int = 30,
        floor: float = 1e-6,
        seed: int = 0,
    ) -> None:
        """Fit every class by its items, see `expectation`; on the CPU.

        Args:
            events: `[item, size]`.
            label: `[item]` classes.
            components: Gaussians of a class; 1 has no other limit of its rank than `FULL_RANK`.
            rank: directions in which each has a variance of its own.
            prior: see `expectation.mixture`.
            steps: most steps of EM.
            floor: least variance of any direction.
            seed: of the first partition.
        """
        device, events, label = self.mean.device, events.cpu(), label.cpu()
        classes = [events[label == each] for each in range(self.classes)]
        moments = expectation.shrunken(classes, prior)
        if components == 1:
            laws = [expectation.gaussian(each, FULL_RANK, floor) for each in moments]
        else:
            laws = [
                expectation.mixture(
                    items,
                    each,
                    components=components,
                    rank=rank,
                    prior=prior,
                    steps=steps,
                    seed=seed,
                    floor=floor,
                )
                for items, each in zip(classes, moments, strict=True)
            ]
        owner = [torch.full((len(law.mean),), each) for each, law in enumerate(laws)]
        parts = {name: torch.cat([getattr(law, name) for law in laws]) for name in LowRank._fields}
        self.store(owner=torch.cat(owner), **{name: part.float() for name, part in parts.items()})
        self.to(device)

    def law(self, label: int | None) -> LowRank:
        """Of one class, or of all of them by their shares."""
        every = LowRank(*(getattr(self, name) for name in LowRank._fields))
        if label is None:
            return every._replace(log_weight=every.log_weight + self.log_prior[self.owner])
        return LowRank(*(part[self.owner == label] for part in every))

    def log_prob(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Log density `[item]` of noisy events; arguments as of `denoise`."""
        return self._each(LowRank.log_prob, x, sigma, label)

    def denoise(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """Mean `[item, size]` of what noisy events were.

        Args:
            x: `[item, size]`.
            sigma: `[item]` deviation of their noise.
            label: `[item]` classes given, the number of classes for no class; None for the law
                over all of them.
        """
        return self._each(LowRank.denoise, x, sigma, label)

    def sample(
        self, sigma: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One noisy event `[item, size]` for each item; arguments as of `denoise`."""
        clean = self._each(partial(_draw, generator=generator), sigma[:, None], sigma, label)
        white = torch.randn(clean.shape, generator=generator, device=clean.device)
        return clean + sigma[:, None] * white

    def _each(
        self,
        function: Callable[[LowRank, Tensor, Tensor], Tensor],
        x: Tensor,
        sigma: Tensor,
        label: Tensor | None,
    ) -> Tensor:
        """A function of law, points and sigma, class by class."""
        if label is None:
            return function(self.law(None), x, sigma)
        order, parts = [], []
        for each in label.unique().tolist():
            some = (label == each).nonzero()[:, 0]
            law = self.law(each if each < self.classes else None)
            order.append(some)
            parts.append(function(law, x[some], sigma[some]))
        return torch.cat(parts)[torch.cat(order).argsort()] if parts else x.new_zeros(0)


def _draw(law: LowRank, x: Tensor, sigma: Tensor, generator: torch.Generator | None) -> Tensor:
    return law.sample(len(x), generator)
