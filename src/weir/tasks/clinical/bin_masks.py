"""Which bins of a record a flow is shown: nothing, its beginning, or some bins here and there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Masks:
    """Shares of the three uses of a flow, in training and among a teacher's queries.

    Attributes:
        nothing: nothing is shown: synthetic records.
        prefix: the first bins are shown: forecasts. Random bins are hidden in the rest.
        known: share of the records whose outcome is told where nothing is shown.
        known_shown: the same where something is.
    """

    nothing: float = 0.35
    prefix: float = 0.35
    known: float = 0.9
    known_shown: float = 0.2

    def draw(
        self, records: int, bins: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden bins `[record, bin]` bool, at least one a record, and told outcomes `[record]`.

        On the CPU, so that a seed means the same everywhere.
        """
        use, share, tell = torch.rand(3, records, generator=generator)
        place = torch.arange(bins)
        chance = torch.rand(records, bins, generator=generator)
        nothing = use < self.nothing
        prefix = ~nothing & (use < self.nothing + self.prefix)
        shown = 1 + (share * max(1, bins - 1)).long().clamp(max=bins - 2) if bins > 1 else share
        hidden = chance < 0.05 + 0.9 * share[:, None]
        hidden = torch.where(prefix[:, None], place >= shown[:, None], hidden)
        hidden |= nothing[:, None]
        # None hidden by chance: the one most likely to be.
        least = torch.zeros_like(hidden).scatter_(1, chance.argmin(1, keepdim=True), True)
        hidden |= least & ~hidden.any(1, keepdim=True)
        told = tell < torch.where(nothing, self.known, self.known_shown)
        return hidden, told
