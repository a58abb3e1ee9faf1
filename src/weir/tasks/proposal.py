"""Proposal of a dataset node: what a task's `describe` returns for `weir data add`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Proposal:
    """A `datasets` node for a user's file.

    Attributes:
        node: settings that differ from their defaults, in the order to be written.
        notes: what was assumed, what will be repaired and what still stands in the way.
        usable: whether the file preprocesses with this node as it stands.
    """

    node: dict[str, Any]
    notes: tuple[str, ...]
    usable: bool
