"""What the numbers of one data set say, in plain words and without favour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weir.report.entries import Comparison, Entry, best, compare, ranked
from weir.report.evaluation import Definition
from weir.report.numbers import number, percent
from weir.report.plan import PlanGraph


@dataclass(frozen=True)
class Verdict:
    """One sentence about one model; `outcome` is "win", "lose", "level" or "unknown"."""

    label: str
    outcome: str
    text: str


def against_baselines(
    rows: Sequence[Entry], metrics: Sequence[str], definitions: Mapping[str, Definition]
) -> list[Verdict]:
    """For each model, best first: does the best baseline of each metric beat it?

    The verdict follows the first metric; losses in the others are named in the same sentence.
    """
    baselines = [row for row in rows if row.kind == "baseline"]
    verdicts = []
    for row in ranked(rows, metrics[0], definitions[metrics[0]]):
        if not row.contender:
            continue
        found = []
        for metric in metrics:
            rival = best(baselines, metric, definitions[metric])
            comparison = compare(row, rival, metric, definitions[metric]) if rival else None
            if comparison:
                found.append(comparison)
        if baselines:
            verdicts.append(_verdict(row, metrics[0], found))
    return verdicts


def _verdict(row: Entry, primary: str, found: Sequence[Comparison]) -> Verdict:
    main = next((item for item in found if item.metric == primary), None)
    behind = [item for item in found if item is not main and item.loses]
    if not found:
        return Verdict(row.label, "unknown", "has no number that a baseline has too.")
    if main is None:
        if not behind:
            return Verdict(row.label, "win", "is behind no baseline where both have a number.")
        return Verdict(row.label, "lose", f"loses to {_rivals(behind)} in {_losses(behind)}.")
    ours, theirs = (side.statistic(primary).mean for side in (main.subject, main.other))
    pair = f"in {main.definition.label}: {number(ours)} against {number(theirs)}"
    if main.level:
        outcome, text = "level", f"is level with {main.other.label} {pair}"
    elif main.loses:
        outcome, text = "lose", f"loses to {main.other.label} {pair}, {percent(main.excess)} worse"
    else:
        outcome = "win"
        text = f"beats every baseline {pair} of {main.other.label}, {percent(main.excess)} better"
    if behind:
        text += f"; {'also' if main.loses else 'but'} behind {_rivals(behind)} in {_losses(behind)}"
    return Verdict(row.label, outcome, text + ".")


def _rivals(items: Sequence[Comparison]) -> str:
    names = list(dict.fromkeys(item.other.label for item in items))
    return names[0] if len(names) == 1 else "the best baseline"


def _losses(items: Sequence[Comparison]) -> str:
    parts = [f"{item.definition.label} ({percent(item.excess)})" for item in items]
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def teacher_of(student: Entry, rows: Sequence[Entry], plan: PlanGraph) -> Entry | None:
    """The evaluated flow that a student was distilled from; None where it was not evaluated.

    Of several evaluations of that flow, the one with the most network calls.
    """
    origins = plan.ancestors(f"evaluate/{student.node}")
    candidates = [
        row
        for row in rows
        if row.kind in ("teacher", "flow", "joint")
        and any(model in origins for model in plan.nearest_parents(f"evaluate/{row.node}"))
    ]
    return max(candidates, key=lambda row: (row.nfe or 0, row.node), default=None)
