"""The flow of a record: latents of the bins of a grid, given whatever is shown of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from weir.flows.model import FlowModel
from weir.flows.paths import Path, PathName
from weir.flows.solvers import SolverName, require_finite
from weir.tasks.clinical.bin_context import BinContext, Carried, Context
from weir.tasks.clinical.bin_data import BinBatch, BinSet, bin_batch, bin_set, known_codes
from weir.tasks.clinical.bin_decoder import BinDecoder
from weir.tasks.clinical.bin_masks import Masks
from weir.tasks.clinical.bin_network import BinVelocity
from weir.tasks.clinical.filled import Filled
from weir.tasks.clinical.generate import STAMPS, synthesise
from weir.tasks.clinical.grid import Grid
from weir.tasks.clinical.marginals import Marginals

if TYPE_CHECKING:
    from weir.tasks.clinical.records import Records, RecordSet
    from weir.tasks.clinical.seqsetvae import SeqSetVAE

BLUR = 0.25
"""Deviation of the noise on the channel that says whether a bin holds events: 1 or -1."""

QUERY_SEED = 0
"""Of the masks of a teacher's queries."""


class BinCondition(NamedTuple):
    """What the flow of a record depends on; axis 0 is the record.

    Attributes:
        token: `[record, bin, context]`.
        known: `[record, bin]` bool: shown, or after the record's end.
        event: `[record, bin, d_latent + 1]` of known bins, standardised.
        before: `[record, bin, code]`, see `bin_context.Carried`; likewise the others.
    """

    token: Tensor
    known: Tensor
    event: Tensor
    before: Tensor
    fresh: Tensor
    after: Tensor
    near: Tensor
    level: Tensor
    sure: Tensor

    @property
    def context(self) -> Context:
        """What the decoder looks at."""
        return Context(self.token, Carried(*self[-len(Carried._fields) :]))


