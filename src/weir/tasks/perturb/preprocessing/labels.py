"""Labels of each cell from the columns of `obs`: condition, dose, cell type, batch, section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import Repairable, UserError
from weir.tasks.perturb.data.schema import Condition
from weir.tasks.perturb.preprocessing.reading import RawCells, column
from weir.tasks.perturb.settings.dataset import Columns, PerturbDataset

ROLES = ("perturbation", "dose", "cell_type", "batch", "section")


@dataclass
class Labels:
    """The cells to be used, in the order of the file.

    Attributes:
        rows: `[cell]` int64 numbers of the cells in the file.
        condition: `[cell]` int64, number in `conditions`.
        conditions: the control first, then by name and dose.
        cell_type, batch, section: `[cell]` str; `""` throughout if not mapped.
        repairs: what was left out.
    """

    rows: np.ndarray
    condition: np.ndarray
    conditions: list[Condition]
    cell_type: np.ndarray
    batch: np.ndarray
    section: np.ndarray
    repairs: list[ColumnRepair]

    def keep(self, mask: np.ndarray) -> None:
        """Keep some cells, and the conditions they have."""
        for name in ("rows", "condition", "cell_type", "batch", "section"):
            setattr(self, name, getattr(self, name)[mask])
        present = np.unique(np.append(self.condition, 0))
        self.conditions = [self.conditions[i] for i in present]
        self.condition = np.searchsorted(present, self.condition)


def read_labels(cells: RawCells, config: PerturbDataset) -> Labels:
    """Read the mapped columns.

    Raises:
        UserError: a column is absent or has missing values, no cell is a control, a dose is no
            positive number, or a combination has an empty part; one line.
    """
    obs = config.obs
    values, present, repairs = read_columns(cells, config)
    rows = np.flatnonzero(present)
    if not len(rows):
        raise UserError(f"{cells.file}: no cell has a value in every mapped column; fix `obs`")
    condition, conditions = _conditions(cells, values, rows, obs)
    empty = np.full(len(rows), "", dtype=object)
    names = {
        role: text_of(values[role].iloc[rows]) if role in values else empty
        for role in ("cell_type", "batch", "section")
    }
    if not (condition == 0).any():
        raise no_control(cells, values["perturbation"], obs)
    return Labels(rows, condition, conditions, repairs=repairs, **names)


def read_columns(
    cells: RawCells, config: PerturbDataset, roles: Sequence[str] = ROLES
) -> tuple[dict[str, pd.Series], np.ndarray, list[ColumnRepair]]:
    """Columns of some roles where mapped, and which cells `[cell]` bool have a value in each.

    Raises:
        UserError: a column is absent, or has missing values that are not to be dropped; one line.
    """
    obs = config.obs
    values = {
        role: column(cells, role, name)
        for role in roles
        if (name := getattr(obs, role)) is not None
    }
    repairs: list[ColumnRepair] = []
    present = np.ones(len(cells.obs), bool)
    for role, series in values.items():
        missing = series.isna().to_numpy()
        if role == "dose":
            missing &= text_of(values["perturbation"]) != obs.control  # a control needs none
        if not missing.any():
            continue
        if config.missing == "error":
            raise Repairable(
                f"{_at(cells, int(missing.argmax()))}: obs[{getattr(obs, role)!r}] has no value "
                f"({int(missing.sum())} such cells)",
                "fix them or set `missing: drop`",
                "missing",
                "drop",
            )
        present &= ~missing
        repairs.append(
            ColumnRepair(
                "missing", int(missing.sum()), f"no {role}: left out", (getattr(obs, role),)
            )
        )
    return values, present, repairs


def no_control(cells: RawCells, perturbation: pd.Series, obs: Columns) -> UserError:
    """That no cell is a control, and what the cells are instead."""
    listed = perturbation.astype(str).value_counts().index[:8]
    return UserError(
        f"{cells.file}: no cell is a control: obs[{obs.perturbation!r}] is never "
        f"{obs.control!r} but {', '.join(map(repr, listed))}; set `obs.control`"
    )


def parts_of(text: str, columns: Columns) -> list[str]:
    """The perturbations that a value names; none for control.

    Raises:
        ValueError: a part is empty.
    """
    if columns.separator is None or text == columns.control:
        parts = [text]
    else:
        parts = [part.strip() for part in text.split(columns.separator)]
    if not all(parts):
        raise ValueError(f"{text!r} has an empty part")
    return [part for part in parts if part != columns.control]


def _conditions(
    cells: RawCells, values: dict[str, pd.Series], rows: np.ndarray, columns: Columns
) -> tuple[np.ndarray, list[Condition]]:
    """Code of each row's condition, and the conditions."""
    what = text_of(values["perturbation"].iloc[rows])
    if "dose" in values:
        dose = values["dose"].iloc[rows].astype(object).where(what != columns.control, "")
        how = dose.astype(str).to_numpy(dtype=object)
    else:
        how = np.full(len(rows), "", dtype=object)
    pairs = pd.DataFrame({"what": what, "how": how})
    groups = pairs.groupby(["what", "how"], sort=True)
    number = groups.ngroup().to_numpy()
    first = rows[np.unique(number, return_index=True)[1]]
    found: list[dict[str, float]] = []
    for (text, dose), row in zip(groups.groups, first, strict=True):
        try:
            found.append(_doses(text, dose, columns))
        except ValueError as error:
            raise UserError(
                f"{_at(cells, int(row))}: {error}; fix obs, or set `obs.separator` or `obs.dose`"
            ) from None
    unique = sorted({tuple(sorted(doses.items())) for doses in found} | {()})
    code = {doses: i for i, doses in enumerate(unique)}
    lookup = np.array([code[tuple(sorted(doses.items()))] for doses in found])
    dosed = columns.dose is not None
    return lookup[number], [Condition(_name(dict(c), dosed), dict(c)) for c in unique]


