"""A mixture of Gaussians of low rank plus white noise: closed at every level of added noise.

Mixtures of probabilistic principal components (Tipping & Bishop 1999): component m has the
covariance `V diag(l) V' + s (1 - V V')` with orthonormal directions V, their variances l and the
variance s of all other directions. Noise of variance sigma^2 only adds to l and s. Those of a class
are fitted by a shrunk covariance, or a mixture by EM.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SUBSPACE = 128
"""Leading principal components of a class in which the components of its mixture differ."""

TOLERANCE = 1e-4
"""Change of the mean log likelihood, nats per dimension, below which EM has converged."""


class Moments(NamedTuple):
    """What is known of a law: `[dimension]` mean and `[dimension, dimension]` covariance."""

    mean: Tensor
    covariance: Tensor


def shrunken(classes: list[Tensor], prior: float) -> list[Moments]:
    """Moments of each class, float64, its covariance drawn to the pooled one.

    Args:
        classes: items `[item, dimension]` of each class, together more than classes.
        prior: number of items that the pooled covariance counts for.
    """
    means = [part.double().mean(dim=0) for part in classes]
    scatters = [
        (part.double() - mean).mT @ (part.double() - mean)
        for part, mean in zip(classes, means, strict=True)
    ]
    pooled = sum(scatters) / max(1, sum(map(len, classes)) - len(classes))
    return [
        Moments(mean, (scatter + prior * pooled) / (len(part) + prior))
        for part, mean, scatter in zip(classes, means, scatters, strict=True)
    ]


def gaussian(moments: Moments, rank: int, floor: float = 1e-9) -> LowRank:
    """The Gaussian with these moments, its directions of least variance made alike.

    Args:
        moments: of the class.
        rank: directions of their own variance.
        floor: least variance of any direction, above 0: with fewer items than dimensions, there
            are directions in which nothing varies.
    """
    variance, basis = _leading(moments.covariance, rank, floor)
    rest = _rest(moments.covariance.trace(), variance, len(moments.mean), floor)
    return LowRank(
        variance.new_zeros(1), moments.mean[None], basis[None], variance[None], rest[None]
    )


def mixture(
    items: Tensor,
    moments: Moments,
    *,
    components: int,
    rank: int,
    prior: float,
    steps: int,
    seed: int,
    floor: float = 1e-9,
) -> LowRank:
    """A mixture of low-rank Gaussians fitted to the items of a class by EM.

    The components differ within the class's leading `SUBSPACE` principal components, which makes
    a step cheap however many pixels there are; across all other directions each has one variance.

    Args:
        items: `[item, dimension]`.
        moments: of the class, see `shrunken`.
        components: number of Gaussians; fewer where there are fewer than two items for each.
        rank: directions of their own variance of each.
        prior: number of items that what is common to the components counts for in each of them.
        steps: most steps of EM.
        seed: of the first partition.
        floor: least variance of any direction, above 0.
    """
    dimension = items.shape[1]
    components = max(1, min(components, len(items) // 2))
    spread, axes = _leading(moments.covariance, min(dimension, SUBSPACE), floor)
    off = items.double() - moments.mean
    inside = off @ axes
    outside = (off.square().sum(dim=1) - inside.square().sum(dim=1)).clamp(min=0)
    share = _partition(inside, components, seed)
    before = -math.inf
    for _ in range(steps):
        found = _maximise(inside, outside, share, spread, rank, prior, dimension, floor)
        log_joint = _log_joint(found, inside, outside, dimension)
        share = log_joint.softmax(dim=1)
        likelihood = float(log_joint.logsumexp(dim=1).mean())
        if abs(likelihood - before) < TOLERANCE * dimension:
            break
        before = likelihood
    return found._replace(mean=moments.mean + found.mean @ axes.mT, basis=axes @ found.basis)


def _maximise(
    inside: Tensor,
    outside: Tensor,
    share: Tensor,
    spread: Tensor,
    rank: int,
    prior: float,
    dimension: int,
    floor: float,
) -> LowRank:
    """The mixture, in coordinates of the subspace, that fits the items' shares best."""
    count = share.sum(dim=0)
    mean = share.mT @ inside / count[:, None]
    scatter = torch.stack(
        [_scatter(inside, each, c) for each, c in zip(share.T, mean, strict=True)]
    )
    # Components are drawn to what they have in common, and that, with all items behind it, only a
    # little to the covariance of the class, which holds the distances of their means as well.
    common = (scatter.sum(dim=0) + prior * spread.diag()) / (len(inside) + prior)
    parts = []
    for m in range(len(count)):
        covariance = (scatter[m] + prior * common) / (count[m] + prior)
        rests = (share[:, m] @ outside + prior * outside.mean()) / (count[m] + prior)
        variance, basis = _leading(covariance, rank, floor)
        rest = _rest(covariance.trace() + rests, variance, dimension, floor)
        parts.append((mean[m], basis, variance, rest))
    return LowRank((count / count.sum()).log(), *map(torch.stack, zip(*parts, strict=True)))