class RecordFlow(FlowModel):
    """Joint law of what happens in the hidden bins of a record, given the shown ones.

    An event of the flow is `[bin, d_latent + 1]`: the standardised latent that the first stage
    gives to the set of all events of a bin, and whether there are any. Shown bins are no noise but
    keep their latents; the velocity is zero there. In empty bins the latent is white noise, which
    asks nothing of the flow. One model makes new records (nothing shown), forecasts (the beginning
    shown) and imputes (some bins hidden), since its masks in training were of all three kinds.

    The first stage is part of the model, so that one folder holds all that sampling needs.

    Args:
        vae: the first stage.
        static: number of static features.
        grid: of the bins.
        path: probability path.
        masks: what is hidden in training.
        frozen: keep the first stage as it is, without gradient and in evaluation mode.
        width: width of both networks.
        layers: blocks of the velocity network.
        context_layers: blocks of the context network.
        heads: attention heads of both.
        dropout: dropout of both.
        most: see `BinDecoder`.
    """

    latent_mean: Tensor
    latent_sd: Tensor
    stamps: Tensor
    steps = 8

    def __init__(
        self,
        vae: SeqSetVAE,
        *,
        static: int,
        grid: Grid,
        path: PathName = "linear",
        masks: Masks | None = None,
        frozen: bool = True,
        width: int = 96,
        layers: int = 3,
        context_layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        most: int = 3,
    ) -> None:
        super().__init__()
        self.event = (grid.bins, vae.d_latent + 1)
        self.vae, self.grid, self.frozen = vae, grid, frozen
        self.codes = known_codes(vae)
        self.path = Path(path)
        self.masks = Masks() if masks is None else masks
        shape = {"width": width, "heads": heads, "dropout": dropout}
        self.marginals = Marginals(self.codes)
        self.context = BinContext(
            vae.d_latent,
            self.codes,
            static,
            grid.bins,
            grid.hours,
            layers=context_layers,
            **shape,
        )
        self.network = BinVelocity(vae.d_latent + 1, width, grid.bins, layers=layers, **shape)
        self.decoder = BinDecoder(vae.d_latent, self.codes, width, width=2 * width, most=most)
        self.register_buffer("latent_mean", torch.zeros(vae.d_latent))
        self.register_buffer("latent_sd", torch.ones(vae.d_latent))
        # Time stamps of a bin of 0, 1, 2, ... events, on average.
        self.register_buffer("stamps", torch.arange(STAMPS, dtype=torch.float32))
        if frozen:
            vae.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> RecordFlow:
        """As usual, but what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.vae.eval()
        if self.student:
            self.context.eval()
            self.decoder.eval()
        return self

    def as_student(self) -> RecordFlow:
        """A copy with a step-size input that does nothing yet; only its velocity is trained."""
        student = copy.deepcopy(self)
        student.network.add_step()
        student.student = student.frozen = True
        # Contexts stay the teacher's: outputs were made with them, and the decoder reads them.
        for part in (student.vae, student.context, student.decoder):
            part.requires_grad_(False)
        return student.train(self.training)

    def items(self, data: RecordSet) -> BinSet:
        """The records as latents; what is hidden is drawn anew for every batch."""
        return bin_set(self.vae, data, self.grid, self.marginals, self.masks)

    def queries(self, data: RecordSet) -> BinSet:
        """The same, but what is hidden of a record is always the same."""
        return bin_set(self.vae, data, self.grid, self.marginals, self.masks, seed=QUERY_SEED)

    def standardise(self, latent: Tensor) -> Tensor:
        """Latents `[..., d_latent]` in units of their spread over bins."""
        return (latent - self.latent_mean) / self.latent_sd

    def condition(self, batch: BinBatch) -> BinCondition:
        """What is told of each record; hidden bins are not looked at."""
        return self.told(batch, self.standardise(batch.mean))

    def told(self, batch: BinBatch, latent: Tensor) -> BinCondition:
        """The same with latents `[record, bin, d_latent]` that were standardised before."""
        inside = self.grid.inside(batch.end)
        shown = inside & ~batch.hidden
        full = shown & batch.occupied
        context = self.context(batch, latent, inside)
        event = torch.cat([latent * full[..., None], 2.0 * full[..., None] - 1], -1)
        return BinCondition(context.token, ~inside | shown, event, *context.carried)

    def colour(self, white: Tensor, condition: BinCondition) -> Tensor:
        """White noise in hidden bins, the record's own latents in the others."""
        return torch.where(_wide(condition.known), condition.event[:, None], white)

    def velocity(
        self, x: Tensor, t: Tensor, condition: BinCondition, step: Tensor | None = None
    ) -> Tensor:
        """The Gaussian's velocity plus the network's, in hidden bins."""
        learnt = self.network(x, t, condition.token, step)
        gain = self.path.gaussian_gain(t, step)
        moved = learnt + gain.reshape(gain.shape + (1,) * (x.ndim - gain.ndim)) * x
        return moved.masked_fill(_wide(condition.known), 0.0)

    def decode(self, x: Tensor, condition: BinCondition) -> Tensor:
        """Latents as the first stage has them; the last channel is 1 or -1, as there are events."""
        latent = x[..., :-1] * self.latent_sd + self.latent_mean
        return torch.cat([latent, torch.where(x[..., -1:] > 0, 1.0, -1.0)], -1)

    def query(self, records: Records, hidden: Tensor, told: Tensor | None = None) -> BinCondition:
        """The condition of a batch of records.

        Args:
            records: a batch.
            hidden: `[record, bin]` bool.
            told: `[record]` bool, whose outcome is told; None for nobody's.
        """
        return self.condition(bin_batch(records, self.grid, self.marginals, self.vae, hidden, told))

    @property
    def has_head(self) -> bool:
        """Whether the first stage was trained with the outcome, and is still trained along."""
        return not self.frozen and self.vae.has_head

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome, `[record]`, of a jointly trained first stage with a head."""
        return self.vae.risk(records)

    def synthesise(
        self,
        static: Tensor,
        outcome: Tensor,
        end: Tensor,
        generator: torch.Generator | None = None,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
    ) -> Records:
        """New records, see `weir.tasks.clinical.generate.synthesise`."""
        return synthesise(self, static, outcome, end, generator, steps=steps, solver=solver)

    @torch.no_grad()
    def fill(
        self,
        records: Records,
        hidden: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Filled:
        """See `weir.tasks.clinical.filled.Filler.fill`.

        The law of each single value is the context's, which training fits to that very question; a
        sample's latent holds the code only if it was measured there. How the values of one sample
        go together is the flow's: of each value the draws of the context's law are dealt to the
        samples in the order of the values that these decode to, measured or not (ensemble copula
        coupling; Schefzik et al. 2013). Of a single value the draws are independent.

        Raises:
            WeirError: a value is not finite.
        """
        condition = self.query(records, hidden)
        x = self.source(condition, samples, generator)
        x = self.transport(x, condition, steps=steps, solver=solver).final
        record, place = (~condition.known).nonzero(as_tuple=True)
        x = x[record, :, place]  # [hidden, sample, d_latent + 1]
        law = self.decoder(x[..., :-1], condition.token[record, place][:, None])
        alone = self.decoder.from_context(condition.context)
        mean, sd = (part[record, place] for part in alone)
        white = torch.empty_like(law.mean).normal_(generator=generator)
        rank = (law.mean + law.sd * white).argsort(1).argsort(1)
        draws = white.normal_(generator=generator).sort(1).values.gather(1, rank)
        score = mean[:, None] + sd[:, None] * draws
        values = require_finite(self.marginals.dense_values(score), "filled value", "in fill")
        rate = (self.decoder.expected_counts(law) * (x[..., -1:] > 0)).mean(1)
        return Filled(record, place, self.marginals.expected(mean, sd), values, rate)


def _wide(known: Tensor) -> Tensor:
    """`[record, bin]` as `[record, 1, bin, 1]`."""
    return known[:, None, :, None]
