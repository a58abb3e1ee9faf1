"""Settings of clinical records, a `datasets` node with `task: clinical`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    Tag,
    model_validator,
)

from weir.settings.base import Config
from weir.settings.source import Files, Simulated, source_kind
from weir.tasks.clinical.settings.simulator import Simulation

GroupingName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=40)]

SUBJECT_SPLITS = "metadata/subject_splits.parquet"
"""Where MEDS keeps the split of each subject."""


Source = Annotated[
    Annotated[Files, Tag("files")] | Annotated[Simulated[Simulation], Tag("simulator")],
    Discriminator(source_kind),
]


class PatientFiles(Config):
    """The older form: one Parquet file for each patient, and CSV files beside them."""

    outcomes: str = Field("outcomes.csv", description="CSV with one row a patient.")
    subject: str = Field("subject_id", description="Its column of the patients' file names.")
    split: str | None = Field(
        "split", description="Its column of `train`, `tuning` or `held_out`; null with `splits`."
    )
    prediction_hours: PositiveFloat = Field(
        48.0, description="When the outcome is predicted, hours after minute 0."
    )
    statistics: str | None = Field(
        None, description="CSV of `variable`, `mean`, `std`: checked, and computed again."
    )


class Subgroups(Config):
    """Groups of records by static events; exactly one of `codes`, `prefix` and `code`."""

    codes: list[str] | None = Field(None, min_length=1, description="Each code is a group.")
    prefix: str | None = Field(
        None, min_length=1, description="Each static code that begins with this is a group."
    )
    code: str | None = Field(None, description="Groups by the value of this code.")
    edges: list[float] | None = Field(
        None, min_length=1, description="Ascending limits between those groups."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if sum(rule is not None for rule in (self.codes, self.prefix, self.code)) != 1:
            raise ValueError("give exactly one of `codes`, `prefix` and `code`")
        if (self.code is None) != (self.edges is None):
            raise ValueError("`code` and `edges` belong together")
        if self.edges is not None and sorted(set(self.edges)) != self.edges:
            raise ValueError("edges must ascend")
        if self.codes is not None and len(set(self.codes)) < len(self.codes):
            raise ValueError("codes names a code twice")
        return self


class ClinicalDataset(Config):
    """Irregular events of patients (MEDS), with an outcome at prediction times."""

    task: Literal["clinical"] = Field(description="The kind of data.")
    source: Source = Field(description="Where the raw files come from.")
    format: Literal["meds", "patient_files"] = Field("meds", description="Form of the raw files.")
    patient_files: PatientFiles | None = Field(
        None, description="Where things are in `format: patient_files`; null: the defaults."
    )
    outcome: str = Field(
        min_length=1, description="Folder below `tasks/` with the labels (yes or no)."
    )
    splits: list[str] | None = Field(
        None,
        min_length=1,
        description="Parquet files of `subject_id` and `split`; each is one fold. null: "
        f"{SUBJECT_SPLITS}.",
    )
    set_minutes: PositiveFloat | None = Field(
        None, description="Events of bins that wide make a set; null: of equal time stamps."
    )
    lookback_hours: PositiveFloat | None = Field(
        None, description="Only events at most that long before the prediction; null: all."
    )
    max_sets: PositiveInt | None = Field(
        None, description="Keep that many sets of a record, the latest; null: all."
    )
    min_records: PositiveInt = Field(
        10, description="Training records that a code must be seen in; others become unknown."
    )
    clip: NonNegativeFloat | None = Field(
        1.0,
        description="How far values may lie outside the range of the 1st to 99th percentile of "
        "the code's training values, in widths of that range; those beyond are drawn in. null: "
        "any.",
    )
    infinite: Literal["error", "missing"] = Field(
        "error", description="Values that are infinite: refuse, or keep the event without them."
    )
    unlabelled: Literal["error", "drop"] = Field(
        "error", description="Subjects of a split without a label: refuse, or leave out."
    )
    without_events: Literal["error", "drop"] = Field(
        "error", description="Labelled subjects that the data does not have: refuse, or leave out."
    )
    subgroups: dict[GroupingName, Subgroups] = Field(
        default_factory=dict, description="Groups of records that results are told apart for."
    )

    @property
    def split_files(self) -> tuple[str, ...]:
        """Files of splits, relative to the raw folder."""
        return (SUBJECT_SPLITS,) if self.splits is None else tuple(self.splits)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the splits, each a fold of its own; none for MEDS's own one."""
        return tuple(PurePosixPath(file).stem for file in self.splits or ())

    def fold(self, number: int) -> ClinicalDataset:
        """The settings of one fold, counted from 0."""
        assert self.splits is not None
        return self.model_copy(update={"splits": [self.splits[number]]})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.folds)) < len(self.folds):
            raise ValueError("two files of splits have one name; rename one")
        if isinstance(self.source, Files):
            missing = [file for file in self.splits or () if file not in self.source.hashes]
            if missing:
                raise ValueError(f"splits names {missing[0]!r}, which is not among source.sha256")
        if self.format == "meds" and self.patient_files is not None:
            raise ValueError("`patient_files` is only for `format: patient_files`")
        if self.format == "patient_files" and not isinstance(self.source, Files):
            raise ValueError("a simulator makes MEDS; leave `format` at meds")
        return self