def _doses(what: str, how: str, columns: Columns) -> dict[str, float]:
    """Dose of each perturbation of one value."""
    names = parts_of(what, columns)
    if not names:
        return {}
    if len(set(names)) < len(names):
        raise ValueError(f"{what!r} names a perturbation twice")
    if columns.dose is None:
        return dict.fromkeys(names, 1.0)
    every = what.split(columns.separator) if columns.separator else [what]
    texts = _dose_texts(how, columns)
    texts = texts * len(every) if len(texts) == 1 else texts
    if len(texts) != len(every):
        raise ValueError(f"{len(texts)} doses in {how!r} for {len(every)} parts of {what!r}")
    doses = {}
    for name, text in zip((part.strip() for part in every), texts, strict=True):
        if name == columns.control:
            continue
        try:
            doses[name] = float(text)
        except ValueError:
            raise ValueError(f"the dose {text!r} of {name!r} is no number") from None
        if not 0 < doses[name] < float("inf"):
            raise ValueError(f"the dose {text} of {name!r} is not positive")
    return doses


def _dose_texts(how: str, columns: Columns) -> list[str]:
    """One text for each part, or one for all; a number such as 1e+05 is not taken apart."""
    try:
        float(how)
    except ValueError:
        return how.split(columns.separator) if columns.separator else [how]
    return [how]


def _name(doses: dict[str, float], dosed: bool) -> str:
    if not doses:
        return "control"
    if not dosed:
        return "+".join(doses)
    if len(set(doses.values())) == 1:
        return f"{'+'.join(doses)} {next(iter(doses.values())):g}"
    return "+".join(f"{name} {dose:g}" for name, dose in doses.items())


def text_of(series: pd.Series) -> np.ndarray:
    """Values as text; whole numbers that pandas made float lose their `.0`."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    known = series.dropna()
    if pd.api.types.is_float_dtype(series) and (known == known.round()).all():
        series = series.round().astype("Int64")
    return series.astype(str).to_numpy(dtype=object)


def _at(cells: RawCells, row: int) -> str:
    return f"{cells.file}, cell {cells.obs.index[row]!r}"
