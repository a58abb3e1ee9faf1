"""Headlines of one data set: cards with the few numbers that a hurried reader takes along, and the
verdicts on them in plain words and without favour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weir.artifacts.evaluation import Definition
from weir.report.drawing.numbers import decimals, number, percent, signed_percent
from weir.report.entries import Comparison, Entry, best, compare, ranked
from weir.report.graph.nodes import PlanGraph


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
        if row.kind in ("teacher", "joint")
        and any(model in origins for model in plan.nearest_parents(f"evaluate/{row.node}"))
    ]
    return max(candidates, key=lambda row: (row.nfe or 0, row.node), default=None)


FAITHFUL = 0.01
"""A student within this share of its teacher's score counts as faithful."""


@dataclass(frozen=True)
class Card:
    """`tone` is "good", "bad" or "" and colours the value; the words say the same."""

    title: str
    value: str
    note: str
    tone: str = ""


def cards(
    rows: Sequence[Entry], headline: Sequence[str], known: Mapping[str, Definition], plan: PlanGraph
) -> list[Card]:
    """The best model, its distance to yardsticks, what distilling cost, and calibration."""
    metric = headline[0]
    definition = known[metric]
    winner = best([row for row in rows if row.contender], metric, definition)
    if winner is None:
        return []
    found = [_winner(winner, metric, definition)]
    rivals = [row for row in rows if row.kind == "baseline"]
    found.append(_against(winner, best(rivals, metric, definition), metric, definition))
    limits = [row for row in rows if row.kind == "ceiling"]
    found.append(_limit(winner, best(limits, metric, definition), metric, definition))
    students = ranked([row for row in rows if row.kind == "student"], metric, definition)
    if students:
        teacher = teacher_of(students[0], rows, plan)
        found.append(_distilled(students[0], teacher, metric, definition))
    targets = [name for name in headline if known[name].target is not None]
    found.append(_targets(winner, targets, known))
    return [card for card in found if card is not None]


def _winner(winner: Entry, metric: str, definition: Definition) -> Card:
    statistic = winner.statistic(metric)
    places = decimals([statistic.mean])
    seeds = "one run" if len(winner.runs) == 1 else "one seed"
    if math.isfinite(statistic.std):
        seeds = f"± {number(statistic.std, places)} over {statistic.count} seeds"
    return Card(
        f"Best model, {definition.label}",
        number(statistic.mean, places),
        f"{winner.label}, {seeds}",
    )


def _against(
    winner: Entry, rival: Entry | None, metric: str, definition: Definition
) -> Card | None:
    comparison = compare(winner, rival, metric, definition) if rival else None
    if comparison is None:
        return None
    if comparison.level:
        return Card("Against the baselines", "level", f"with {comparison.other.label}")
    side = "worse" if comparison.loses else "better"
    verb = "It loses to" if comparison.loses else "than"
    return Card(
        "Against the baselines",
        f"{percent(comparison.excess)} {side}",
        f"{verb} {comparison.other.label}",
        "bad" if comparison.loses else "good",
    )


def _limit(winner: Entry, limit: Entry | None, metric: str, definition: Definition) -> Card | None:
    comparison = compare(winner, limit, metric, definition) if limit else None
    if comparison is None:
        return None
    if comparison.level:
        return Card("To the ceiling", "level", f"with {comparison.other.label}")
    side = "above" if definition.better == "lower" else "below"
    if comparison.excess < 0:
        side = "below" if side == "above" else "above"
    return Card(
        "To the ceiling",
        percent(comparison.excess),
        f"{side} {comparison.other.label}",
    )


def _distilled(
    student: Entry, teacher: Entry | None, metric: str, definition: Definition
) -> Card | None:
    comparison = compare(student, teacher, metric, definition) if teacher else None
    if comparison is None or teacher is None:
        return None
    calls = ""
    if student.nfe and teacher.nfe:
        calls = f" at {student.nfe} network call{'s' if student.nfe > 1 else ''} of {teacher.nfe}"
    return Card(
        "Cost of distilling",
        signed_percent(comparison.change, 1),
        f"{definition.label} against its teacher{calls}",
        "good" if comparison.excess <= FAITHFUL else "bad",
    )


def _targets(winner: Entry, targets: Sequence[str], known: Mapping[str, Definition]) -> Card | None:
    pairs = [(known[name], winner.statistic(name).mean) for name in targets]
    pairs = [(definition, value) for definition, value in pairs if math.isfinite(value)]
    if not pairs:
        return None
    return Card(
        _joined([definition.label for definition, _ in pairs]),
        " / ".join(number(value, 3) for _, value in pairs),
        "target " + " / ".join(f"{definition.target:g}" for definition, _ in pairs),
    )


def _joined(labels: Sequence[str]) -> str:
    """Labels with the words they share named once: "coverage 50 % / 90 %"."""
    words = [label.split() for label in labels]
    shortest = min(map(len, words))
    lead = next((n for n in range(shortest) if len({w[n] for w in words}) > 1), 0)
    tail = (
        0 if lead else next((n for n in range(shortest) if len({w[-1 - n] for w in words}) > 1), 0)
    )
    middles = [" ".join(w[lead : len(w) - tail]) for w in words]
    parts = [*words[0][:lead], " / ".join(middles), *words[0][len(words[0]) - tail :]]
    text = " ".join(parts)
    return text[:1].upper() + text[1:]
