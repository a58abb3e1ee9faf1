"""What of a record a flow is shown: nothing, its beginning, or this and that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Masks:
    """Shares of the uses of a flow, in training and among a teacher's queries.

    Attributes:
        nothing: nothing is shown: synthetic records.
        prefix: the first bins are shown: forecasts.
        cells: single codes of single bins are hidden. In the rest whole bins are.
        known: share of the records whose outcome is told where nothing is shown.
        known_shown: the same where something is.
    """

    nothing: float
    prefix: float
    cells: float
    known: float
    known_shown: float

    def draw(
        self, records: int, bins: int, codes: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden cells `[record, bin, code]` bool, and told outcomes `[record]` bool.

        On the CPU, so that a seed means the same everywhere.

        Args:
            records: how many.
            bins: of the grid.
            codes: columns, with the unknown codes' one.
            generator: of the draws; None for the global one.
        """
        use, share, tell = torch.rand(3, records, generator=generator)
        chance = torch.rand(records, bins, generator=generator)
        single = torch.rand(records, bins, codes, generator=generator)
        nothing = use < self.nothing
        prefix = ~nothing & (use < self.nothing + self.prefix)
        cells = ~nothing & ~prefix & (use < self.nothing + self.prefix + self.cells)
        shown = 1 + (share * max(1, bins - 1)).long().clamp(max=max(0, bins - 2))
        hidden = chance < 0.05 + 0.9 * share[:, None]
        hidden = torch.where(prefix[:, None], torch.arange(bins) >= shown[:, None], hidden)
        hidden |= nothing[:, None]
        some = single < 0.05 + 0.6 * share[:, None, None]
        told = tell < torch.where(nothing, self.known, self.known_shown)
        return torch.where(cells[:, None, None], some, hidden[..., None]), told


def by_code(hidden: Tensor, codes: int) -> Tensor:
    """Hidden bins `[record, bin]` as hidden cells `[record, bin, code]`; cells stay as they are."""
    return hidden if hidden.ndim == 3 else hidden[..., None].expand(-1, -1, codes)
