"""Static features and subgroups of records, from events without a time and the time of birth."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from meds import birth_code

from weir.artifacts.schema_file import Repair
from weir.errors import UserError
from weir.tasks.clinical.data.schema import Schema
from weir.tasks.clinical.preprocessing.labels import Labels
from weir.tasks.clinical.preprocessing.meds import STATIC, Events
from weir.tasks.clinical.preprocessing.vocabulary import finite, usual_range
from weir.tasks.clinical.settings.dataset import ClinicalDataset, Subgroups

YEAR = 365.25 * 24 * 3600e6
"""Microseconds."""

UNBORN = np.iinfo("int64").max
"""Time of a birth of which nothing is known, later than any prediction."""


@dataclass
class Statics:
    """Events without a time, of all subjects so far.

    Attributes:
        pieces: subject, provisional code and value of each.
        birth: `[subject]` int64 time of birth, the earliest one said, `UNBORN` for unknown.
    """

    birth: np.ndarray
    pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def take(self, events: Events, birth: int | None) -> Events:
        """Keep what is static, and births (of code `birth`); returns the other events."""
        static = events.time == STATIC
        if static.any():
            self.pieces.append((events.subject[static], events.code[static], events.value[static]))
        out = static
        if birth is not None:
            born = (events.code == birth) & ~static
            np.minimum.at(self.birth, events.subject[born], events.time[born])
            out = out | born
        return Events(*(column[~out] for column in events)) if out.any() else events

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Subject (int64), code (int64) and value (float32) of every static event."""
        if not self.pieces:
            return np.zeros(0, "int64"), np.zeros(0, "int64"), np.zeros(0, "float32")
        subject, code, value = map(np.concatenate, zip(*self.pieces, strict=True))
        return subject, code.astype("int64"), value


