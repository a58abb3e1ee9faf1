"""Schema of a processed set of clinical records: the typed contents of `schema.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from weir.artifacts.schema_file import Repair, SchemaFile

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

LAW = ("law.json", "law.parquet", "law_severity.npy")
"""Files of the law of simulated records, in their raw and processed folders."""


@dataclass(frozen=True)
class Code:
    """A kind of timed event, described by the training records.

    Attributes:
        name: as in the raw data.
        description: for people; empty if there is none.
        mean: of its values, clinical units, each event counted once; 0 if it never has one.
        sd: standard deviation (population) of its values; 1 if it never has one or they are equal.
        values: events with a value.
        records: records that have it.
        low: least value let through, None for any; values below became it.
        high: greatest value let through, None for any; values above became it.
    """

    name: str
    description: str
    mean: float
    sd: float
    values: int
    records: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Schema(SchemaFile):
    """A processed set of clinical records.

    Attributes:
        task: `clinical`.
        codes: number 1 is the first; 0 stands for all that training records do not have.
        static: names of the static features: `SEX//F` where a code without values is there or
            not; `Age` and `Age present` for one with values, the first standardised and 0 where
            there is none.
        static_mean: of each static feature over the training records, what was subtracted; 0 for
            those that are 0 or 1.
        static_sd: what each was divided by; 1 for those that are 0 or 1.
        outcome: name of the outcome.
        prevalence: share of the training records with the outcome.
        records: number of records of each part.
        events: stored events.
        sets: stored sets.
        subgroups: by name, the groups that a record can be in; the first stands for unknown.
        set_minutes: width of the bins whose events make a set, None for equal time stamps.
        horizon_hours: longest time from a training record's origin to its prediction.
        fold: name of the split, None if the dataset has one.
        simulated: whether the folder holds the law that the records were drawn from.
        repairs: what was changed, in order.
        source_sha256: SHA-256 over the names and SHA-256s of the raw files.
        digest: SHA-256 of the folder's arrays.
        static_low: least value let through of each static feature, None for any.
        static_high: greatest value let through of each static feature, None for any.
        lookback_hours: how far back a record sees, None for all of it.
        max_sets: most sets of a record, None for any number.
        infinite: whether infinite values were refused (`error`) or taken as `missing`.
    """

    task: Literal["clinical"]
    codes: tuple[Code, ...]
    static: tuple[str, ...]
    static_mean: tuple[float, ...]
    static_sd: tuple[float, ...]
    outcome: str
    prevalence: float
    records: dict[Part, int]
    events: int
    sets: int
    subgroups: dict[str, tuple[str, ...]]
    set_minutes: float | None
    horizon_hours: float
    fold: str | None
    simulated: bool
    repairs: tuple[Repair, ...]
    source_sha256: str
    digest: str
    static_low: tuple[float | None, ...]
    static_high: tuple[float | None, ...]
    lookback_hours: float | None
    max_sets: int | None
    infinite: Literal["error", "missing"]
