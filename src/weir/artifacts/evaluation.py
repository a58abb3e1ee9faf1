"""Evaluations: what a task found, what the evaluate stage writes of it, and the report reads.

A folder `results/evaluate/<run>/` holds `metrics.json`, `curve.csv` and `details` with
`evaluation.json` and small tables (`*.parquet`). The document is the same for every task; which
tables lie beside it is the task's affair, and only its own figures look into them. Times that were
measured are no part of it: they go into the run's provenance, and come back when it is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from weir.artifacts.description import Field
from weir.errors import UserError, WeirError

DOCUMENT, METRICS, CURVE = "details/evaluation.json", "metrics.json", "curve.csv"

KINDS = (
    "student",
    "teacher",
    "joint",
    "ensemble",
    "head",
    "stage1",
    "baseline",
    "ceiling",
)
"""What was evaluated, in the order in which the report lists kinds."""

POOLS = ("mean", "median")
"""How scores of several held-out groups become one."""

MISSING = float("nan")

KEYS = (
    Field("name", "text", "the run: node, fold and seed"),
    Field("node", "text", "the evaluate node"),
    Field("seed", "whole number or null", "of the run, null where it has none", False),
    Field("fold", "text or null", "the held-out group, null where there is none", False),
    Field("task", "text", "kind of data"),
    Field("dataset", "text", "the dataset node"),
    Field("kind", "text", f"what was evaluated: {', '.join(KINDS)}"),
    Field("label", "text", "name in the report", False),
    Field("model", "text", "the node evaluated, `section/name`", False),
    Field("headline", "text", "the metric that models are ranked by", False),
    Field("metrics", "mapping", "scores by name: means over the items of the split"),
    Field(
        "definitions",
        "mapping",
        "of each metric: `label`, `definition`, `scale`, `better` (lower, higher or the value of "
        "a perfect model) and, where the task says, `pool` (mean or median)",
    ),
    Field("protocol", "mapping", "what was scored, and how", False),
    Field("nfe", "whole number or null", "network calls for a sample, null if unknown", False),
    Field(
        "quality_curve",
        "list",
        "points of quality against cost: `steps`, `nfe`, some metrics",
        False,
    ),
    Field(
        "families",
        "mapping",
        "`protocol` and `nfe` of each thing that a model was scored for; absent where there is one",
        False,
    ),
    Field("lineage", "mapping", "settings of the node and of all above it, by section", False),
)
"""Keys of `evaluation.json`."""

TIMES = (
    Field("latency_ms", "number or null", "time of one item with all its samples", False),
    Field("seconds", "number or null", "time of the whole split", False),
    Field("quality_curve", "list", "the same two of each point, in the same order", False),
    Field("families", "mapping", "the same two of each", False),
)
"""Keys of `times` in an evaluation's provenance."""

MEASURED = ("latency_ms", "seconds")


