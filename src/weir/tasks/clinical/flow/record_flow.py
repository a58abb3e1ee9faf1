"""The flow of a record: its code given what is shown of it, and its bins one after the other.

The code holds what the bins have in common, beside what follows from the last. A context encoder
tells flow and decoder what is shown.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from weir.flows.model import FlowModel
from weir.flows.paths import Path, PathName
from weir.flows.solvers import SolverName
from weir.networks.modulated import ModulatedMLP
from weir.tasks.clinical.flow.bin_decoder import BinDecoder
from weir.tasks.clinical.flow.filling import Imputation, fill
from weir.tasks.clinical.flow.grid import Grid, show
from weir.tasks.clinical.flow.items import FlowSet, Masks, Query, QuerySet, flow_set
from weir.tasks.clinical.flow.marginals import Marginals
from weir.tasks.clinical.flow.synthesis import STAMPS, synthesise
from weir.tasks.clinical.representation.seqsetvae import LOG_VARIANCE, SetPosterior

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE


class RecordCode(nn.Module):
    """Normal law of a record's code given what the first stage says of the record.

    Its units are running moments of the draws: the law of the codes is what the flow learns, and
    training moves it.

    Args:
        features: width of the first stage's representation.
        size: width of the code.
        width: hidden width.
        dropout: of the representation; without, few records are told apart by chance.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, features: int, size: int, *, width: int = 192, dropout: float = 0.3) -> None:
        super().__init__()
        self.size = size
        self.posterior = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features, width), nn.GELU(), nn.Linear(width, 2 * size)
        )
        self.outcome = nn.Sequential(nn.Linear(size, 32), nn.GELU(), nn.Linear(32, 1))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, representation: Tensor) -> SetPosterior:
        """Law of the codes of representations `[record, features]`."""
        mean, log_variance = self.posterior(representation).chunk(2, -1)
        return SetPosterior(mean, log_variance.clamp(*LOG_VARIANCE))

    @torch.no_grad()
    def follow(self, law: SetPosterior, memory: int = 100) -> None:
        """Update the units by a batch of at least two records."""
        self.batches += 1
        pace = max(1 / int(self.batches), 1 / memory)
        spread = law.mean.var(0, correction=0) + law.log_variance.exp().mean(0)
        self.mean.lerp_(law.mean.mean(0), pace)
        self.variance.lerp_(spread, pace)

    def standardise(self, code: Tensor) -> Tensor:
        """Codes `[..., size]` in units of their spread over records."""
        return (code - self.mean) / self.variance.sqrt()

    def restore(self, event: Tensor) -> Tensor:
        """The inverse of `standardise`."""
        return event * self.variance.sqrt() + self.mean

    def risk(self, code: Tensor) -> Tensor:
        """Logit of the outcome, `[...]`, of codes `[..., size]`."""
        return self.outcome(code)[..., 0]


class FlowContext(NamedTuple):
    """What the flow and the decoder are told of each record.

    Attributes:
        vector: `[record, told]`.
        mean: `[record, code]`, the code's by regression, standardised.
        sd: `[record, code]`, of the same.
    """

    vector: Tensor
    mean: Tensor
    sd: Tensor


LOG_SD = (-3.0, 1.0)
"""Range of the logarithm of a regression's deviation."""