def _scatter(points: Tensor, share: Tensor, mean: Tensor) -> Tensor:
    """Weighted sum of the outer products of deviations."""
    # Exact enough in float32: an item's part of a covariance needs no more digits than a pixel has.
    off = (points - mean).float()
    return ((share[:, None].float() * off).mT @ off).double()


def _log_joint(found: LowRank, inside: Tensor, outside: Tensor, dimension: int) -> Tensor:
    """Log density of whole items, of which the mixture knows the part in the subspace."""
    missing = dimension - inside.shape[1]
    beyond = outside[:, None] / found.rest + missing * (found.rest.log() + math.log(2 * math.pi))
    return found.log_joint(inside, inside.new_zeros(len(inside))) - beyond / 2


def _leading(covariance: Tensor, rank: int, floor: float) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, descending, and their directions as columns."""
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0)[:rank].clamp(min=floor), vectors.flip(1)[:, :rank]


def _rest(trace: Tensor, variance: Tensor, dimension: int, floor: float) -> Tensor:
    """Mean variance of the directions that have none of their own."""
    if len(variance) >= dimension:
        return variance[-1]  # there are none
    return ((trace - variance.sum()) / (dimension - len(variance))).clamp(min=floor)


def _partition(points: Tensor, parts: int, seed: int) -> Tensor:
    """Shares `[point, part]`, 0 or 1, of a first partition by k-means."""
    from sklearn.cluster import KMeans

    means = KMeans(parts, n_init=1, random_state=seed).fit(points.cpu().numpy())
    label = torch.from_numpy(means.labels_).long().to(points.device)
    return torch.nn.functional.one_hot(label, parts).to(points.dtype)


class LowRank(NamedTuple):
    """One mixture.

    Attributes:
        log_weight: `[component]` log of the shares.
        mean: `[component, dimension]`.
        basis: `[component, dimension, rank]`, orthonormal columns.
        variance: `[component, rank]` along the columns, above 0.
        rest: `[component]` variance of all other directions, above 0.
    """

    log_weight: Tensor
    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor

    def log_joint(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log density of each component times its share, with noise, `[point, component]`.

        Args:
            x: `[point, dimension]`.
            sigma: `[point]` deviation of the added noise.
        """
        return self._terms(x, sigma)[0]

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log density `[point]` of points with noise; arguments as of `log_joint`."""
        return self.log_joint(x, sigma).logsumexp(dim=1)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Mean `[point, dimension]` of what noisy points were; arguments as of `log_joint`.

        Each component's answer is a Wiener filter, and counts by how likely the component is.
        """
        log_joint, inside = self._terms(x, sigma)
        share = log_joint.softmax(dim=1)
        noise = sigma.square()
        found = torch.zeros_like(x)
        for m, z in enumerate(inside):
            gain = self.variance[m] / (self.variance[m] + noise[:, None])
            rest = (self.rest[m] / (self.rest[m] + noise))[:, None]
            part = self.mean[m] + rest * (x - self.mean[m]) + ((gain - rest) * z) @ self.basis[m].mT
            found = found + share[:, m, None] * part
        return found

    def sample(self, draws: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws `[draw, dimension]`, in one pass."""
        device, dimension = self.mean.device, self.mean.shape[1]
        which = torch.multinomial(
            self.log_weight.exp(), draws, replacement=True, generator=generator
        )
        white = torch.randn(
            draws, dimension, generator=generator, device=device, dtype=self.mean.dtype
        )
        found = torch.empty_like(white)
        for m in range(len(self.mean)):
            some = which == m
            z = white[some] @ self.basis[m]
            excess = self.variance[m].sqrt() - self.rest[m].sqrt()
            found[some] = (
                self.mean[m] + self.rest[m].sqrt() * white[some] + (excess * z) @ self.basis[m].mT
            )
        return found

    def _terms(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`log_joint`, and the coordinates `[point, rank]` in each component's basis."""
        dimension, rank = self.basis.shape[1:]
        noise = sigma.square()
        logs, inside = [], []
        for m in range(len(self.mean)):
            off = x - self.mean[m]
            z = off @ self.basis[m]
            variance = self.variance[m] + noise[:, None]
            rest = self.rest[m] + noise
            # What lies outside the basis; at full rank nothing, but for rounding.
            outside = (off.square().sum(dim=1) - z.square().sum(dim=1)).clamp(min=0)
            outside = outside * (dimension > rank)
            squares = (z.square() / variance).sum(dim=1) + outside / rest
            volume = variance.log().sum(dim=1) + (dimension - rank) * rest.log()
            logs.append(
                self.log_weight[m] - (squares + volume + dimension * math.log(2 * math.pi)) / 2
            )
            inside.append(z)
        return torch.stack(logs, dim=1), inside
