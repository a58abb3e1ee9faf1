"""Losses of the flow of records: of the codes, and of what hidden cells hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from weir.flows.paths import TimeLaw, sample_times
from weir.flows.proper import fair_energy
from weir.tasks.clinical.flow.bin_decoder import count_loss, divergence, repeats, value_loss
from weir.tasks.clinical.flow.grid import BinEvents, merge, tally
from weir.tasks.clinical.flow.items import Query
from weir.tasks.clinical.flow.neighbours import Neighbours, around, in_turn
from weir.tasks.clinical.flow.record_flow import FlowContext
from weir.tasks.clinical.settings.flow import FlowWeights
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.clinical.flow.items import FlowBatch
    from weir.tasks.clinical.flow.record_flow import RecordFlow
    from weir.tasks.clinical.representation.seqsetvae import SetPosterior


FORGETFUL = 0.7
"""Share of the bins in which neighbours of codes are forgotten."""


class FlowObjective(Objective):
    """Likelihood of the hidden cells of bins drawn at random, and flow matching on the codes.

    Args:
        model: the flow.
        times: law of the training times.
        draws: noises and times of each record's code in a batch.
        bins: bins of each record in a batch that are decoded.
        forget: share of the codes of most bins whose neighbours are forgotten in training. Without,
            the last value says nearly all, and nothing would press the code to tell of levels.
        weights: of the parts.
        scored: draws of each record for the validation's `energy`; 0 for none.
    """

    def __init__(
        self,
        model: RecordFlow,
        *,
        times: TimeLaw = "uniform",
        draws: int = 4,
        bins: int = 12,
        forget: float = 0.5,
        weights: FlowWeights | None = None,
        scored: int = 4,
    ) -> None:
        super().__init__()
        self.model = model
        self.times: TimeLaw = times
        self.draws = draws
        self.bins = min(bins, model.grid.bins)
        self.forget = forget
        self.weights = FlowWeights() if weights is None else weights
        self.scored = scored

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases and the places of bins do not."""
        return decaying(p for p in self.parameters() if p.requires_grad)

    def forward(self, batch: FlowBatch, progress: float) -> dict[str, Tensor]:
        """`loss` and its parts: `flow` and `regression` a coordinate; `counts`, `values` and
        `repeats` in nats a bin; `code_kl` a record and `noise_kl` a bin; `forecast`, the law of
        single values, a value; `outcome`. `energy` of the codes when evaluating."""
        model, weights = self.model, self.weights
        told = model.condition(Query(batch.records, batch.hidden, batch.told))
        law = model.code(batch.representation)
        if self.training:
            model.code.follow(law)
        code = law.sample()
        parts = self._bins(batch, told, code)
        # Of every record also as one to be made up: that costs no pass of the first stage.
        every = FlowContext(*map(torch.cat, zip(told, self._made_up(batch), strict=True)))
        standard = self._standard(code, law).repeat(2, 1)
        # The regression learns from codes as they are; the flow from what it leaves of them.
        off = (standard.detach() - every.mean) / every.sd
        event = (standard - every.mean.detach()) / every.sd.detach()
        parts |= {
            "regression": (0.5 * off.square() + every.sd.log()).mean(),
            "flow": matching_loss(model, every, event, self.draws, self.times),
            "code_kl": law.kl().sum(-1).mean(),
            "outcome": functional.binary_cross_entropy_with_logits(
                model.code.risk(code), batch.records.outcome
            ),
        }
        loss = (
            parts["counts"]
            + parts["values"]
            + parts["repeats"]
            + weights.noise * parts["noise_kl"]
            + weights.beta * parts["code_kl"] / model.grid.bins
            + weights.single * parts["forecast"]
            + weights.outcome * parts["outcome"]
            + weights.flow * (parts["flow"] + parts["regression"])
        )
        losses = {"loss": loss} | {name: part.detach() for name, part in parts.items()}
        if not self.training and self.scored > 1:
            made = model.transport(model.source(every, self.scored), every).final
            losses["energy"] = fair_energy(made, event[:, None]).mean()
        return losses

    def _made_up(self, batch: FlowBatch) -> FlowContext:
        """What is told of records of which nothing is shown, mostly with their outcome."""
        records = batch.records
        known = torch.rand_like(records.outcome) < self.model.masks.known
        outcome = torch.where(known, records.outcome, -1.0)
        nothing = torch.zeros_like(records.end)
        return self.model.tell(None, nothing, records.static, records.end, outcome)

    def _standard(self, code: Tensor, law: SetPosterior) -> Tensor:
        """Codes in units of their spread over records, `[record, code]`.

        If the first stage is trained along, the flow's gradient reaches it, and the units are the
        batch's own: the flow's loss then does not fall when codes merely shrink.
        """
        model = self.model
        if model.frozen or not self.training:
            return model.code.standardise(code).detach()
        spread = law.mean.var(0, correction=0) + law.log_variance.exp().mean(0)
        return (code - law.mean.mean(0)) / spread.sqrt()

    def _bins(self, batch: FlowBatch, told: FlowContext, code: Tensor) -> dict[str, Tensor]:
        """Losses of some bins of each record, which are drawn again for every batch."""
        model, records = self.model, batch.records
        score = model.marginals.scores(records.value, records.code)
        # Values that were not measured count nothing, whatever their score.
        events = tally(merge(records, model.grid), model.grid, model.codes, score)
        inside = model.grid.inside(records.end)[..., None]
        shown = ~batch.hidden[..., 1:]
        owners = torch.arange(len(code), device=code.device)[:, None]
        chance = torch.rand(len(code), model.grid.bins, device=code.device)
        place = chance.topk(self.bins, 1).indices

        def some(parts: tuple[Tensor, ...]) -> list[Tensor]:
            return [part[owners, place] for part in parts]

        hidden = (~shown & inside)[owners, place].to(score)
        here, again = BinEvents(*some(events)), some(repeats(events))
        known = Neighbours(*some(in_turn(events, shown)))
        if self.training and self.forget:
            forgotten = torch.rand_like(hidden) < self.forget
            forgotten &= torch.rand_like(hidden[..., :1]) < FORGETFUL
            known = known.without(forgotten)
            again = [part & ~forgotten for part in again]
        asked, same = (part.to(score) for part in again)
        vector = told.vector[:, None].expand(-1, self.bins, -1)
        decoder = model.decoder
        hints = decoder.read(code[:, None], vector, known, place)
        prior = decoder.noise_prior(hints)
        posterior = decoder.noise_posterior(hints, batch.latent[owners, place])
        noise = posterior.sample()
        law = decoder(hints, known, noise)
        beside = Neighbours(*some(around(events, shown)))
        single = decoder(decoder.read(None, vector, beside, place), beside)
        unchanged = functional.binary_cross_entropy_with_logits(law.same, same, reduction="none")
        bins = place.numel()
        # Nothing is asked of single values where nothing is shown: there the code tells them.
        sought = hidden * shown.any(2).any(1)[:, None, None]
        return {
            "counts": (count_loss(law, here) * hidden).sum() / bins,
            "values": (value_loss(law, here) * hidden * (1 - same)).sum() / bins,
            "repeats": (unchanged * asked * hidden).sum() / bins,
            "noise_kl": divergence(posterior, prior, noise).mean(),
            "forecast": (value_loss(single, here) * sought).sum()
            / (here.values * sought).sum().clamp_min(1),
        }


def matching_loss(
    model: RecordFlow, told: FlowContext, event: Tensor, draws: int, times: TimeLaw
) -> Tensor:
    """Mean squared error of the velocity over coordinates.

    Args:
        model: the flow.
        told: of the records.
        event: `[record, code]`.
        draws: of noise and time, of each record.
        times: their law.
    """
    source = model.source(told, draws)
    t = sample_times((source.shape[0] * draws,), times, device=event.device).view(-1, draws)
    data = event[:, None].expand_as(source)
    error = model.velocity(model.path.interpolate(source, data, t), t, told)
    return (error - model.path.target(source, data, t)).square().mean()


def decaying(parameters: Any) -> list[dict[str, Any]]:
    """Optimizer groups: matrices, and all that does not decay."""
    groups: tuple[list[Any], list[Any]] = ([], [])
    for parameter in parameters:
        groups[parameter.ndim < 2].append(parameter)
    return [{"params": groups[0]}, {"params": groups[1], "weight_decay": 0.0}]
