"""Splits of cells into training, validation and test; groups too small or not comparable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from weir.artifacts.schema_file import ColumnRepair
from weir.errors import Repairable, UserError
from weir.tasks.perturb.data.schema import CONTROL, Context
from weir.tasks.perturb.preprocessing.labels import Labels, parts_of
from weir.tasks.perturb.settings.dataset import (
    LeaveCombinationOut,
    LeaveDoseOut,
    LeaveGroupOut,
    PerturbDataset,
    Random,
)

TRAIN, VALIDATION, TEST = range(3)

LEAST = 20
"""Training cells below which nothing can be learnt."""


def matched_contexts(
    file: Path, labels: Labels, config: PerturbDataset
) -> tuple[np.ndarray, list[Context]]:
    """Context of each cell left, `[cell]` int64, and the contexts.

    Drops contexts without enough controls, if allowed, and groups that are too small, in place.

    Raises:
        UserError: a context has too few controls and may not be dropped, or nothing is left.
    """
    least = config.min_group
    number, _ = _contexts(labels, config)
    controls = np.bincount(number[labels.condition == CONTROL], minlength=number.max() + 1)
    lonely = controls[number] < least
    if lonely.any():
        number, contexts = _contexts(labels, config)
        names = [contexts[i].name for i in np.unique(number[lonely])]
        if config.without_control == "error":
            raise Repairable(
                f"{file}: {_listed(names)} has less than {least} control cells to compare with",
                "set `without_control: drop`, a smaller `min_group` or another `match`",
                "without_control",
                "drop",
            )
        labels.repairs.append(
            ColumnRepair("no control", int(lonely.sum()), f"{_listed(names)}: left out")
        )
        labels.keep(~lonely)
    if not len(labels.rows):
        raise UserError(f"{file}: no context has {least} control cells; set another `match`")
    number, _ = _contexts(labels, config)
    pair = number * len(labels.conditions) + labels.condition
    size = np.bincount(pair)[pair]
    small = (size < least) & (labels.condition != CONTROL)
    if small.any():
        count = len(np.unique(pair[small]))
        labels.repairs.append(
            ColumnRepair(
                "small groups",
                int(small.sum()),
                f"{count} groups of one context and condition with less than {least} cells: "
                "left out",
            )
        )
        labels.keep(~small)
    if not (labels.condition != CONTROL).any():
        raise UserError(f"{file}: no perturbed cells are left; fix `obs` or `min_group`")
    return _contexts(labels, config)


def split_parts(
    file: Path, labels: Labels, context: np.ndarray, config: PerturbDataset
) -> np.ndarray:
    """Part of each cell, `[cell]` int64: held-out perturbed cells test, some others validate.

    A validation cell is drawn at random within its context and condition, always the same.

    Raises:
        UserError: what is held out does not occur, or too few cells train; one line.
    """
    part = np.full(len(labels.rows), TRAIN)
    part[held_out(file, labels, context, config)] = TEST
    pair = context * len(labels.conditions) + labels.condition
    chosen = _share(pair[part == TRAIN], config.validation, seed=0)
    part[np.flatnonzero(part == TRAIN)[chosen]] = VALIDATION
    trained = int((part == TRAIN).sum())
    if trained < LEAST:
        raise UserError(
            f"{file}: {trained} training cells are too few, at least {LEAST} are needed; "
            "hold out less or lower `quality`"
        )
    return part


def unseen(labels: Labels, part: np.ndarray) -> np.ndarray:
    """Mask `[cell]` of cells under a perturbation that no training cell has seen."""
    known = {
        name
        for number in np.unique(labels.condition[part == TRAIN])
        for name in labels.conditions[number].doses
    }
    new = np.array([not known.issuperset(c.doses) for c in labels.conditions])
    return new[labels.condition]


def held_out(file: Path, labels: Labels, context: np.ndarray, config: PerturbDataset) -> np.ndarray:
    """Mask `[cell]` of the perturbed cells that are held out.

    Raises:
        UserError: a group, combination or dose does not occur; lists those that do.
    """
    rule = config.held_out
    perturbed = labels.condition != CONTROL
    if isinstance(rule, Random):
        pair = context * len(labels.conditions) + labels.condition
        chosen = np.zeros(len(pair), bool)
        chosen[np.flatnonzero(perturbed)[_share(pair[perturbed], rule.share, rule.seed)]] = True
        return chosen
    if isinstance(rule, LeaveGroupOut):
        group = getattr(labels, rule.by)
        _need(file, "groups", rule.groups, sorted(set(group[perturbed])))
        return perturbed & np.isin(group, rule.groups)
    if isinstance(rule, LeaveCombinationOut):
        several = {"+".join(sorted(c.doses)) for c in labels.conditions if len(c.doses) > 1}
        wanted = ["+".join(sorted(parts_of(name, config.obs))) for name in rule.conditions]
        _need(file, "conditions", wanted, sorted(several))
        hit = ["+".join(sorted(c.doses)) in wanted for c in labels.conditions]
        mask = np.array(hit)[labels.condition]
        part = np.where(mask, TEST, TRAIN)
        if (new := unseen(labels, part) & mask).any():
            name = labels.conditions[labels.condition[new.argmax()]].name
            raise UserError(
                f"{file}: a part of {name!r} occurs in no other condition, so that nothing can be "
                "known of it; take it off `held_out.conditions`"
            )
        return mask
    assert isinstance(rule, LeaveDoseOut)
    doses = sorted(
        {c.doses[rule.perturbation] for c in labels.conditions if rule.perturbation in c.doses}
    )
    if not doses:
        names = sorted({name for c in labels.conditions for name in c.doses})
        _need(file, "perturbation", [rule.perturbation], names)
    _need(file, "doses", rule.doses, doses)
    if set(doses) == set(rule.doses):
        raise UserError(
            f"{file}: held_out.doses are all doses of {rule.perturbation!r}; leave some to learn"
        )
    hit = [c.doses.get(rule.perturbation) in rule.doses for c in labels.conditions]
    return np.array(hit)[labels.condition]


def _need(file: Path, name: str, wanted: Sequence[object], found: Sequence[object]) -> None:
    """What is to be held out occurs."""
    if absent := [value for value in wanted if value not in found]:
        raise UserError(
            f"{file}: no perturbed cell to hold out has {absent[0]!r}, but there are "
            f"{_listed(found) or 'none'}; fix `held_out.{name}`"
        )


def _contexts(labels: Labels, config: PerturbDataset) -> tuple[np.ndarray, list[Context]]:
    roles = config.matched
    if not roles:
        return np.zeros(len(labels.rows), "int64"), [Context("all")]
    table = pd.DataFrame({role: getattr(labels, role) for role in roles})
    groups = table.groupby(list(roles), sort=True)
    contexts = []
    for key in groups.groups:
        names = key if isinstance(key, tuple) else (key,)
        contexts.append(Context(", ".join(names), **dict(zip(roles, names, strict=True))))
    return groups.ngroup().to_numpy(), contexts


def _share(group: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Mask `[cell]` of a share of the cells of each group, rounded, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(group))
    rank = np.empty(len(group), "int64")
    rank[order] = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    size = np.bincount(group)[group] if len(group) else group
    return rank < np.round(share * size)


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
