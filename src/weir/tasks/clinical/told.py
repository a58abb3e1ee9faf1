"""What a flow of records is told of each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Told(NamedTuple):
    """What the flow and the decoder are told of each record.

    Attributes:
        vector: `[record, told]`.
        mean: `[record, code]`, the code's by regression, standardised.
        sd: `[record, code]`, likewise.
    """

    vector: Tensor
    mean: Tensor
    sd: Tensor
