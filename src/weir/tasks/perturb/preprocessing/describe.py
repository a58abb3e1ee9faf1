"""Proposal of a `datasets` node for a user's `.h5ad`, for `weir data add FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from weir.errors import Repairable, UserError
from weir.files import file_digest
from weir.tasks.perturb.preprocessing.checks import Totals, count_totals, drop_poor
from weir.tasks.perturb.preprocessing.labels import read_labels
from weir.tasks.perturb.preprocessing.reading import open_cells
from weir.tasks.perturb.preprocessing.selection import matched_contexts, split_parts
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.proposal import Proposal, rehearse

WORDS = {
    "perturbation": (
        "perturbation",
        "condition",
        "treatment",
        "stim",
        "drug",
        "compound",
        "guide",
        "gene_target",
        "target",
        "cytokine",
    ),
    "cell_type": ("cell_type", "celltype", "cell_line", "cell.type", "annotation", "cluster"),
    "batch": ("batch", "donor", "patient", "replicate", "plate", "individual", "sample", "lane"),
    "dose": ("dose", "dosage", "concentration"),
    "section": ("section", "slice", "slide", "fov"),
}
"""Parts of column names that tell the role, the surest first."""

CONTROLS = (
    "control",
    "ctrl",
    "ctl",
    "dmso",
    "vehicle",
    "non-targeting",
    "nontargeting",
    "non_targeting",
    "untreated",
    "unstimulated",
    "unstim",
    "mock",
    "pbs",
    "none",
    "wt",
)
"""Values, or parts of them, that stand for no perturbation, the surest first."""

MOST = {"perturbation": 20_000, "cell_type": 300, "batch": 300, "dose": 1000, "section": 300}
"""Distinct values of a column above which it cannot have a role."""


def describe(file: Path) -> Proposal:
    """Propose a node for a `.h5ad`, with the repairs that it needs.

    Raises:
        UserError: the file is no `.h5ad`; one line.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist or is no file; fix the path")
    notes: list[str] = []
    sha256 = file_digest(file)
    node: dict[str, Any] = {
        "task": "perturb",
        "source": {"path": str(file), "sha256": sha256},
    }
    base = PerturbDataset.model_validate(node)
    node |= _gene_names(file, base, notes)
    with open_cells(file, PerturbDataset.model_validate(node)) as cells:
        obs = cells.obs
    node["obs"] = _columns(file, obs, notes)
    found = rehearse(lambda node: _checks(file, node), node, notes)
    return Proposal(node, (*notes, *(found or ())), found is not None)


def _gene_names(file: Path, config: PerturbDataset, notes: list[str]) -> dict[str, Any]:
    """`genes.name` where the index of `var` is not unique but a column is."""
    try:
        with open_cells(file, config):
            return {}
    except Repairable as error:
        notes.append(f"genes: names in var's index repeat; var[{error.value!r}] is unique")
        return {"genes": {"name": error.value}}


def _columns(file: Path, obs: pd.DataFrame, notes: list[str]) -> dict[str, Any]:
    """The roles of columns by their names and values."""
    found: dict[str, Any] = {}
    left = [str(name) for name in obs.columns]
    column, control = _perturbation(obs, left, notes)
    found |= {"perturbation": column, "control": control}
    left.remove(column)
    values = obs[column].astype(str)
    if not any("+" in value for value in values.unique()):
        found["separator"] = None
    for role in ("dose", "cell_type", "batch", "section"):
        for word in WORDS[role]:
            named = [name for name in left if word in name.lower().replace(" ", "_")]
            named = [name for name in named if _may_be(role, obs[name], values)]
            if named:
                found[role] = min(named, key=len)
                left.remove(found[role])
                break
    with h5py.File(file) as store:
        keys = list(store["obsm"]) if "obsm" in store else []
    places = [key for key in keys if "spatial" in key.lower()]
    if places:
        found["spatial"] = places[0]
    else:
        found.pop("section", None)
    for role in ("cell_type", "batch"):
        if role in found:
            names = obs[found[role]].dropna().astype(str).unique()
            shown = ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "")
            notes.append(f"obs.{role}: {found[role]!r} has {len(names)} values: {shown}")
        else:
            notes.append(f"obs.{role}: no column was recognised; set it if there is one")
    return found


def _perturbation(obs: pd.DataFrame, names: list[str], notes: list[str]) -> tuple[str, str]:
    """The column of perturbations and its control value: first where a control is recognised."""
    ranked = sorted(names, key=_perturbation_rank)
    for exact in (True, False):
        for name in ranked:
            values = obs[name].dropna().astype(str).unique()
            if not 2 <= len(values) <= MOST["perturbation"]:
                continue
            if not exact and _perturbation_rank(name) == len(WORDS["perturbation"]):
                continue  # parts of words are too weak where the column's name says nothing
            control = _control(values, exact)
            if control is not None:
                notes.append(f"obs.perturbation: {name!r}, where {control!r} is taken as control")
                return name, control
    guess = next((n for n in ranked if 2 <= obs[n].nunique() <= MOST["perturbation"]), None)
    if guess is None:
        listed = ", ".join(map(repr, names)) or "none"
        raise UserError(
            "no column of obs can be the perturbation (each needs two values or more), among "
            f"{listed}; add one and save the file again"
        )
    common = str(obs[guess].astype(str).value_counts().index[0])
    notes.append(
        f"obs.perturbation: {guess!r} is a guess, and so is its commonest value {common!r} as "
        "control; fix both"
    )
    return guess, common


def _perturbation_rank(name: str) -> int:
    words = WORDS["perturbation"]
    lower = name.lower()
    return next((i for i, word in enumerate(words) if word in lower), len(words))


def _control(values: np.ndarray, exact: bool) -> str | None:
    """The value that stands for control: a known word, or one that holds a known word."""
    for word in CONTROLS:
        for value in values:
            lower = value.lower()
            if lower == word or (not exact and len(word) > 3 and word in lower):
                return str(value)
    return None


def _may_be(role: str, column: pd.Series, perturbation: pd.Series) -> bool:
    """Whether a column's values fit a role."""
    count = column.nunique()
    if not 2 <= count <= min(MOST[role], max(2, len(column) // 2)):
        return False
    if role == "dose":
        return pd.to_numeric(column.astype(str), errors="coerce").notna().mean() > 0.5
    if role in ("cell_type", "batch"):
        # A group that fixes the condition cannot be matched across conditions.
        return bool((perturbation.groupby(column, observed=True).nunique() > 1).any())
    return True


def _checks(file: Path, node: dict[str, Any]) -> list[str]:
    """Go through all of preprocessing that may refuse the file; what they find."""
    config = PerturbDataset.model_validate(node)
    with open_cells(file, config) as cells:
        labels = read_labels(cells, config)
        totals: Totals = count_totals(cells, config)
        drop_poor(cells, labels, totals, config)
        context, contexts = matched_contexts(file, labels, config)
        part = split_parts(file, labels, context, config)
    found = (
        f"{len(part)} cells, {len(cells.genes)} genes, {len(labels.conditions) - 1} conditions "
        f"beside control, {len(contexts)} contexts; a random fifth of the perturbed cells is held "
        "out: set `held_out` to ask for more"
    )
    return [*(f"{r.kind}: {r.count} ({r.detail})" for r in labels.repairs), found]
