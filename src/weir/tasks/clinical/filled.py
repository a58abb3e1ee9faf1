"""What models that fill in hidden bins return."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from weir.tasks.clinical.grid import Grid
from weir.tasks.clinical.records import Records


class Filled(NamedTuple):
    """Hidden bins of some records, filled in; values are standardised as `Records.value` is.

    Attributes:
        record: `[hidden]` int64, number of the record in the batch, ascending.
        bin: `[hidden]` int64, ascending within a record.
        mean: `[hidden, code]`, expected value of a code if measured in the bin.
        samples: `[hidden, sample, code]`, such values, codes of one sample drawn together.
        rate: `[hidden, code]`, expected events.
    """

    record: Tensor
    bin: Tensor
    mean: Tensor
    samples: Tensor
    rate: Tensor


class Filler(Protocol):
    """A model that fills in hidden bins of its grid."""

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
        """Values and events of the bins `hidden`, `[record, bin]` bool, given the others.

        Bins after a record's end are never filled; neither outcome nor hidden bins are looked at.

        Args:
            records: a batch.
            hidden: `[record, bin]` bool.
            samples: draws of each bin's values.
            steps: solver steps of a flow, jumps of a student; others ignore it.
            solver: solver of a flow that is no student; others ignore it.
            generator: of all draws, on the records' device.
        """
        ...
