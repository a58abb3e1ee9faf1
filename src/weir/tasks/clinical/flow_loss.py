"""Losses of the flow of records: velocity of hidden bins, and the law of what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from weir.flows.paths import TimeLaw, sample_times
from weir.flows.proper import fair_energy
from weir.tasks.clinical.bin_decoder import Repeats, count_loss, repeats, value_loss
from weir.tasks.clinical.flow import BLUR
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.clinical.bin_data import BinBatch
    from weir.tasks.clinical.flow import BinCondition, RecordFlow


def true_events(
    condition: BinCondition, batch: BinBatch, mean: Tensor, deviation: Tensor, draws: int
) -> Tensor:
    """Events `[record, draw, bin, d_latent + 1]`: posterior draws, noise in empty hidden bins.

    Args:
        condition: of the records.
        batch: the records.
        mean: `[record, bin, d_latent]` standardised posterior means.
        deviation: `[record, bin, d_latent]`, their deviations.
        draws: of each record.
    """
    full = batch.occupied[:, None, :, None]
    white = torch.randn(len(mean), draws, *mean.shape[1:], device=mean.device)
    latent = torch.where(full, mean[:, None] + deviation[:, None] * white, white)
    blur = BLUR * torch.randn_like(latent[..., :1])
    event = torch.cat([latent, full * 2.0 - 1 + blur], -1)
    return torch.where(condition.known[:, None, :, None], condition.event[:, None], event)


def matching_loss(
    model: RecordFlow, condition: BinCondition, event: Tensor, times: TimeLaw
) -> Tensor:
    """Mean squared error of the velocity over the coordinates of hidden bins."""
    records, draws = event.shape[:2]
    source = model.source(condition, draws)
    t = sample_times((records * draws,), times, device=event.device).reshape(records, draws)
    known = condition.known[:, None, :, None]
    x = torch.where(known, event, model.path.interpolate(source, event, t))
    error = model.velocity(x, t, condition) - model.path.target(source, event, t)
    square = error.square().masked_fill(known, 0.0)
    return square.sum() / ((~known).sum() * draws * event.shape[-1]).clamp_min(1)


def decoder_losses(
    model: RecordFlow, condition: BinCondition, batch: BinBatch, event: Tensor
) -> dict[str, Tensor]:
    """Negative log likelihoods of what hidden bins hold, in nats.

    Args:
        model: the flow.
        condition: of the records.
        batch: the records.
        event: `[record, draw, bin, d_latent + 1]`; the first draw is decoded.

    Returns:
        `counts` by code and bin with events, `values` and `forecast` by value: given the latent,
        and given the context alone; `repeats` by code and bin with values: whether they are the
        last ones again.
    """
    use = ~condition.known & batch.occupied
    record, place = use.nonzero(as_tuple=True)
    events = type(batch.events)(*(part[record, place] for part in batch.events))
    law = model.decoder(event[record, 0, place, :-1], condition.token[record, place])
    alone = model.decoder.from_context(condition.context)
    bins = max(1, len(record)) * events.count.shape[-1]
    number = events.values.sum().clamp_min(1)
    mean, sd = (part[record, place] for part in alone)
    again = Repeats(*(part[record, place] for part in repeats(batch.events)))
    unchanged = functional.binary_cross_entropy_with_logits(
        model.decoder.repeats(law, again.last),
        again.same.to(law.mean),
        weight=again.asked,
        reduction="sum",
    )
    return {
        "counts": count_loss(law, events).sum() / bins,
        "values": value_loss(law.mean, law.sd, events).sum() / number,
        "forecast": value_loss(mean, sd, events).sum() / number,
        "repeats": unchanged / again.asked.sum().clamp_min(1),
    }


class FlowObjective(Objective):
    """Flow matching on the latents of hidden bins, plus the decoder of these bins.

    Args:
        model: the flow.
        times: law of the training times.
        draws: posterior draws and times of each record in a batch.
        decoder_weight: weight of the decoder's likelihoods beside the flow's loss.
        scored: draws of each record for the validation's `energy`; 0 for none.
    """

    def __init__(
        self,
        model: RecordFlow,
        *,
        times: TimeLaw = "uniform",
        draws: int = 1,
        decoder_weight: float = 1.0,
        scored: int = 4,
    ) -> None:
        super().__init__()
        self.model = model
        self.times: TimeLaw = times
        self.draws = draws
        self.decoder_weight = decoder_weight
        self.scored = scored

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases and the places of bins do not."""
        return decaying(p for p in self.parameters() if p.requires_grad)

    def forward(self, batch: BinBatch, progress: float) -> dict[str, Tensor]:
        """`loss` and its parts `flow`, `counts`, `values`, `forecast`, `repeats`; `energy`
        when evaluating."""
        mean = self.model.standardise(batch.mean)
        deviation = (0.5 * batch.log_variance).exp() / self.model.latent_sd
        condition = self.model.told(batch, mean)
        return self.losses(condition, batch, mean, deviation)

    def losses(
        self, condition: BinCondition, batch: BinBatch, mean: Tensor, deviation: Tensor
    ) -> dict[str, Tensor]:
        """The losses of a batch whose latents are standardised, see `true_events`."""
        model = self.model
        event = true_events(condition, batch, mean, deviation, self.draws)
        flow = matching_loss(model, condition, event, self.times)
        parts = decoder_losses(model, condition, batch, event)
        losses = {
            "loss": flow + self.decoder_weight * sum(parts.values(), flow.new_zeros(())),
            "flow": flow.detach(),
            **{name: part.detach() for name, part in parts.items()},
        }
        if not self.training and self.scored > 1:
            made = model.transport(model.source(condition, self.scored), condition).final
            losses["energy"] = fair_energy(made, event[:, :1]).mean()
        return losses


def decaying(parameters: Any) -> list[dict[str, Any]]:
    """Optimizer groups: matrices, and all that does not decay."""
    groups: tuple[list[Any], list[Any]] = ([], [])
    for parameter in parameters:
        groups[parameter.ndim < 2].append(parameter)
    return [{"params": groups[0]}, {"params": groups[1], "weight_decay": 0.0}]
