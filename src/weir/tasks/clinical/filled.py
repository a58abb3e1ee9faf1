"""What models that fill in hidden bins and cells return."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from weir.tasks.clinical.grid import Grid
from weir.tasks.clinical.records import Records


class Filled(NamedTuple):
    """Bins of some records in which something was hidden, filled in.

    Values are standardised as `Records.value` is.

    Attributes:
        record: `[hidden]` int64, number of the record in the batch, ascending.
        bin: `[hidden]` int64, ascending within a record.
        asked: `[hidden, code]` bool, which codes were hidden there.
        mean: `[hidden, code]`, expected value of a code if measured in the bin.
        samples: `[hidden, sample, code]`, such values, codes of one sample drawn together.
        rate: `[hidden, code]`, expected events.
    """

    record: Tensor
    bin: Tensor
    asked: Tensor
    mean: Tensor
    samples: Tensor
    rate: Tensor


class Filler(Protocol):
    """A model that fills in what is hidden on its grid."""

    grid: Grid

    def fill(
        self,
        records: Records,
        hidden: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Filled:
        """Values and events of hidden bins or cells, given the others.

        Bins after a record's end are never filled; neither outcome nor what is hidden is looked
        at.

        Args:
            records: a batch.
            hidden: `[record, bin]` bool, or `[record, bin, code]` with unknown codes' column first.
            samples: draws of each bin's values.
            steps: solver steps of a flow, jumps of a student; others ignore it.
            solver: solver of a flow that is no student; others ignore it.
            generator: of all draws, on the records' device.
        """
        ...
