"""One code for a whole record: what its bins have in common, beside what follows from the last."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weir.tasks.clinical.seqsetvae import LOG_VARIANCE, SetPosterior


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