@dataclass(frozen=True)
class Definition:
    """What a metric is: the words printed beside its numbers.

    `better` is "lower", "higher", or the value that a perfect model reaches (coverage, say).
    `pool` says how the held-out groups of one seed become one number: "mean", which it is as well
    where nothing is said, or "median".
    """

    label: str
    definition: str
    scale: str
    better: str | float
    pool: str | None = None

    def document(self) -> dict[str, Any]:
        """As `evaluation.json` has it."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def target(self) -> float | None:
        """The value to hit, for a metric that is neither to be small nor to be large."""
        return None if isinstance(self.better, str) else self.better

    @property
    def heading(self) -> str:
        """The label as it begins a line: "energy score" -> "Energy score"."""
        return self.label[:1].upper() + self.label[1:]

    def badness(self, value: float) -> float:
        """A number that is smaller for a better `value`; infinite where it is missing."""
        if not math.isfinite(value):
            return math.inf
        if self.target is not None:
            return abs(value - self.target)
        return value if self.better == "lower" else -value


@dataclass(frozen=True)
class Cost:
    """How one thing that a model does was scored, and what it took; see `Evaluation`."""

    protocol: Mapping[str, Any]
    nfe: int | None = None
    latency_ms: float = MISSING
    seconds: float = MISSING


@dataclass(frozen=True, eq=False)
class Scored:
    """What a task found of a model: the task's part of an evaluation.

    Attributes:
        headline: the metric that models are ranked by.
        metrics: scores by name.
        definitions: of every metric.
        protocol: what was scored, and how.
        curve: what `dvc plots` draws; columns even where there is no row.
        nfe: network calls for one sample; None if nobody knows before.
        latency_ms: time of one item with all its samples; `MISSING` if it was not taken.
        seconds: time of the whole split; the same.
        quality_curve: points of quality against cost; none without a number of steps.
        families: of a model that does several things, each one's cost.
        kind: see `KINDS`, where the model's section does not tell it.
        tables: by the name of their file.
        files: writers of other files, by name.
    """

    headline: str
    metrics: Mapping[str, float]
    definitions: Mapping[str, Definition]
    protocol: Mapping[str, Any]
    curve: pd.DataFrame
    nfe: int | None = None
    latency_ms: float = MISSING
    seconds: float = MISSING
    quality_curve: Sequence[Mapping[str, Any]] = ()
    families: Mapping[str, Cost] = field(default_factory=dict)
    kind: str | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluated run: a node of `evaluate` with one seed, on one held-out group.

    `fold` is the name of that group, None where the dataset holds no groups out.
    `metrics` are means over the items of the split, `nfe` counts network calls for one sample,
    `latency_ms` is the time of one item with all its samples, `seconds` that of the whole split.
    `families` gives the cost of each thing that the model was scored for, if there are several; see
    `TaskFigures`. `model` is the node evaluated, `headline` the metric that ranks it.
    """

    name: str
    node: str
    seed: int | None
    task: str
    dataset: str
    kind: str
    label: str
    metrics: Mapping[str, float]
    definitions: Mapping[str, Definition]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    nfe: int | None = None
    latency_ms: float = MISSING
    seconds: float = MISSING
    quality_curve: tuple[Mapping[str, Any], ...] = ()
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    fold: str | None = None
    families: Mapping[str, Cost] = field(default_factory=dict)
    model: str = ""
    headline: str = ""

    @classmethod
    def of(cls, scored: Scored, *, kind: str, **identity: Any) -> Evaluation:
        """What a task found, with what identifies the run: `name`, `node`, `seed`, ...

        Args:
            scored: by the task.
            kind: what the model's section counts as.
            identity: the other fields.
        """
        return cls(
            kind=scored.kind or kind,
            headline=scored.headline,
            metrics=scored.metrics,
            definitions=scored.definitions,
            protocol=scored.protocol,
            nfe=scored.nfe,
            latency_ms=scored.latency_ms,
            seconds=scored.seconds,
            quality_curve=tuple(scored.quality_curve),
            families=scored.families,
            tables=scored.tables,
            **identity,
        )

    def document(self) -> dict[str, Any]:
        """The contents of `evaluation.json`."""
        found: dict[str, Any] = {key.name: getattr(self, key.name) for key in KEYS}
        found["metrics"] = dict(self.metrics)
        found["definitions"] = {name: one.document() for name, one in self.definitions.items()}
        found["quality_curve"] = [_without_times(point) for point in self.quality_curve]
        found["families"] = {
            name: _without_times(asdict(cost)) for name, cost in self.families.items()
        }
        if not found["families"]:
            del found["families"]
        return found

    def times(self) -> dict[str, Any]:
        """What was measured, for the run's provenance; null where a time was not taken."""
        return {
            **_times(vars(self)),
            "quality_curve": [_times(point) for point in self.quality_curve],
            "families": {name: _times(asdict(cost)) for name, cost in self.families.items()},
        }

    def under(self, family: str) -> Evaluation:
        """The same with a family's own protocol and cost, for a model that does several things."""
        own = self.families.get(family)
        if own is None:
            return self
        return replace(
            self,
            protocol=own.protocol,
            nfe=own.nfe,
            latency_ms=own.latency_ms,
            seconds=own.seconds,
        )


def save_evaluation(output: Path, evaluation: Evaluation, scored: Scored) -> None:
    """Write `metrics.json`, `curve.csv` and the folder `details` into an existing folder.

    Raises:
        WeirError: a field is not what it should be, or a number is NaN or infinite.
    """
    file = output / DOCUMENT
    document = evaluation.document()
    parse_evaluation(document, where=str(file))
    if evaluation.headline not in evaluation.metrics:
        raise WeirError(f"{file}: headline is {evaluation.headline!r}, which is no metric")
    if not len(scored.curve.columns):
        raise WeirError(f"{output / CURVE}: the task's curve has no columns")
    for key, value in document.items():
        if not _finite(value):
            raise WeirError(f"{file}: {key}: a number is NaN or infinite")
    file.parent.mkdir(exist_ok=True)
    scored.curve.to_csv(output / CURVE, index=False)
    for name, table in evaluation.tables.items():
        table.to_parquet(file.parent / f"{name}.parquet", index=False)
    for name, write in scored.files.items():
        write(file.parent / name)
    _write(file, document)
    _write(output / METRICS, document["metrics"])


def load_evaluation(folder: Path, times: Mapping[str, Any] | None = None) -> Evaluation:
    """Read `evaluation.json` and every `*.parquet` of a folder.

    Args:
        folder: `details` of a run.
        times: that its provenance has; without them, times are missing.

    Raises:
        UserError: the document is absent or damaged, or a table is.
    """
    path = folder / "evaluation.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no evaluation: {path} is absent; run the evaluate stage first") from None
    except json.JSONDecodeError as error:
        raise UserError(f"damaged evaluation: {path}: {error}; evaluate again") from None
    tables = {table.stem: _table(table) for table in sorted(folder.glob("*.parquet"))}
    try:
        return parse_evaluation(_timed(document, times or {}), tables, where=str(path))
    except WeirError as error:
        raise UserError(f"{error}; evaluate again") from None


