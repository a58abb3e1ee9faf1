"""Stage 2, `model: head`: predicts the outcome from the representation of a trained first stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from weir.tasks.clinical.representation.aggregates import Summary
from weir.tasks.clinical.representation.member_head import MemberHead, members_bce
from weir.tasks.clinical.representation.stage1 import RiskObjective

if TYPE_CHECKING:
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.data.schema import Schema
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
    from weir.tasks.clinical.settings.models import ClinicalStage2

FAR = 5.0
"""Features are clipped at this many standard deviations: rare flags would lie far outside."""


class Representation(NamedTuple):
    """Records as a frozen first stage sees them.

    Attributes:
        features: `[record, feature]`.
        outcome: `[record]`.
    """

    features: Tensor
    outcome: Tensor


@dataclass(frozen=True)
class RepresentedSet:
    """Data set of representations, computed once."""

    everything: Representation

    def __len__(self) -> int:
        return len(self.everything.outcome)

    def to(self, device: torch.device | str) -> RepresentedSet:
        """The same on `device`."""
        return RepresentedSet(Representation(*(field.to(device) for field in self.everything)))

    def batch(self, items: Tensor) -> Representation:
        """Those numbered `items`."""
        return Representation(*(field.index_select(0, items) for field in self.everything))


class OutcomeHead(nn.Module):
    """First stage and head.

    Args:
        encoder: the first stage.
        prevalence: share of the outcome in training.
        representation: `frozen` or `fine_tuned`.
        summary: whether to add aggregates of a record's values if the first stage has none.
        head: members, hidden, input_dropout, dropout.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        encoder: SeqSetVAE,
        prevalence: float,
        *,
        representation: str,
        summary: bool,
        **head: Any,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen = representation == "frozen"
        if self.frozen:
            encoder.requires_grad_(False).eval()
        else:
            # What has no part in the representation has nothing to learn from the outcome.
            for unused in (encoder.decoder, encoder.next_set, encoder.head):
                if unused is not None:
                    unused.requires_grad_(False).eval()
        self.summary = Summary(encoder.codes) if summary and encoder.summary is None else None
        features = encoder.features + (0 if self.summary is None else self.summary.features)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("sd", torch.ones(features))
        self.head = MemberHead(features, prevalence=prevalence, **head)

    def items(self, data: RecordSet, seed: int = 0) -> RecordSet | RepresentedSet:
        """What the head is trained on: the records, or their representations if these are final."""
        return RepresentedSet(self.represented(data)) if self.frozen else data

    @torch.no_grad()
    def represented(self, data: RecordSet) -> Representation:
        """Features of all records of a set."""
        parts = [self.features(batch) for _, batch in data.all()]
        return Representation(torch.cat(parts), data.outcome)

    def features(self, records: Records) -> Tensor:
        """What the head is told of records, `[record, feature]`, not yet standardised."""
        told = self.encoder.represent(records)
        return told if self.summary is None else torch.cat([told, self.summary(records)], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Logit by each member, `[record, member]`."""
        return self.head(((features - self.mean) / self.sd).clamp(-FAR, FAR))

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome, `[record]`."""
        return self.logits(self.features(records)).mean(-1)


class HeadObjective(RiskObjective):
    """Mean cross-entropy of the members of a head.

    Args:
        model: head and first stage.
        encoder_lr_scale: learning rate of the first stage, as a multiple of the head's.
    """

    model: OutcomeHead

    def __init__(self, model: OutcomeHead, encoder_lr_scale: float) -> None:
        super().__init__()
        self.model, self.encoder_lr_scale = model, encoder_lr_scale

    def forward(self, batch: Records | Representation, progress: float) -> dict[str, Tensor]:
        """`loss`, the cross-entropy of the outcome, also as `bce`; in evaluation the logit `risk`
        and the `outcome` of each record."""
        model = self.model
        known = isinstance(batch, Representation)
        logits = model.logits(batch.features if known else model.features(batch))
        loss = members_bce(logits, batch.outcome)
        found = {"loss": loss, "bce": loss.detach()}
        if not self.training:
            found |= {"risk": logits.mean(-1), "outcome": batch.outcome}
        return found

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head's parameters, and those of the first stage at a rate of their own."""
        encoder = {"params": list(self.model.encoder.parameters())}
        return [
            {"params": list(self.model.head.parameters())},
            {**encoder, "lr_scale": self.encoder_lr_scale},
        ]


def build(config: ClinicalStage2, schema: Schema, vae: SeqSetVAE) -> OutcomeHead:
    """An untrained head on a first stage."""
    settings = config.head.model_dump(exclude={"encoder_learning_rate"})
    return OutcomeHead(vae, schema.prevalence, **settings)


@torch.no_grad()
def prepare(model: OutcomeHead, config: ClinicalStage2, data: RecordSet, vae: SeqSetVAE) -> None:
    """Put in the trained first stage and standardise its features by the training records."""
    model.encoder.load_state_dict(vae.state_dict())
    if model.summary is not None:
        model.summary.fit(data)
    was_training = model.training
    model.eval()
    features = model.represented(data).features.double()
    sd = features.std(0, correction=0)
    model.mean.copy_(features.mean(0))
    model.sd.copy_(torch.where(sd > 1e-6, sd, 1.0))
    model.train(was_training)
    if model.frozen:
        model.encoder.eval()


def objective(config: ClinicalStage2, model: OutcomeHead) -> HeadObjective:
    """What the head minimises."""
    return HeadObjective(model, config.head.encoder_learning_rate)
