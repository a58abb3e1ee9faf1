"""Variational autoencoder of counts: an intrinsic and a technical latent, negative-binomial counts.

A cell's log-normalised expression gives two latents, `z_int` (what the cell is and does) and
`z_tech` (what the measurement did to it). They and the batch give shares of the genes that sum to
one; times the library they are the means of negative-binomial counts, whose inverse dispersion
`theta` belongs to the gene.

References:
    Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 2018.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weir.tasks.perturb.representation.cell_code import CellCode, Posterior
from weir.tasks.perturb.representation.likelihood import bounded_theta
from weir.tasks.perturb.representation.nb_draws import nb_draw

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells


Decoder = Literal["mlp", "linear", "both"]
LOG_VARIANCE = (-10.0, 10.0)
"""Range to which log-variances are clamped."""


class NBVAE(CellCode):
    """Negative-binomial autoencoder of cells.

    Args:
        genes: number of genes.
        batches: known batches; codes run from 1, and 0 is an unknown batch.
        scale: library to which the encoder's input is normalised.
        cell_types: known cell types; like the next of use to an adversary only.
        perturbations: known perturbations.
        d_int: width of the intrinsic latent.
        d_tech: width of the technical latent.
        hidden: width of the hidden layers.
        layers: hidden layers of the encoder, and of the decoder.
        dropout: dropout of the hidden layers.
        decoder: how the latents move the logits of the genes' shares: `mlp`; `linear`, where a
            shift of the latent is a factor on each gene whatever the cell, which extrapolates
            better; or `both`, added.
        batch_covariate: tell encoder and decoder the batch; without, only the technical latent's
            prior knows it.
    """

    counted = True
    batch_share: Tensor

    def __init__(
        self,
        genes: int,
        batches: int,
        scale: float,
        *,
        cell_types: int = 0,
        perturbations: int = 0,
        d_int: int = 20,
        d_tech: int = 4,
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.1,
        decoder: Decoder = "both",
        batch_covariate: bool = True,
    ) -> None:
        super().__init__()
        self.genes, self.batches, self.scale = genes, batches, scale
        self.cell_types, self.perturbations = cell_types, perturbations
        self.d_int, self.d_tech = d_int, d_tech
        self.batch_covariate = batch_covariate
        told = batches if batch_covariate else 0
        self.encoder = Trunk(genes, told, hidden, layers, dropout)
        self.posterior = nn.Linear(hidden, 2 * (d_int + d_tech))
        latents = d_int + d_tech
        if decoder == "linear":
            self.decoder: nn.Module = Features(told)
            features = latents + told
        else:
            self.decoder = Trunk(latents, told, hidden, layers, dropout)
            features = hidden + (latents if decoder == "both" else 0)
        self.skip = decoder == "both"
        self.output = nn.Linear(features, genes)
        nn.init.normal_(self.output.weight, std=0.1 / math.sqrt(features))
        nn.init.zeros_(self.output.bias)
        self.theta_logit = nn.Parameter(torch.zeros(genes))
        known = batches > 0 and d_tech > 0
        self.prior_mean = nn.Parameter(torch.zeros(batches, d_tech), known)
        self.prior_log_variance = nn.Parameter(torch.zeros(batches, d_tech), known)
        self.register_buffer("batch_share", torch.full((batches,), 1 / max(batches, 1)))

    @property
    def theta(self) -> Tensor:
        """Inverse dispersion, `[gene]`: the variance is `mean + mean^2 / theta`."""
        return bounded_theta(self.theta_logit)

    def encode(self, cells: Cells) -> Posterior:
        """Laws of the latents of cells."""
        found = self.posterior(self.encoder(self.expression(cells), self._told(cells.batch)))
        widths = (self.d_int, self.d_int, self.d_tech, self.d_tech)
        mean, log_variance, tech_mean, tech_log_variance = found.split(widths, -1)
        return Posterior(
            mean,
            log_variance.clamp(*LOG_VARIANCE),
            tech_mean,
            tech_log_variance.clamp(*LOG_VARIANCE),
        )

    def logits(self, z_int: Tensor, z_tech: Tensor, batch: Tensor) -> Tensor:
        """Unnormalised log shares of the genes, `[..., gene]`; the leading axes broadcast."""
        lead = torch.broadcast_shapes(z_int.shape[:-1], z_tech.shape[:-1], batch.shape)
        z = torch.cat([z_int.expand(*lead, -1), z_tech.expand(*lead, -1)], -1)
        features = self.decoder(z, self._told(batch))
        # The linear part rides along in one product: sums over all genes are dear.
        return self.output(torch.cat([features, z], -1) if self.skip else features)

    def rate(self, z_int: Tensor, z_tech: Tensor, batch: Tensor, library: Tensor) -> Tensor:
        """Mean counts, `[..., gene]`, which add up to the library.

        Args:
            z_int: `[..., d_int]`.
            z_tech: `[..., d_tech]`.
            batch: `[...]` int64 codes, 0 where unknown.
            library: `[...]`.
        """
        return F.softmax(self.logits(z_int, z_tech, batch), -1) * library[..., None]

    def decode(self, z_int: Tensor, z_tech: Tensor, batch: Tensor, library: Tensor) -> Tensor:
        """See `CellCode.decode`; the means are those of `rate`."""
        return self.rate(z_int, z_tech, batch, library)

    def prior_tech(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of `p(z_tech | batch)`, `[..., d_tech]` each.

        An unknown batch has the mean and variance of the mixture of all known ones, by their
        share of the training cells; where none is known, the law is standard normal.
        """
        mean, log_variance = self.prior_mean, self.prior_log_variance.clamp(*LOG_VARIANCE)
        if self.batches == 0:
            pooled, spread = mean.new_zeros(1, self.d_tech), mean.new_ones(1, self.d_tech)
        else:
            share = self.batch_share[:, None]
            pooled = (share * mean).sum(0, keepdim=True)
            spread = (share * (log_variance.exp() + (mean - pooled).square())).sum(0, keepdim=True)
        mean = torch.cat([pooled, mean])
        log_variance = torch.cat([spread.log(), log_variance])
        return F.embedding(batch, mean), F.embedding(batch, log_variance)

    def _told(self, batch: Tensor) -> Tensor:
        return batch if self.batch_covariate else torch.zeros_like(batch)

    def draw(self, rate: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Counts of the law with means `rate` `[..., gene]`, in the same shape."""
        return nb_draw(rate, self.theta, generator)


class Features(nn.Module):
    """The input itself, and a column for each batch; an unknown batch is the mean of all.

    Args:
        batches: known batches; code 0 is an unknown one.
    """

    batch: Tensor

    def __init__(self, batches: int) -> None:
        super().__init__()
        columns = torch.cat([torch.full((1, batches), 1 / max(batches, 1)), torch.eye(batches)])
        self.register_buffer("batch", columns, persistent=False)

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        """`[..., width]` and `[...]` to `[..., width + batches]`."""
        code = F.embedding(batch, self.batch)
        return torch.cat([x, code.expand(*x.shape[:-1], -1)], -1)


class Trunk(nn.Module):
    """Hidden layers (linear, layer norm, SiLU) over an input and a batch.

    Args:
        width: width of the input.
        batches: known batches; code 0 is an unknown one.
        hidden: width of the hidden layers.
        layers: their number.
        dropout: dropout after each.
    """

    def __init__(self, width: int, batches: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.input = nn.Linear(width, hidden)
        # An embedding added before the norm is a one-hot input, without building one.
        self.batch = nn.Embedding(batches + 1, hidden)
        nn.init.normal_(self.batch.weight, std=0.01)
        self.first = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), Dropout(dropout))
        self.rest = nn.Sequential(*(_layer(hidden, dropout) for _ in range(layers - 1)))

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        """`[..., width]` and `[...]` to `[..., hidden]`."""
        return self.rest(self.first(self.input(x) + self.batch(batch)))


class Dropout(nn.Module):
    """Dropout whose mask costs a fifth of torch's on a CPU, where Bernoulli draws are slow."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """In training, zero at random, else scaled to the same mean."""
        if not self.training or self.rate == 0:
            return x
        return x * ((torch.rand_like(x) >= self.rate) / (1 - self.rate))


def _layer(hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.SiLU(), Dropout(dropout)
    )
