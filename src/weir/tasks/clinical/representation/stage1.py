"""Stage 1 of the clinical task: SeqSetVAE, alone or together with a head for the outcome.

The loss is the negative evidence lower bound of the sets (weighed by beta), the cross-entropy of
the outcome, and how badly a state predicts the next set's latent.

References:
    Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016: free bits.
    Fu et al., Cyclical Annealing Schedule, NAACL 2019.

What objectives share that predict the outcome: how validation scores it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.metrics.classification import auprc, auroc
from weir.tasks.clinical.representation.collapse import CollapseWatch
from weir.tasks.clinical.representation.decoder import HALF_LOG_TAU, set_nll
from weir.tasks.clinical.representation.member_head import members_bce
from weir.tasks.clinical.representation.seqsetvae import LOG_VARIANCE, SeqSetVAE
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.representation.seqsetvae import SetPosterior
    from weir.tasks.clinical.settings.models import ClinicalStage1, Prior


class RiskObjective(Objective):
    """An objective whose evaluation yields the logit `risk` and the `outcome` of each record."""

    increasing = frozenset({"auroc", "auprc"})

    def scores(self, predicted: dict[str, Tensor]) -> dict[str, float]:
        """AUROC and AUPRC over all validation records; none if they are of one class."""
        return risk_scores(predicted)


def risk_scores(predicted: dict[str, Tensor]) -> dict[str, float]:
    """AUROC and AUPRC of the logits `risk` of records with the outcomes `outcome`."""
    if "risk" not in predicted:
        return {}
    risk, outcome = predicted["risk"], predicted["outcome"]
    if outcome.min() == outcome.max():
        return {}
    return {"auroc": float(auroc(risk, outcome)), "auprc": float(auprc(risk, outcome))}


class Stage1Objective(RiskObjective):
    """Weighed sum of reconstruction, divergence, outcome and predicting.

    Args:
        model: the model to train.
        config: a stage1 node, or a joint one with the same settings.
    """

    model: SeqSetVAE

    def __init__(self, model: SeqSetVAE, config: ClinicalStage1) -> None:
        super().__init__()
        self.model, self.config = model, config
        monitor = config.monitor
        watched = monitor.every is not None and config.reconstruction > 0
        self.watch = (
            CollapseWatch(config.training.steps, **monitor.model_dump()) if watched else None
        )

        for part in self._idle():
            part.requires_grad_(False)

    def forward(self, batch: Records, progress: float) -> dict[str, Tensor]:
        """Means: `loss`; by set, in nats, `nll` and its parts `nll_counts` and `nll_values`, `kl`,
        `next_set`; `mse` of values (standardised); `beta`; `bce` of the outcome by record.

        In evaluation also `risk`, the logit of each record, and its `outcome`. In training also
        what the watch over the latents last saw, see `weir.tasks.clinical.representation.collapse`.
        """
        model, config = self.model, self.config
        shown = batch
        if self.training and config.event_dropout:
            shown = without_some_events(batch, config.event_dropout)
        posterior = model.encode(shown)
        z = posterior.sample()
        found: dict[str, Tensor] = {}
        loss = z.new_zeros(())
        if config.reconstruction:
            loss = config.reconstruction * self._elbo(batch, posterior, z, progress, found)
        if model.head is not None or config.next_set:
            latent = z if self.training else posterior.mean
            states = model.states(latent, shown)
        if config.next_set and model.next_set is not None:
            found["next_set"] = next_set_nll(model, states, posterior.mean.detach(), batch)
            loss = loss + config.next_set * found["next_set"]
        if model.head is not None:
            # Aggregates are of all events: of fewer they would be others than in evaluation.
            logits = model.head(model.represent_states(states, batch))
            found["bce"] = members_bce(logits, batch.outcome)
            loss = loss + config.outcome.weight * found["bce"]
            if not self.training:
                found |= {"risk": logits.mean(-1), "outcome": batch.outcome}
        return {"loss": loss, **found}

    def _idle(self) -> list[nn.Module]:
        """Parts of the model that no term of the loss reaches: they must not decay, and several
        devices would wait for their gradients."""
        model, config = self.model, self.config
        idle: list[nn.Module | None] = []
        predicts = config.next_set > 0 and model.next_set is not None
        if not config.reconstruction:
            idle.append(model.decoder)
        if not predicts:
            idle.append(model.next_set)
        if model.head is None:
            idle += [model.score, model.norm]
            idle += [] if predicts else [model.state_in, model.sequence]
        return [part for part in idle if part is not None]

    def _elbo(
        self,
        batch: Records,
        posterior: SetPosterior,
        z: Tensor,
        progress: float,
        found: dict[str, Tensor],
    ) -> Tensor:
        """Negative evidence lower bound with the present beta; its parts go to `found`."""
        prior, sets = self.config.prior, max(len(z), 1)
        law = self.model.decode(z)
        nll = set_nll(law, batch)
        divergence = posterior.kl()
        by_latent = divergence.sum(0) / sets
        error = batch.value - law.mean[batch.event_set, batch.code]
        values = batch.measured.sum().clamp(min=1)
        found["nll_counts"] = nll.counts.sum() / sets
        found["nll_values"] = nll.values.sum() / sets
        found["nll"] = found["nll_counts"] + found["nll_values"]
        found["mse"] = (error.square() * batch.measured).sum().detach() / values
        found["kl"] = by_latent.sum()
        found["beta"] = z.new_tensor(beta(prior, progress))
        if self.training and self.watch is not None:
            if self.watch.due(progress):
                self.watch.look(*posterior, self._gain(batch, found["nll"]), progress)
            found |= self.watch.seen()
        return found["nll"] + found["beta"] * by_latent.clamp(min=prior.free_bits).sum()

    @torch.no_grad()
    def _gain(self, batch: Records, nll: Tensor) -> Tensor:
        """Nats a set by which the reconstruction is better than from z = 0."""
        one = self.model.decoder.log_sd.new_zeros(1, self.model.d_latent)
        blank = set_nll(self.model.decode(one), batch)
        return (blank.counts + blank.values).mean() - nll


def beta(prior: Prior, progress: float) -> float:
    """Weight of the divergence when `progress` (0 to 1) of the steps are done."""
    match prior.anneal:
        case "none":
            return prior.beta
        case "linear":
            return prior.beta * min(1.0, progress / prior.warmup)
        case "cyclical":
            # The end of the training is the end of a cycle, not the start of one more.
            place = progress * prior.cycles % 1.0 if progress < 1 else 1.0
            return prior.beta * min(1.0, place / prior.warmup)


def next_set_nll(model: SeqSetVAE, states: Tensor, mean: Tensor, records: Records) -> Tensor:
    """How badly states predict the next set's latent, `[]` nats a set.

    Args:
        model: causal.
        states: `[set, width]`.
        mean: `[set, d_latent]`, means of the latents, no gradient.
        records: whose sets they are.
    """
    follows = records.set_record.diff() == 0
    said = model.next_set(states[:-1][follows])
    where, log_variance = said.chunk(2, -1)
    log_variance = log_variance.clamp(*LOG_VARIANCE)
    error = (mean[1:][follows] - where).square() * (-log_variance).exp()
    total = (0.5 * (error + log_variance) + HALF_LOG_TAU).sum()
    return total / max(len(where), 1)


def without_some_events(records: Records, share: float) -> Records:
    """The records less a share of their events, drawn from the global generator.

    Sets stay, be they empty.
    """
    kept = torch.rand(records.value.shape, device=records.value.device) >= share
    kept = kept.nonzero()[:, 0]
    return records._replace(
        code=records.code[kept],
        value=records.value[kept],
        measured=records.measured[kept],
        event_set=records.event_set[kept],
    )


def build(config: ClinicalStage1, schema: Schema) -> SeqSetVAE:
    """An untrained model of the shape that a stage1 or joint node states, for data of a schema."""
    outcome = config.outcome
    return SeqSetVAE(
        len(schema.codes) + 1,
        len(schema.static),
        schema.horizon_hours,
        schema.prevalence,
        summary=config.summary,
        head=outcome.model_dump(exclude={"weight"}) if outcome.weight else None,
        **config.network.model_dump(),
    )


def prepare(model: SeqSetVAE, config: ClinicalStage1, data: RecordSet) -> None:
    """Fit what has a closed form to the training records."""
    model.fit(data)


def objective(config: ClinicalStage1, model: SeqSetVAE) -> Stage1Objective:
    """What stage 1 minimises."""
    return Stage1Objective(model, config)
