"""Response against dose, true and predicted, of perturbations with several doses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from weir.metrics.perturbation import top
from weir.tasks.perturb.evaluation.scores import spaced

if TYPE_CHECKING:
    from weir.tasks.perturb.baselines.fitted import Profiles
    from weir.tasks.perturb.data.schema import Schema
    from weir.tasks.perturb.evaluation.scores import Question

CURVES = 24
"""Pairs of perturbation and context at most, evenly spaced among all."""
GENES = 50


def dose_curves(
    questions: list[Question],
    schema: Schema,
    known: list[Profiles],
    predict: Callable[[Question, int], Tensor],
) -> pd.DataFrame:
    """Mean change of the most differential genes at every dose, signed along the truth.

    The genes are those of the evaluated response with the largest dose; a change of each that
    goes the way of that truth counts as positive.

    Args:
        questions: evaluated responses.
        schema: of the data.
        known: measured groups, to take true means from.
        predict: mean expression `[gene]` of generated cells, for the context of a question under
            a condition (its number).

    Returns:
        columns perturbation, context, dose, kind (true, predicted), response; empty where no
        evaluated perturbation has two doses.
    """
    rows = []
    pairs = _largest(questions, schema)
    for number in spaced(len(pairs), CURVES).tolist():
        (perturbation, context), question = list(pairs.items())[number]
        delta = question.truth.mean - question.control.mean
        # t is undefined for a gene that is constant in both groups: it does not answer.
        genes = top(question.true_t.nan_to_num(), min(GENES, question.top))
        sign = delta[genes].sign()
        for condition in _single_doses(schema, perturbation):
            means = {"predicted": predict(question, condition), "true": None}
            if condition == question.response.condition:
                means["true"] = question.truth.mean
            else:
                means["true"] = _measured(known, question.response.context, condition)
            for kind, mean in means.items():
                if mean is None:
                    continue
                change = (mean.double() - question.control.mean)[genes]
                row = {
                    "perturbation": perturbation,
                    "context": schema.contexts[context].name,
                    "dose": schema.conditions[condition].doses[perturbation],
                    "kind": kind,
                    "response": float((sign * change).mean()),
                }
                rows.append(row)
    return pd.DataFrame(rows, columns=["perturbation", "context", "dose", "kind", "response"])


def _single_doses(schema: Schema, perturbation: str) -> list[int]:
    """Conditions with this perturbation alone."""
    return [
        number
        for number, condition in enumerate(schema.conditions)
        if list(condition.doses) == [perturbation]
    ]


def _largest(questions: list[Question], schema: Schema) -> dict[tuple[str, int], Question]:
    """For each perturbation with several doses and context, the question of the largest dose."""
    found: dict[tuple[str, int], Question] = {}
    for question in questions:
        doses = schema.conditions[question.response.condition].doses
        if len(doses) != 1 or question.truth.cells < 2 or question.control.cells < 2:
            continue
        ((perturbation, dose),) = doses.items()
        if len(_single_doses(schema, perturbation)) < 2:
            continue
        key = perturbation, question.response.context
        best = found.get(key)
        if best is None or dose > schema.conditions[best.response.condition].doses[perturbation]:
            found[key] = question
    return found


def _measured(known: list[Profiles], context: int, condition: int) -> Tensor | None:
    """Mean of the measured cells of a context under a condition, of all parts that have some."""
    total: Tensor | None = None
    cells = 0
    for groups in known:
        here = (groups.context == context) & (groups.condition == condition)
        for group in here.nonzero()[:, 0].tolist():
            count = int(groups.cells[group])
            part = groups.mean[group] * count
            total = part if total is None else torch.add(total, part)
            cells += count
    return None if total is None else total / cells
