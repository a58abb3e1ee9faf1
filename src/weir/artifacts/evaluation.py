"""Evaluation folders: what `weir evaluate` writes for one run and the report reads.

A folder `results/evaluate/<run>/` holds `evaluation.json` and small tables (`*.parquet`). The
document is the same for every task; which tables lie beside it is the task's affair, and only its
own figures look into them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from weir.errors import UserError, WeirError

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


@dataclass(frozen=True)
class Definition:
    """What a metric is: the words printed beside its numbers.

    `better` is "lower", "higher", or the value that a perfect model reaches (coverage, say).
    `pool` says how the held-out groups of one seed become one number: "mean" or "median".
    """

    label: str
    definition: str
    scale: str
    better: str | float
    pool: str = "mean"

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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluated run: a node of `evaluate` with one seed, on one held-out group.

    `fold` is the name of that group, None where the dataset holds no groups out.
    `metrics` are means over the items of the split, `nfe` counts network calls for one sample,
    `latency_ms` is the time of one item with all its samples, `seconds` that of the whole split.
    `families` gives protocol, nfe, latency_ms and seconds of each thing that the model was scored
    for, if there are several; see `TaskFigures`.
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
    quality_curve: tuple[Mapping[str, float], ...] = ()
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    fold: str | None = None
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def under(self, family: str) -> Evaluation:
        """The same with a family's own protocol and cost, for a model that does several things."""
        own = self.families.get(family)
        if own is None:
            return self
        return replace(
            self,
            protocol=own["protocol"],
            nfe=own.get("nfe"),
            latency_ms=_number(own.get("latency_ms")),
            seconds=_number(own.get("seconds")),
        )


def load_evaluation(folder: Path) -> Evaluation:
    """Read `evaluation.json` and every `*.parquet` of a folder.

    Raises:
        UserError: the document is absent, is not JSON, or lacks a field.
    """
    path = folder / "evaluation.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no evaluation: {path} is absent; run the evaluate stage first") from None
    except json.JSONDecodeError as error:
        raise UserError(f"damaged evaluation: {path}: {error}; evaluate again") from None
    tables = {table.stem: pd.read_parquet(table) for table in sorted(folder.glob("*.parquet"))}
    return parse_evaluation(document, tables, where=str(path))


def parse_evaluation(
    document: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame] | None = None,
    where: str = "evaluation.json",
) -> Evaluation:
    """Check a document and give its fields their types; a null number is a missing one.

    Raises:
        WeirError: a field is absent or has a value outside its choices.
    """
    absent = [
        key
        for key in ("name", "node", "task", "dataset", "kind", "metrics", "definitions")
        if key not in document
    ]
    if absent:
        raise WeirError(f"incomplete evaluation: {where} lacks {', '.join(absent)}")
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
        metrics={name: _number(value) for name, value in document["metrics"].items()},
        definitions={
            name: _definition(value, f"{where}: {name}")
            for name, value in document["definitions"].items()
        },
        protocol=document.get("protocol") or {},
        nfe=document.get("nfe"),
        latency_ms=_number(document.get("latency_ms")),
        seconds=_number(document.get("seconds")),
        quality_curve=tuple(
            {key: _number(value) for key, value in point.items()}
            for point in document.get("quality_curve") or ()
        ),
        lineage=document.get("lineage") or {},
        provenance=document.get("provenance") or {},
        tables=dict(tables or {}),
        fold=document.get("fold"),
        families=document.get("families") or {},
    )


def _number(value: float | None) -> float:
    return MISSING if value is None else float(value)


def _definition(value: Mapping[str, Any], where: str) -> Definition:
    better = value.get("better")
    if not isinstance(better, int | float) and better not in ("lower", "higher"):
        raise WeirError(
            f'bad definition of a metric: {where}: better is {better!r}, not "lower", "higher" '
            "or the target value"
        )
    pool = value.get("pool", "mean")
    if pool not in POOLS:
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
