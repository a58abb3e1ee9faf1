"""Stage 1 of the perturbation task: the autoencoder of counts, or a linear code in closed form.

The autoencoder's loss is the negative evidence lower bound of a cell's counts, and two terms that
part what belongs to the cell from what belongs to its measurement: the batch is kept out of
`z_int`, cell type and perturbation are kept out of `z_tech`. Without the second an edit, which
changes `z_int` and retains `z_tech`, would leave a part of the source cell's state in place.

References:
    Kingma, Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016: free bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.tasks.perturb.representation.cell_code import Posterior, normal_kl
from weir.tasks.perturb.representation.independence import BatchAdversary, biology, conditional_hsic
from weir.tasks.perturb.representation.likelihood import nb_log_prob, theta_parameter
from weir.tasks.perturb.representation.linear_code import LinearCode
from weir.tasks.perturb.representation.nb_vae import NBVAE
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.perturb.data.cells import Cells, CellSet
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.representation.cell_code import CellCode
    from weir.tasks.perturb.settings.models import Independence, PerturbJoint, PerturbStage1, Prior


class Stage1Objective(Objective):
    """Negative evidence lower bound of the counts, and the terms that part the latents.

    Args:
        model: the autoencoder to train.
        prior: weights of the divergences from the priors.
        independence: which terms part the latents, and their weights.
    """

    model: NBVAE

    def __init__(self, model: NBVAE, prior: Prior, independence: Independence) -> None:
        super().__init__()
        self.model, self.prior, self.independence = model, prior, independence
        self.adversary = None
        if independence.method == "adversary" and model.batches > 1:
            self.adversary = BatchAdversary(
                model.d_int, model.batches, model.cell_types, model.perturbations
            )

    def forward(self, batch: Cells, progress: float) -> dict[str, Tensor]:
        """Means over cells: `loss`, `nll` (nats a cell), `nll_per_gene`, `kl_int`, `kl_tech`,
        `hsic` (batch in `z_int`), `hsic_tech` (biology in `z_tech`), with an adversary its
        cross-entropy `adversary`.
        """
        model, prior = self.model, self.prior
        shown = self._hide_batches(batch)
        posterior = model.encode(shown)
        z_int, z_tech = posterior.sample()
        rate = model.rate(z_int, z_tech, shown.batch, shown.library)
        nll = -nb_log_prob(shown.counts, rate, model.theta).sum(-1).mean()
        zero = torch.zeros_like(posterior.mean)
        by_latent = normal_kl(posterior.mean, posterior.log_variance, zero, zero).mean(0)
        tech_prior = model.prior_tech(shown.batch)
        kl_tech = normal_kl(posterior.tech_mean, posterior.tech_log_variance, *tech_prior)
        found = {
            "nll": nll,
            "nll_per_gene": nll / model.genes,
            "kl_int": by_latent.sum(),
            "kl_tech": kl_tech.sum(-1).mean(),
            **self._separation(batch, posterior),
        }
        beta = prior.beta * (min(1.0, progress / prior.warmup) if prior.warmup else 1.0)
        divergence = by_latent.clamp(min=prior.free_bits).sum() + found["kl_tech"]
        loss = nll + beta * divergence + self.independence.technical_weight * found["hsic_tech"]
        if self.adversary is not None:
            found["adversary"] = self.adversary(posterior.mean, batch)
            loss = loss + self.independence.weight * found["adversary"]
        if self.independence.method == "hsic":
            loss = loss + self.independence.weight * found["hsic"]
        return {"loss": loss, **found}

    def _hide_batches(self, cells: Cells) -> Cells:
        """In training some cells are taken for ones of an unknown batch."""
        if not self.training or self.model.batches == 0 or self.prior.batch_dropout == 0:
            return cells
        hidden = torch.rand(cells.batch.shape, device=cells.batch.device) < self.prior.batch_dropout
        return cells._replace(batch=cells.batch.masked_fill(hidden, 0))

    def _separation(self, cells: Cells, posterior: Posterior) -> dict[str, Tensor]:
        """How much of the batch is in `z_int`, and of the biology in `z_tech`."""
        group, known = biology(cells), cells.batch > 0
        nothing = posterior.mean.new_zeros(())
        hsic = hsic_tech = nothing
        if self.model.batches > 1:
            hsic = conditional_hsic(posterior.mean, cells.batch, group, known)
        if self.model.d_tech:
            everywhere = torch.ones_like(known)
            hsic_tech = conditional_hsic(posterior.tech_mean, group, cells.batch, everywhere)
        return {"hsic": hsic, "hsic_tech": hsic_tech}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices of the network decay; the priors' parameters and the batches' do not."""
        decayed, free = [], []
        for name, parameter in self.model.named_parameters():
            matrix = parameter.ndim >= 2 and not ("prior_" in name or "batch" in name)
            (decayed if matrix else free).append(parameter)
        groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
        if self.adversary is not None:
            # It has to keep pace with an encoder that runs away from it.
            groups.append({"params": list(self.adversary.parameters()), "lr_scale": 5.0})
        return groups


