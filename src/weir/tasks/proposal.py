"""Proposals, which a task's `describe` makes of a user's file, and the trial they pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from weir.errors import Repairable, UserError

Result = TypeVar("Result")


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


def rehearse(
    attempt: Callable[[dict[str, Any]], Result], node: dict[str, Any], notes: list[str]
) -> Result | None:
    """Preprocess for trial, with what may be repaired set in `node`, in place.

    Args:
        attempt: preprocesses with a node, or goes through its checks.
        node: settings of the dataset.
        notes: takes each repair, and what stands in the way at last.

    Returns:
        What the attempt returns; None if something stands in the way.
    """
    while True:
        try:
            return attempt(node)
        except UserError as error:
            if not isinstance(error, Repairable) or error.setting in node:
                notes.append(f"not usable yet: {error}")
                return None
            node[error.setting] = error.value
            notes.append(f"{error.setting}: {error.what}")