def parse_evaluation(
    document: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame] | None = None,
    where: str = "evaluation.json",
) -> Evaluation:
    """Check a document and give its fields their types; a null number is a missing one.

    It may have times, and provenance, among its keys.

    Raises:
        WeirError: a field is absent or has a value outside its choices.
    """
    if not isinstance(document, Mapping):
        raise WeirError(f"damaged evaluation: {where}: is no mapping")
    for key in {key.name: key for key in (*TIMES, *KEYS)}.values():
        if wrong := key.problem(document):
            raise WeirError(f"damaged evaluation: {where}: {wrong}")
    if document["kind"] not in KINDS:
        raise WeirError(
            f"unknown kind {document['kind']!r}: {where}; known kinds: {', '.join(KINDS)}"
        )
    undefined = sorted(set(document["metrics"]) - set(document["definitions"]))
    if undefined:
        raise WeirError(f"metrics without a definition: {where}: {', '.join(undefined)}")
    return Evaluation(
        name=document["name"],
        node=document["node"],
        seed=document.get("seed"),
        task=document["task"],
        dataset=document["dataset"],
        kind=document["kind"],
        label=document.get("label") or document["node"],
        metrics={
            name: _number(value, f"{where}: metrics.{name}")
            for name, value in document["metrics"].items()
        },
        definitions={
            name: _definition(value, f"{where}: {name}")
            for name, value in document["definitions"].items()
        },
        protocol=document.get("protocol") or {},
        nfe=document.get("nfe"),
        latency_ms=_number(document.get("latency_ms")),
        seconds=_number(document.get("seconds")),
        quality_curve=tuple(
            _point(point, f"{where}: quality_curve")
            for point in document.get("quality_curve") or ()
        ),
        lineage=document.get("lineage") or {},
        provenance=document.get("provenance") or {},
        tables=dict(tables or {}),
        fold=document.get("fold"),
        families={
            name: _cost(value, f"{where}: families.{name}")
            for name, value in (document.get("families") or {}).items()
        },
        model=document.get("model") or "",
        headline=document.get("headline") or "",
    )


def _times(values: Mapping[str, Any]) -> dict[str, float | None]:
    """What was measured among some values; null where it is not a finite number."""
    found = {key: values.get(key) for key in MEASURED}
    return {
        key: None if value is None or not math.isfinite(value) else value
        for key, value in found.items()
    }


def _without_times(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in MEASURED}


def _timed(document: Any, times: Mapping[str, Any]) -> Any:
    """A document with the times of its provenance where these belong."""
    if not isinstance(document, Mapping):
        return document  # which the check says
    found = {**document, **{key: times.get(key) for key in MEASURED}}
    points, known = document.get("quality_curve"), times.get("quality_curve") or ()
    if isinstance(points, list) and len(points) == len(known):
        pairs = zip(points, known, strict=True)
        found["quality_curve"] = [{**point, **time} for point, time in pairs]
    families, known = document.get("families"), times.get("families") or {}
    if isinstance(families, Mapping):
        found["families"] = {
            name: {**cost, **known.get(name, {})} for name, cost in families.items()
        }
    return found


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> bool:
    """Whether all numbers within a JSON value are finite."""
    if isinstance(value, Mapping):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def _table(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"damaged evaluation: {file}: {reason}; evaluate again") from None


def _number(value: Any, where: str = "") -> float:
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WeirError(f"damaged evaluation: {where} is {value!r}, not a number")
    return float(value)


def _point(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise WeirError(f"damaged evaluation: {where} has a point that is no mapping")
    return {key: _number(item, f"{where}.{key}") for key, item in value.items()}


def _cost(value: Any, where: str) -> Cost:
    if not isinstance(value, Mapping) or not isinstance(value.get("protocol"), Mapping):
        raise WeirError(f"damaged evaluation: {where}: lacks protocol")
    return Cost(
        value["protocol"],
        value.get("nfe"),
        _number(value.get("latency_ms"), f"{where}.latency_ms"),
        _number(value.get("seconds"), f"{where}.seconds"),
    )


def _definition(value: Any, where: str) -> Definition:
    if not isinstance(value, Mapping) or not isinstance(value.get("label"), str):
        raise WeirError(f"bad definition of a metric: {where}: lacks label")
    better = value.get("better")
    if not isinstance(better, int | float) and better not in ("lower", "higher"):
        raise WeirError(
            f'bad definition of a metric: {where}: better is {better!r}, not "lower", "higher" '
            "or the target value"
        )
    pool = value.get("pool")
    if pool is not None and pool not in POOLS:
        raise WeirError(
            f"bad definition of a metric: {where}: pool is {pool!r}, not {' or '.join(POOLS)}"
        )
    return Definition(
        label=value["label"],
        definition=value.get("definition", ""),
        scale=value.get("scale", ""),
        better=better if isinstance(better, str) else float(better),
        pool=pool,
    )
