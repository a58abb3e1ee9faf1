"""SeqSetVAE: a variational autoencoder of sets of events, and a model of their sequence.

A set of events (code, value) gives a normal law of its latent, from which its events are
reconstructed; a sequence model carries what the sets say along the record; a head may read the
outcome's risk off the sequence. All of it runs on packed batches, see `Records`.

References:
    Kingma, Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    Lee et al., Set Transformer, ICML 2019.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from weir.tasks.clinical.representation.aggregates import Summary
from weir.tasks.clinical.representation.decoder import SetDecoder, SetLaw
from weir.tasks.clinical.representation.member_head import MemberHead
from weir.tasks.clinical.representation.ragged import places, segment_softmax, segment_sum
from weir.tasks.clinical.representation.sequence import GRU, Clock, ResidualMLP, SequenceTransformer
from weir.tasks.clinical.representation.set_encoder import AttentionEncoder, PoolingEncoder

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet

LOG_VARIANCE = (-8.0, 4.0)
"""Range to which log-variances are clamped."""


class SetPosterior(NamedTuple):
    """Normal laws of the latents of sets.

    Attributes:
        mean: `[set, d_latent]`.
        log_variance: `[set, d_latent]`.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw each, `[set, d_latent]`; by default from the global generator."""
        white = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + white * (0.5 * self.log_variance).exp()

    def kl(self) -> Tensor:
        """Divergence from the standard normal law in nats, `[set, d_latent]`."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)


class SeqSetVAE(nn.Module):
    """Set encoder, sequence model, decoder, and a head if the outcome is trained with them.

    Args:
        codes: number of codes, with the unknown one (number 0).
        statics: number of static features.
        horizon: longest time of a training record, hours.
        prevalence: share of the outcome in training.
        width: width of sets' vectors and of states.
        d_latent: width of a latent.
        set_encoder: `pooling` or `attention`.
        knots: knots of a code's values.
        set_layers: blocks of `attention`.
        sequence: `gru` or `transformer`.
        layers: its layers.
        heads: attention heads, everywhere.
        causal: whether states depend on no later set.
        dropout: of blocks and layers.
        summary: whether the representation includes aggregates of the record's values.
        head: members, hidden, input_dropout, dropout of the head; None for no head.

    Attributes:
        codes: columns of what is decoded.
        d_latent: width of a latent.
        width: width of a state.
        features: width of a representation.
        has_head: whether there is a `risk`.
    """

    def __init__(
        self,
        codes: int,
        statics: int,
        horizon: float,
        prevalence: float = 0.5,
        *,
        width: int = 64,
        d_latent: int = 32,
        set_encoder: Literal["pooling", "attention"] = "pooling",
        knots: int = 16,
        set_layers: int = 1,
        sequence: Literal["gru", "transformer"] = "gru",
        layers: int = 1,
        heads: int = 4,
        causal: bool = True,
        dropout: float = 0.1,
        summary: bool = True,
        head: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.codes, self.d_latent, self.width = codes, d_latent, width
        self.heads, self.causal = heads, causal
        if set_encoder == "pooling":
            self.set_encoder: nn.Module = PoolingEncoder(codes, knots, width)
        else:
            self.set_encoder = AttentionEncoder(codes, knots, width, set_layers, heads, dropout)
        self.clock = Clock(horizon)
        self.clock_in = nn.Linear(Clock.features, width)
        self.mix = ResidualMLP(width, dropout)
        self.posterior = nn.Linear(width, 2 * d_latent)
        self.decoder = SetDecoder(d_latent, width, codes)
        self.state_in = nn.Linear(d_latent + Clock.features, width)
        if sequence == "gru":
            self.sequence: nn.Module = GRU(width, layers, dropout, causal=causal)
        else:
            self.sequence = SequenceTransformer(width, layers, heads, dropout, causal=causal)
        self.next_set = nn.Linear(width, 2 * d_latent) if causal else None
        self.score = nn.Linear(width + 2, heads)
        self.norm = nn.LayerNorm(2 * width)
        self.summary = Summary(codes) if summary else None
        counted = codes if self.summary is None else self.summary.features
        self.features = 2 * width + statics + counted
        self.head = (
            None if head is None else MemberHead(self.features, prevalence=prevalence, **head)
        )

    @property
    def has_head(self) -> bool:
        """Whether the outcome was trained along."""
        return self.head is not None

    def encode(self, records: Records) -> SetPosterior:
        """Laws of the latents of all sets of a batch."""
        x = self.set_encoder(records) + self.clock_in(self.clock(records))
        mean, log_variance = self.posterior(self.mix(x)).to(records.value).chunk(2, -1)
        return SetPosterior(mean, log_variance.clamp(*LOG_VARIANCE))

    def states(self, z: Tensor, records: Records) -> Tensor:
        """State after each set, `[set, width]`, given latents `[set, d_latent]` at its times."""
        x = self.state_in(torch.cat([z, self.clock(records)], -1))
        return x + self.sequence(x, records)

    def represent(self, records: Records) -> Tensor:
        """What is known of each record, `[record, features]`, by the means of the latents."""
        return self.represent_states(self.states(self.encode(records).mean, records), records)

    def represent_states(self, states: Tensor, records: Records) -> Tensor:
        """Representation `[record, features]` of states `[set, width]`: their mean weighed by
        attention, the last one, static features, and aggregates or counts. A record without sets
        has zeros in their place."""
        owner, owners = records.set_record, len(records.outcome)
        to_go = (records.end.index_select(0, owner) - records.time).clamp(min=0)
        recent = torch.stack([to_go.log1p() / 4, (-to_go / 4).exp()], 1)
        share = segment_softmax(self.score(torch.cat([states, recent], 1)), owner, owners)
        weighed = states.unflatten(-1, (self.heads, -1)) * share[..., None]
        pooled = segment_sum(weighed.flatten(1), owner, owners)
        _, count = places(owner, owners)
        # A row of zeros first, for records that have no last state.
        padded = torch.cat([states.new_zeros(1, self.width), states])
        last = padded.index_select(0, torch.where(count > 0, count.cumsum(0), 0))
        known = self.norm(torch.cat([pooled, last], 1)) * (count > 0)[:, None]
        if self.summary is not None:
            counted = self.summary(records)
        else:
            counted = code_counts(records, self.codes).log1p() / 2
        return torch.cat([known, records.static, counted.to(known)], 1)

    def decode(self, z: Tensor) -> SetLaw:
        """Laws of the events of sets, of latents `[..., d_latent]`."""
        return self.decoder(z)

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome, `[record]`."""
        if self.head is None:
            raise ValueError("trained without the outcome; put a head on it (stage2 `model: head`)")
        return self.head(self.represent(records)).mean(-1)

    @torch.no_grad()
    def fit(self, data: RecordSet) -> None:
        """Fit what has a closed form to the training records: knots, scales, rates of codes."""
        self.set_encoder.places.fit(data)
        if self.summary is not None:
            self.summary.fit(data)
        counts = torch.zeros(self.codes, dtype=torch.int64, device=data.rows.device)
        for _, records in data.all():
            counts += torch.bincount(records.code, minlength=self.codes)
        self.decoder.start(counts, int(data.sets.sum()))


def code_counts(records: Records, codes: int) -> Tensor:
    """Events of each code in each record, `[record, code]`."""
    owners = len(records.outcome)
    cell = records.set_record.index_select(0, records.event_set) * codes + records.code
    ones = torch.ones_like(records.value)
    return segment_sum(ones, cell, owners * codes).unflatten(0, (owners, codes))
