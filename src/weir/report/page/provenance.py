"""Provenance on the page: the facts that all runs share, and those of each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weir.artifacts.evaluation import Evaluation
from weir.settings.base import flatten


def leaves(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Leaves of nested mappings as (dotted key, value); a list is one leaf, as text."""
    return [
        (key, ", ".join(map(str, value)) if isinstance(value, list | tuple) else value)
        for key, value in flatten(settings).items()
        if value != {}
    ]


LONG = ("inputs", "upstream")
"""Of a record, what is too much for a table."""


def facts(
    evaluations: Sequence[Evaluation],
) -> tuple[list[tuple[str, Any]], list[tuple[Evaluation, dict[str, Any]]]]:
    """Split provenance into facts that every run has alike, and a row of the others per run."""
    flat = [
        dict(leaves({key: value for key, value in run.provenance.items() if key not in LONG}))
        for run in evaluations
    ]
    shared = {
        key: value
        for key, value in (flat[0] if flat else {}).items()
        if all(key in row and row[key] == value for row in flat)
    }
    own = [
        (run, {key: value for key, value in row.items() if key not in shared})
        for run, row in zip(evaluations, flat, strict=True)
    ]
    own.sort(key=lambda pair: (pair[0].dataset, pair[0].name))
    return list(shared.items()), own


def run_columns(evaluations: Sequence[Evaluation]) -> list[str]:
    """Columns of the table of runs, in the order in which provenance first names them."""
    return list(dict.fromkeys(key for _, row in facts(evaluations)[1] for key in row))