def build(config: PerturbStage1 | PerturbJoint, schema: Schema) -> CellCode:
    """An untrained first stage of the shape that a node states, for data of a schema."""
    genes = len(schema.genes)
    if config.model == "pca":
        return LinearCode(genes, schema.scale, config.components)
    return NBVAE(
        genes,
        len(schema.batches),
        schema.scale,
        cell_types=len(schema.cell_types),
        perturbations=len(schema.perturbations),
        **config.network.model_dump(),
    )


@torch.no_grad()
def prepare(model: CellCode, config: PerturbStage1 | PerturbJoint, cells: CellSet) -> None:
    """Start from what moments of the training cells tell; a linear code is then complete.

    The decoder starts at the mean share of each gene, theta at the moments' estimate around it,
    the encoder with centred inputs, and an unknown batch as the mixture of the known ones.
    """
    if isinstance(model, LinearCode):
        model.fit(cells)
        return
    genes = model.genes
    sums = torch.zeros(3, genes, dtype=torch.float64, device=cells.rows.device)
    expression = sums.new_zeros(genes)
    for _, piece in cells.all():
        counts = piece.counts
        library = piece.library[:, None]
        for row, values in enumerate((counts, counts.square(), counts * library)):
            sums[row] += values.sum(0, dtype=torch.float64)
        expression += model.expression(piece).sum(0, dtype=torch.float64)
    library = cells.library.double()
    # Half a count more for each gene keeps the logarithm finite.
    share = (sums[0] + 0.5) / (sums[0] + 0.5).sum()
    model.output.bias.copy_(share.log())
    model.theta_logit.copy_(theta_parameter(_moment_theta(sums, share, library.square().sum())))
    linear = model.encoder.input
    linear.bias.copy_(-linear.weight @ (expression / len(cells)).to(linear.weight))
    if model.batches:
        seen = torch.bincount(cells.batch_code, minlength=model.batches + 1)[1:].double()
        model.batch_share.copy_(seen / seen.sum().clamp(min=1))


def _moment_theta(sums: Tensor, share: Tensor, squared_library: Tensor) -> Tensor:
    """Inverse dispersion `[gene]` by moments, if every cell had the mean shares of the genes.

    Args:
        sums: `[3, gene]`: of counts, of their squares and of counts times library.
        share: `[gene]`, means are `share * library`.
        squared_library: sum of squares of the libraries.
    """
    squared_mean = share.square() * squared_library
    variance = sums[1] - 2 * share * sums[2] + squared_mean
    above_poisson = (variance - sums[0]).clamp(min=1e-12)
    return squared_mean / above_poisson


def objective(config: PerturbStage1 | PerturbJoint, model: CellCode) -> Stage1Objective | None:
    """What stage 1 minimises; None for a model that `prepare` has completed."""
    if isinstance(model, LinearCode):
        return None
    return Stage1Objective(model, config.prior, config.independence)