@dataclass(frozen=True)
class StaticFeatures:
    """Static features of all records.

    Attributes:
        names: see `schema.Schema.static`.
        mean: subtracted from each.
        sd: what each was divided by.
        low: least value let through of each, None for any.
        high: greatest value let through of each, None for any.
        values: `[record, static]` float32.
        groups: `[record]` int64 by subgrouping, 0 for unknown.
        group_names: names of the groups by subgrouping, the first for unknown.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    values: np.ndarray
    groups: dict[str, np.ndarray]
    group_names: dict[str, tuple[str, ...]]


def static_features(
    statics: Statics,
    labels: Labels,
    used: np.ndarray,
    names: list[str],
    config: ClinicalDataset,
    repairs: list[Repair],
) -> StaticFeatures:
    """Features by training records, and subgroups.

    A code given several times counts by the mean of its values. The age at the prediction, in
    years, is the value of the code of birth.

    Args:
        statics: what was found.
        labels: all records.
        used: `[record]` bool, those that are kept.
        names: of the provisional codes.
        config: `min_records`, `clip`, `subgroups`.
        repairs: what was clipped is added.

    Raises:
        UserError: no record is in any group of a subgrouping.
    """
    train = used & (labels.part[labels.subject] == 0)
    found = _by_code(statics, labels, names)
    columns: list[np.ndarray] = []
    rows: list[tuple[str, float, float, float | None, float | None]] = []
    clipped = 0
    for name in sorted(found):
        present, value = found[name]
        if (present & train).sum() < config.min_records:
            continue
        known = ~np.isnan(value)
        seen = value[known & train].astype("float64")
        if len(seen):
            low, high = -np.inf, np.inf
            if config.clip is not None:
                low, high = usual_range(seen, config.clip)
                drawn = np.clip(value, low, high)
                clipped += int(((drawn != value) & known & used).sum())
                value, seen = drawn, drawn[known & train].astype("float64")
            mean, sd = float(seen.mean()), float(seen.std()) or 1.0
            columns.append(np.where(known, (value - mean) / sd, 0))
            rows.append((name, mean, sd, finite(low), finite(high)))
            rows.append((f"{name} present", 0.0, 1.0, None, None))
        else:
            rows.append((name, 0.0, 1.0, None, None))
        columns.append(present)
    if clipped:
        repairs.append(Repair("clipped static", clipped, "values of records, drawn in"))
    groups, group_names = {}, {}
    for title, rule in config.subgroups.items():
        groups[title], group_names[title] = _groups(title, rule, found, len(train))
        if not groups[title][used].any():
            listed = ", ".join(sorted(found)[:20]) or "none"
            raise UserError(
                f"subgroups.{title}: no record has one of its static codes, but there are {listed};"
                f" fix `subgroups.{title}`"
            )
    values = np.stack(columns, 1) if columns else np.zeros((len(train), 0))
    described = zip(*rows, strict=True) if rows else ((),) * 5
    return StaticFeatures(*described, values.astype("float32"), groups, group_names)


def known_features(
    statics: Statics, labels: Labels, names: list[str], schema: Schema
) -> np.ndarray:
    """The static features of a schema, `[record, static]` float32, of records it was not made of.

    Args:
        statics: what was found.
        labels: all records.
        names: of the provisional codes.
        schema: of the data that a model was trained on.
    """
    found = _by_code(statics, labels, names)
    count = len(labels.prediction)
    nobody = np.zeros(count, bool), np.full(count, np.nan)
    values = np.zeros((count, len(schema.static)), "float32")
    for column, name in enumerate(schema.static):
        base = name.removesuffix(" present")
        present, value = found.get(base if base in schema.static else name, nobody)
        if f"{name} present" not in schema.static:
            values[:, column] = present
            continue
        low, high = schema.static_low[column], schema.static_high[column]
        drawn = np.clip(value, -np.inf if low is None else low, np.inf if high is None else high)
        drawn = (drawn - schema.static_mean[column]) / schema.static_sd[column]
        values[:, column] = np.where(np.isnan(value), 0, drawn)
    return values


def _by_code(
    statics: Statics, labels: Labels, names: list[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each static code, which records have it (`[record]` bool) and its value, NaN for none."""
    subject, code, value = statics.all()
    order = np.argsort(code, kind="stable")
    subject, value = subject[order], value[order].astype("float64")
    codes, first = np.unique(code[order], return_index=True)
    size, record = len(labels.subjects), labels.subject
    found = {}
    for i, who, what in zip(
        codes, np.split(subject, first[1:]), np.split(value, first[1:]), strict=False
    ):
        known = ~np.isnan(what)
        count = np.bincount(who[known], minlength=size)
        total = np.bincount(who[known], what[known], size)
        mean = np.where(count, total / np.maximum(count, 1), np.nan)
        present = np.bincount(who, minlength=size) > 0
        found[names[i]] = present[record], mean[record]
    # A birth after the prediction is not known then.
    birth = statics.birth[record]
    known = birth <= labels.prediction
    if known.any():
        age = np.where(known, (labels.prediction - np.where(known, birth, 0)) / YEAR, np.nan)
        found[birth_code] = known, age
    return found


def _groups(
    title: str, rule: Subgroups, found: dict[str, tuple[np.ndarray, np.ndarray]], records: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Group of each record, `[record]` int64, and the groups' names."""
    group = np.zeros(records, "int64")
    if rule.code is not None:
        edges = rule.edges or []
        names = [f"below {edges[0]:g}"]
        names += [f"{a:g} to {b:g}" for a, b in pairwise(edges)]
        names.append(f"{edges[-1]:g} and above")
        if rule.code in found:
            value = found[rule.code][1]
            known = ~np.isnan(value)
            group[known] = np.searchsorted(edges, value[known], side="right") + 1
        return group, ("unknown", *names)
    if rule.codes is not None:
        codes = rule.codes
        names = codes
    else:
        assert rule.prefix is not None
        codes = sorted(code for code in found if code.startswith(rule.prefix))
        names = [code.removeprefix(rule.prefix) for code in codes]
    for number, code in enumerate(codes, 1):
        if code in found:
            group[found[code][0] & (group == 0)] = number
    return group, ("unknown", *names)
