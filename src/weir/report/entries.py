"""Evaluations gathered over folds and seeds, ranked, and compared in plain words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weir.artifacts.evaluation import KINDS, MISSING, Definition, Evaluation
from weir.errors import WeirError


@dataclass(frozen=True)
class Statistic:
    """Mean and sample standard deviation over seeds; missing where they cannot be known."""

    mean: float
    std: float
    count: int

    @property
    def known(self) -> bool:
        return math.isfinite(self.mean)


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of a results table: an evaluated node with its runs, by seed and then by fold."""

    node: str
    label: str
    kind: str
    runs: tuple[Evaluation, ...]

    @property
    def first(self) -> Evaluation:
        """The run whose examples are drawn: of the smallest seed, never of the best score."""
        return self.runs[0]

    @property
    def contender(self) -> bool:
        """Whether this is a model of ours rather than a yardstick."""
        return self.kind not in ("baseline", "ceiling")

    @property
    def seeds(self) -> int:
        """How many seeds it was repeated for; an unseeded node counts as one."""
        return len({run.seed for run in self.runs})

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the held-out groups; empty where there are none."""
        return tuple(dict.fromkeys(run.fold for run in self.runs if run.fold is not None))

    def statistic(self, metric: str) -> Statistic:
        """Mean and spread over seeds of a metric, which is first pooled over folds in each seed.

        If one run lacks the number, so does the mean: an average over the runs that did not fail
        would flatter.
        """
        return summarise(self.by_seed(metric))

    def across(self, metric: str) -> float:
        """Standard deviation (n - 1) over folds of a metric, averaged over seeds in each fold.

        Missing with fewer than two folds, or where a run lacks the number.
        """
        folds: dict[str | None, list[float]] = {}
        for run in self.runs:
            folds.setdefault(run.fold, []).append(run.metrics.get(metric, MISSING))
        return summarise([statistics.fmean(values) for values in folds.values()]).std

    def by_seed(self, metric: str) -> list[float]:
        """A metric in each seed, pooled over the seed's folds."""
        return self.pooled(metric, lambda run: run.metrics.get(metric, MISSING))

    def pooled(self, metric: str, value: Callable[[Evaluation], float]) -> list[float]:
        """What `value` gives of each run, pooled in each seed as the definition of `metric` says.

        Missing for a seed that lacks a number, or a fold that another seed has.
        """
        definition = definitions([self]).get(metric)
        middle = (
            statistics.median if definition and definition.pool == "median" else (statistics.fmean)
        )
        seeds: dict[int | None, dict[str | None, float]] = {}
        for run in self.runs:
            seeds.setdefault(run.seed, {})[run.fold] = value(run)
        most = len({run.fold for run in self.runs})
        return [
            middle(folds.values())
            if len(folds) == most and all(map(math.isfinite, folds.values()))
            else MISSING
            for folds in seeds.values()
        ]

    @property
    def nfe(self) -> int | None:
        return self.first.nfe

    @property
    def latency_ms(self) -> float:
        return summarise([run.latency_ms for run in self.runs]).mean

    @property
    def seconds(self) -> float:
        return summarise([run.seconds for run in self.runs]).mean


def summarise(values: Sequence[float]) -> Statistic:
    """Mean and standard deviation (n - 1) of values; one value has no spread."""
    if not values or not all(math.isfinite(value) for value in values):
        return Statistic(MISSING, MISSING, len(values))
    std = statistics.stdev(values) if len(values) > 1 else MISSING
    return Statistic(statistics.fmean(values), std, len(values))


def entries(evaluations: Iterable[Evaluation]) -> list[Entry]:
    """Gather the runs of each node, by kind and then by name; equal labels get their node's.

    Raises:
        WeirError: two evaluations of a node have the same seed and held-out group.
    """
    nodes: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        nodes.setdefault(evaluation.node, []).append(evaluation)
    labels = [runs[0].label for runs in nodes.values()]
    gathered = []
    for node, runs in nodes.items():
        if len({(run.seed, run.fold) for run in runs}) < len(runs):
            raise WeirError(f"{node}: has two evaluations of one seed and held-out group")
        ordered = sorted(
            runs, key=lambda run: (-1 if run.seed is None else run.seed, _natural(run))
        )
        label = ordered[0].label
        if labels.count(label) > 1:
            label = f"{label} ({node})"
        gathered.append(Entry(node, label, ordered[0].kind, tuple(ordered)))
    return sorted(gathered, key=lambda entry: (KINDS.index(entry.kind), entry.node))


def _natural(run: Evaluation) -> tuple[int, str]:
    """Sorts names by length and then by letters, so that fold 2 comes before fold 10."""
    return len(run.name), run.name


def definitions(rows: Iterable[Entry]) -> dict[str, Definition]:
    """Definitions of all metrics that occur, in the order in which they were first given."""
    found: dict[str, Definition] = {}
    for row in rows:
        for run in row.runs:
            for metric, definition in run.definitions.items():
                found.setdefault(metric, definition)
    return found


def ranked(rows: Iterable[Entry], metric: str, definition: Definition) -> list[Entry]:
    """Rows from best to worst in a metric; those without the number come last."""
    return sorted(rows, key=lambda row: definition.badness(row.statistic(metric).mean))


def best(rows: Iterable[Entry], metric: str, definition: Definition) -> Entry | None:
    """The best row that has the number, or None."""
    known = [row for row in rows if row.statistic(metric).known]
    return ranked(known, metric, definition)[0] if known else None


def featured(
    rows: Sequence[Entry], metric: str, definition: Definition, per_kind: int = 1
) -> list[Entry]:
    """The best few rows of each kind, for figures that cannot show all."""
    chosen = []
    for kind in KINDS:
        chosen += ranked([row for row in rows if row.kind == kind], metric, definition)[:per_kind]
    return chosen


@dataclass(frozen=True)
class Comparison:
    """How `subject` does against `other` in one metric.

    `excess` is the relative change that counts as worse if positive. `level` says that the
    difference is smaller than the larger of the two spreads over seeds.
    """

    subject: Entry
    other: Entry
    metric: str
    definition: Definition
    excess: float
    level: bool

    @property
    def change(self) -> float:
        """Relative change of the number itself; of a score that should be high, a rise is good."""
        return -self.excess if self.definition.better == "higher" else self.excess

    @property
    def loses(self) -> bool:
        return self.excess > 0 and not self.level

    @property
    def wins(self) -> bool:
        return self.excess < 0 and not self.level


def compare(subject: Entry, other: Entry, metric: str, definition: Definition) -> Comparison | None:
    """Compare two rows; None if either lacks the number or the scale has no zero to divide by."""
    ours, theirs = subject.statistic(metric), other.statistic(metric)
    if not (ours.known and theirs.known) or definition.target is not None or theirs.mean == 0:
        return None
    difference = definition.badness(ours.mean) - definition.badness(theirs.mean)
    spread = max((s.std for s in (ours, theirs) if math.isfinite(s.std)), default=0.0)
    level = difference == 0 or abs(difference) < spread
    return Comparison(subject, other, metric, definition, difference / abs(theirs.mean), level)
