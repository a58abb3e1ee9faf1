"""The results table: models, baselines and ceilings of one data set, as cells ready to print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weir.artifacts.evaluation import Definition
from weir.report.drawing.numbers import DASH, decimals, number, percent, quantity, signed_percent
from weir.report.entries import Entry, best, compare, ranked


@dataclass(frozen=True)
class Column:
    """A metric's heading; `hint` says which way is good: an arrow, or the target."""

    label: str
    hint: str
    definition: str


@dataclass(frozen=True)
class Cell:
    """A number; `order` sorts it (empty for none), `spread` is its deviation over seeds, or over
    held-out groups if no row has several seeds."""

    text: str
    spread: str = ""
    order: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """`estimand` says which of several things a model can be asked for the numbers are of."""

    label: str
    node: str
    kind: str
    seeds: int
    folds: int
    estimand: str
    nfe: Cell
    cost: Cell
    gap: Cell
    cells: tuple[Cell, ...]
    remark: str


@dataclass(frozen=True)
class Table:
    """`rows` compete and are sorted by the ranking metric; `ceilings` stand apart."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ceilings: tuple[Row, ...]
    ranking: str
    has_gap: bool
    has_spread: bool


def results_table(
    rows: Sequence[Entry], metrics: Sequence[str], known: Mapping[str, Definition], ranking: str
) -> Table:
    """Arrange rows by `ranking`, best first; the best competitor of each metric is marked."""
    ordered = ranked(rows, ranking, known[ranking])
    rivals = [row for row in ordered if row.kind != "ceiling"]
    ceilings = [row for row in ordered if row.kind == "ceiling"]
    winners = {metric: best(rivals, metric, known[metric]) for metric in metrics}
    places = {metric: decimals(row.statistic(metric).mean for row in rows) for metric in metrics}
    baselines = [row for row in rivals if row.kind == "baseline"]
    baseline = best(baselines, ranking, known[ranking])
    limit = best(ceilings, ranking, known[ranking])
    over_folds = all(row.seeds == 1 for row in rows)

    def line(row: Entry) -> Row:
        return Row(
            label=row.label,
            node=row.node,
            kind=row.kind,
            seeds=row.seeds,
            folds=len(row.folds),
            estimand=row.first.protocol.get("estimand") or "",
            nfe=Cell(DASH) if row.nfe is None else Cell(number(row.nfe, 0), order=str(row.nfe)),
            cost=_cell(row.latency_ms, quantity(row.latency_ms)),
            gap=_gap(row, limit, ranking, known[ranking]),
            cells=tuple(
                _metric(row, metric, places[metric], row is winners[metric], over_folds)
                for metric in metrics
            ),
            remark=_remark(row, baseline, ranking, known[ranking]),
        )

    lines = tuple(line(row) for row in rivals)
    limits = tuple(line(row) for row in ceilings)
    return Table(
        columns=tuple(
            Column(known[metric].heading, _hint(known[metric]), known[metric].definition)
            for metric in metrics
        ),
        rows=lines,
        ceilings=limits,
        ranking=known[ranking].label,
        has_gap=limit is not None and known[ranking].target is None,
        has_spread=any(cell.spread for row in lines + limits for cell in row.cells),
    )


def _hint(definition: Definition) -> str:
    if definition.target is not None:
        return f"target {definition.target:g}"
    return "↓" if definition.better == "lower" else "↑"


def _cell(value: float, text: str) -> Cell:
    return Cell(text, order=repr(value) if math.isfinite(value) else "")


def _metric(row: Entry, metric: str, places: int, winner: bool, over_folds: bool) -> Cell:
    found = row.statistic(metric)
    if not found.known:
        return Cell(DASH)
    std = row.across(metric) if over_folds else found.std
    spread = f"± {number(std, places)}" if math.isfinite(std) else ""
    return Cell(number(found.mean, places), spread, repr(found.mean), winner)


def _gap(row: Entry, limit: Entry | None, metric: str, definition: Definition) -> Cell:
    comparison = compare(row, limit, metric, definition) if limit else None
    if comparison is None or row is limit:
        return Cell(DASH)
    return _cell(comparison.excess, signed_percent(comparison.change, 1))


def _remark(row: Entry, baseline: Entry | None, metric: str, definition: Definition) -> str:
    if baseline is None or not row.contender:
        return ""
    comparison = compare(row, baseline, metric, definition)
    if comparison is None:
        return ""
    if comparison.level:
        return f"level with {baseline.label}"
    if comparison.loses:
        return f"loses to {baseline.label} by {percent(comparison.excess)}"
    return ""