class RecordFlow(FlowModel):
    """Law of the hidden cells of a record on a grid of bins and codes, given the shown ones.

    A record has a code, which its representation by the first stage gives. The flow is the law of
    the code given static features, whatever is shown and, if told, the outcome: of what a Gaussian
    regression on these leaves of it. Bins follow one another: the events of each depend on the
    code, on the values next to it, and on noise of its own (`BinDecoder`). One model makes new
    records (nothing shown), forecasts (the beginning shown) and imputes (some bins or cells
    hidden), since its masks in training were of all kinds.

    The first stage is part of the model, so that one folder holds all that sampling needs.

    Args:
        vae: the first stage.
        static: number of static features.
        grid: of the bins.
        path: probability path.
        masks: what is hidden in training.
        frozen: keep the first stage as it is, without gradient and in evaluation mode.
        code: width of a record's code.
        noise: width of a bin's own noise.
        components: Gaussians of its law.
        width: hidden width of all networks.
        layers: residual layers of the velocity and of the decoder.
        dropout: of the velocity's layers.
        most: see `BinDecoder`.
        outcomes: of synthetic records: as they are `told`, or `drawn` by the first stage's risk.
    """

    stamps: Tensor
    steps = 8
    told_width = 64

    def __init__(
        self,
        vae: SeqSetVAE,
        *,
        static: int,
        grid: Grid,
        path: PathName = "linear",
        masks: Masks,
        frozen: bool = True,
        code: int = 48,
        noise: int = 8,
        components: int = 8,
        width: int = 192,
        layers: int = 2,
        dropout: float = 0.0,
        most: int = 3,
        outcomes: Literal["told", "drawn"] = "told",
    ) -> None:
        super().__init__()
        self.event, self.outcomes = (code,), outcomes
        self.vae, self.grid, self.frozen = vae, grid, frozen
        self.codes = vae.codes - 1  # the first stage also counts the unknown one
        self.path = Path(path)
        self.masks = masks
        told = self.told_width
        self.marginals = Marginals(self.codes)
        self.code = RecordCode(vae.features, code, width=width)
        self.dropout = nn.Dropout(0.1)
        # Beside the representation: the shown share, static features, end, and outcome in 3 cases.
        self.teller = nn.Sequential(
            nn.Linear(vae.features + static + 5, width),
            nn.GELU(),
            nn.Linear(width, told),
            nn.LayerNorm(told),
        )
        self.regression = nn.Linear(told, 2 * code)
        nn.init.zeros_(self.regression.weight)
        nn.init.zeros_(self.regression.bias)
        self.network = ModulatedMLP(code, told, code, width=width, layers=layers, dropout=dropout)
        self.decoder = BinDecoder(
            code,
            told,
            self.codes,
            grid.bins,
            vae.d_latent,
            width=width,
            layers=layers,
            noise=noise,
            components=components,
            most=most,
        )
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
            for part in self._kept:
                part.eval()
        return self

    @property
    def _kept(self) -> tuple[nn.Module, ...]:
        """What a student takes over from its teacher."""
        return self.code, self.context_network, self.regression, self.decoder

    @property
    def context_network(self) -> nn.Sequential:
        """Makes one vector of all that a bin's noise depends on; saved as `teller`."""
        return self.teller

    def as_student(self, settings: Any = None) -> RecordFlow:
        """A copy with a step-size input that does nothing yet; only its velocity is trained."""
        student = copy.deepcopy(self)
        student.network.add_step()
        student.student = student.frozen = True
        # The rest stays the teacher's: outputs were made with it.
        for part in (
            student.vae,
            student.code,
            student.context_network,
            student.regression,
            student.decoder,
        ):
            part.requires_grad_(False)
        return student.train(self.training)

    def items(self, data: RecordSet, seed: int = 0) -> FlowSet:
        """The records and what the first stage says of them; masks are drawn for every batch."""
        return flow_set(self.vae, data, self.grid, self.masks)

    def queries(self, data: RecordSet) -> QuerySet:
        """The records, of each of which the same is hidden every time."""
        return QuerySet(data, self.grid, self.codes + 1, self.masks)

    def condition(self, batch: Query) -> FlowContext:
        """What is told of each record; hidden cells are not looked at, nor outcomes not told."""
        records, hidden, told = batch
        known = records.outcome.new_full(records.outcome.shape, -1.0)
        outcome = torch.where(told, records.outcome, known)
        inside = self.grid.inside(records.end)
        shown = (~hidden[..., 1:] & inside[..., None]).sum((1, 2)) / (
            inside.sum(1).clamp_min(1) * self.codes
        )
        seen = self.vae.represent(show(records, self.grid, hidden))
        return self.tell(seen, shown, records.static, records.end, outcome)

    def tell(
        self, seen: Tensor | None, shown: Tensor, static: Tensor, end: Tensor, outcome: Tensor
    ) -> FlowContext:
        """What is told of records.

        Args:
            seen: `[record, features]` representation of what is shown; None if nothing is.
            shown: `[record]` share of the cells.
            static: `[record, static]`.
            end: `[record]` hours.
            outcome: `[record]` 0, 1 or -1 for not told.
        """
        if seen is None:
            seen = static.new_zeros(len(static), self.vae.features)
        # Not of the rest: the outcome would count for less than it does.
        seen = self.dropout(seen * (shown > 0)[:, None])
        cases = torch.stack([outcome == case for case in (-1.0, 0.0, 1.0)], -1).to(seen)
        rest = [shown[:, None], static, (end / self.grid.hours)[:, None], cases]
        vector = self.context_network(torch.cat([seen, *rest], -1))
        mean, log_sd = self.regression(vector).chunk(2, -1)
        return FlowContext(vector, mean, log_sd.clamp(*LOG_SD).exp())

    def colour(self, white: Tensor, condition: FlowContext) -> Tensor:
        """White noise is the source."""
        return white

    def velocity(
        self, x: Tensor, t: Tensor, condition: FlowContext, step: Tensor | None = None
    ) -> Tensor:
        """The Gaussian's velocity plus the network's."""
        gain = self.path.gaussian_gain(t, step)
        moved = gain.reshape(gain.shape + (1,) * (x.ndim - gain.ndim)) * x
        return self.network(x, t, condition.vector, step) + moved

    def decode(self, x: Tensor, condition: FlowContext) -> Tensor:
        """Codes as `RecordCode` has them."""
        return self.code.restore(condition.mean[:, None] + condition.sd[:, None] * x)

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
        """New records, see `weir.tasks.clinical.flow.synthesis.synthesise`."""
        return synthesise(self, static, outcome, end, generator, steps=steps, solver=solver)

    def fill(
        self,
        records: Records,
        hidden: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Imputation:
        """Hidden bins or cells filled in, see `weir.tasks.clinical.flow.filling.fill`."""
        return fill(self, records, hidden, samples, steps=steps, solver=solver, generator=generator)
