"""Scores of predicted risks, of all records of a split and of subgroups, with intervals.

The curves behind the scores are kept for the report: reliability, ROC and precision-recall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from weir.errors import UserError, WeirError
from weir.metrics.classification import (
    accuracy,
    auprc,
    auroc,
    bins_of_mass,
    bootstrap_weights,
    brier,
    interval,
)
from weir.metrics.latency import clock
from weir.tasks.clinical.baselines.constants import Oracle
from weir.tasks.clinical.evaluation.part import Part

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import RecordSet
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate


GRID = 101
"""Points of the ROC and precision-recall curves."""
Z = 1.959964
"""Quantile of the normal distribution for 95 %."""


class Bins(NamedTuple):
    """Which bin a record falls into.

    Attributes:
        number: `[record]` int64.
        count: number of bins.
    """

    number: Tensor
    count: int


def bins_of(risk: Tensor, count: int) -> Bins:
    """Bins of about equally many records, by risk; as `metrics.classification.reliability`'s."""
    parts = bins_of_mass(risk, count)
    number = torch.empty(len(risk), dtype=torch.int64)
    for k, part in enumerate(parts):
        number[part] = k
    return Bins(number, len(parts))


def calibration_gap(risk: Tensor, outcome: Tensor, bins: Bins, weight: Tensor) -> Tensor:
    """`metrics.classification.calibration_error` under weights `[draw, record]`, `[draw]`."""
    gap = weight * (risk - outcome)
    sums = torch.zeros(len(weight), bins.count, dtype=gap.dtype).index_add_(1, bins.number, gap)
    return sums.abs().sum(1) / weight.sum(1)


def diagram(risk: Tensor, outcome: Tensor, bins: Bins) -> pd.DataFrame:
    """Each bin's mean risk and observed share, with Wilson's 95 % interval, and its records.

    Columns: predicted, observed, low, high, records.
    """
    n = bins.number.bincount(minlength=bins.count).double()
    predicted = n.new_zeros(bins.count).index_add_(0, bins.number, risk) / n
    observed = n.new_zeros(bins.count).index_add_(0, bins.number, outcome) / n
    centre = (observed + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * (observed * (1 - observed) / n + Z**2 / (4 * n**2)).sqrt() / (1 + Z**2 / n)
    return pd.DataFrame(
        {
            "predicted": predicted.numpy(),
            "observed": observed.numpy(),
            "low": (centre - half).clamp(min=0).numpy(),
            "high": (centre + half).clamp(max=1).numpy(),
            "records": n.long().numpy(),
        }
    )


def operating(
    logit: Tensor, outcome: Tensor, weights: tuple[Tensor, Tensor]
) -> dict[str, pd.DataFrame]:
    """ROC and precision-recall curves with pointwise 95 % bands of the resamples.

    Args:
        logit: `[record]`.
        outcome: `[record]`, 0 or 1.
        weights: of subjects in each resample `[draw, subject]`, and each record's subject.

    Returns:
        `roc`: false_positive_rate, sensitivity, low, high; `precision_recall`: recall, precision,
        low, high.
    """
    drawn, subject = weights
    order = logit.argsort(descending=True, stable=True)
    ordered = logit[order]
    ends = torch.ones(len(ordered), dtype=torch.bool)
    ends[:-1] = ordered[1:] != ordered[:-1]
    grid = np.linspace(0, 1, GRID)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for weight in [torch.ones(drawn.shape[1]).double(), *drawn]:
        mass = weight[subject][order]
        positive = (mass * outcome[order]).cumsum(0)
        negative = (mass * (1 - outcome[order])).cumsum(0)
        if positive[-1] > 0 and negative[-1] > 0:
            rows.append(_curves(positive[ends].numpy(), negative[ends].numpy(), grid))
    roc, precision = (np.stack(parts) for parts in zip(*rows, strict=True))
    return {
        "roc": _frame("false_positive_rate", "sensitivity", grid, roc),
        "precision_recall": _frame("recall", "precision", grid[1:], precision),
    }


def _curves(
    positive: np.ndarray, negative: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity at the false positive rates of a grid; precision where a recall is first met."""
    rate = np.concatenate([[0.0], negative / negative[-1]])
    recall = np.concatenate([[0.0], positive / positive[-1]])
    # Of several sensitivities at one rate (a vertical step) `interp` takes the highest.
    sensitivity = np.interp(grid, rate, recall)
    first = np.searchsorted(positive / positive[-1], grid[1:] - 1e-12)
    precision = positive[first] / (positive[first] + negative[first])
    return sensitivity, precision


def _frame(x: str, y: str, grid: np.ndarray, curves: np.ndarray) -> pd.DataFrame:
    """The first curve, and the band of the others."""
    others = curves[1:] if len(curves) > 1 else curves
    low, high = np.quantile(others, [0.025, 0.975], axis=0)
    return pd.DataFrame({x: grid, y: curves[0], "low": low, "high": high})


ALL = "all records"
SCORES = ("auroc", "auprc", "brier", "calibration_error", "accuracy", "nll")
GROUPED = ("auroc", "auprc", "brier", "calibration_error")
"""Scores that are told apart by subgroup."""
PIECE = 1 << 22
"""Numbers of one piece of the resamples' weights."""


class Risks(NamedTuple):
    """Predicted risks of the records of a split, on the CPU.

    Attributes:
        logit: `[record]` float64.
        outcome: `[record]` float64, 0 or 1.
        subject: `[record]` int64, number of the record's subject.
        seconds: time of predicting all.
    """

    logit: Tensor
    outcome: Tensor
    subject: Tensor
    seconds: float

    def subset(self, mask: Tensor) -> Risks:
        """The records of a mask `[record]`."""
        return self._replace(
            logit=self.logit[mask],
            outcome=self.outcome[mask],
            subject=self.subject[mask].unique(return_inverse=True)[1],
        )


def evaluate_risks(
    model: nn.Module, data: ClinicalData, config: ClinicalEvaluate, *, seed: int
) -> Part:
    """Score a model's risks; the tables are those that `figures` describes.

    Raises:
        UserError: the split has not both outcomes.
        WeirError: a risk is NaN or infinite.
    """
    records = data.split(config.split)
    risks = predict(model, data, records)
    positives = int(risks.outcome.sum())
    if not 0 < positives < len(records):
        raise UserError(
            f"evaluate: the {config.split} split of {data.name} has {len(records)} records, "
            f"{positives} of them with the outcome; scores need both kinds: choose the other "
            "split, or other splits of the dataset"
        )
    fitted = {}
    if config.calibrate == "temperature":
        validation = data.split("validation")
        known = risks if config.split == "validation" else predict(model, data, validation)
        fitted["temperature"] = fitted_temperature(known.logit, known.outcome)
        risks = risks._replace(logit=risks.logit / fitted["temperature"])
    bins = bins_of(risks.logit.sigmoid(), config.bins)
    total = scored(risks, bins, SCORES, config.bootstrap, seed)
    frames = {
        "scores": pd.DataFrame(total),
        "subgroups": pd.DataFrame(subgroups(risks, records, config, seed)),
        "reliability": diagram(risks.logit.sigmoid(), risks.outcome, bins),
        **operating(risks.logit, risks.outcome, _weights(risks, min(config.bootstrap, 200), seed)),
        "risks": pd.DataFrame(
            {
                "outcome": risks.outcome.numpy().astype(np.int8),
                "risk": risks.logit.sigmoid().numpy().astype(np.float32),
            }
        ),
    }
    return Part(
        metrics={line["metric"]: line["value"] for line in total} | fitted,
        protocol={
            "split": config.split,
            "fold": data.schema.fold,
            "outcome": data.schema.outcome,
            "records": len(records),
            "subjects": int(risks.subject.max()) + 1,
            "positives": positives,
            "recalibrated": "no"
            if config.calibrate == "none"
            else "by a temperature fitted on validation records",
            "calibration_bins": config.bins,
            "intervals": f"95 %, {config.bootstrap} resamples of subjects",
        },
        seconds=risks.seconds,
        latency_ms=1000 * risks.seconds / len(records),
        curve=frames["reliability"][["predicted", "observed"]],
        tables={name: frame for name, frame in frames.items() if len(frame)},
    )


@torch.no_grad()
def predict(model: nn.Module, data: ClinicalData, records: RecordSet) -> Risks:
    """Risks of some records.

    Raises:
        WeirError: one is NaN or infinite.
    """
    begun = clock(records.outcome.device)
    if isinstance(model, Oracle):
        logit = model.known(data, records)
    else:
        parts = [model.risk(batch).double().cpu() for _, batch in records.all()]
        logit = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
    seconds = clock(records.outcome.device) - begun
    if len(logit) != len(records) or not logit.isfinite().all():
        wrong = int((~logit.isfinite()).sum())
        raise WeirError(f"evaluate: {wrong} of {len(records)} risks are NaN or infinite")
    names = data.identity["subject_id"].to_numpy()[records.rows.cpu().numpy()]
    subject = torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))
    return Risks(logit, records.outcome.double().cpu(), subject, seconds)


def fitted_temperature(logit: Tensor, outcome: Tensor) -> float:
    """The number to divide logits `[record]` by for the least log loss (Guo et al. 2017).

    Between 1/100 and 100; 1 where there is nothing to fit. The loss is convex in its inverse,
    whose root is bisected.
    """
    if not 0 < outcome.sum() < len(outcome) or logit.abs().max() == 0:
        return 1.0
    low, high = 0.01, 100.0
    for _ in range(60):
        inverse = (low * high) ** 0.5
        slope = ((logit * inverse).sigmoid() - outcome) @ logit
        low, high = (inverse, high) if slope < 0 else (low, inverse)
    return 1 / (low * high) ** 0.5


def scored(
    risks: Risks, bins: Bins, names: tuple[str, ...], draws: int, seed: int
) -> list[dict[str, Any]]:
    """Each score with its 95 % interval: metric, value, low, high.

    Subjects are drawn with replacement, with all their records. The interval is that of the
    resamples' scores; of the calibration error it is mirrored at the score, because resampling
    adds noise to the bins, and that to this error.
    """
    every = torch.ones(1, len(risks.logit), dtype=torch.float64)
    value = {name: float(_score(name, risks, bins, every)[0]) for name in names}
    pieces: dict[str, list[Tensor]] = {name: [] for name in names}
    for weight in _pieces(_weights(risks, draws, seed), len(risks.logit)):
        for name in names:
            pieces[name].append(_score(name, risks, bins, weight))
    found = []
    for name in names:
        low, high = interval(torch.cat(pieces[name]))
        if name == "calibration_error":
            low, high = max(2 * value[name] - high, 0.0), max(2 * value[name] - low, 0.0)
        found.append({"metric": name, "value": value[name], "low": low, "high": high})
    return found


def subgroups(
    risks: Risks, records: RecordSet, config: ClinicalEvaluate, seed: int
) -> list[dict[str, Any]]:
    """Scores of all records and of every subgroup; of one that is too small none, and why.

    Returns:
        subgrouping, group, records, positives, metric, value, low, high, note.
    """
    masks: list[tuple[str, str, Tensor]] = [
        (ALL, ALL, torch.ones(len(risks.logit), dtype=torch.bool))
    ]
    for name in records.subgroups:
        number, groups = records.subgroup(name)
        number = number.cpu()
        # The first group holds those of whom nothing is known.
        order = [*range(1, len(groups)), 0]
        masks += [(name, groups[k], number == k) for k in order if k or (number == 0).any()]
    found = []
    for name, group, mask in masks:
        part = risks.subset(mask)
        count, positives = len(part.logit), int(part.outcome.sum())
        about = {
            "subgrouping": name,
            "group": group,
            "records": count,
            "positives": positives,
        }
        nothing = {"value": np.nan, "low": np.nan, "high": np.nan}
        if name != ALL and min(positives, count - positives) < config.min_positives:
            note = (
                f"too few: {count} records, {positives} with the outcome; at least "
                f"{config.min_positives} with it and without it are needed"
            )
            found += [{**about, "metric": each, **nothing, "note": note} for each in GROUPED]
            continue
        bins = bins_of(part.logit.sigmoid(), config.bins)
        for line in scored(part, bins, GROUPED, config.bootstrap, seed):
            found.append({**about, **line, "note": ""})
    return found


def _score(name: str, risks: Risks, bins: Bins, weight: Tensor) -> Tensor:
    """A score under weights `[draw, record]`, `[draw]` float64."""
    logit, outcome = risks.logit, risks.outcome
    match name:
        case "auroc":
            return auroc(logit, outcome, weight)
        case "auprc":
            return auprc(logit, outcome, weight)
        case "brier":
            return brier(logit.sigmoid(), outcome, weight)
        case "accuracy":
            return accuracy(logit.sigmoid(), outcome, weight)
        case "nll":
            # From logits, so that a sure mistake is bad and not infinite.
            loss = softplus(logit) - outcome * logit
            return (weight @ loss) / weight.sum(-1)
    return calibration_gap(logit.sigmoid(), outcome, bins, weight)


def _weights(risks: Risks, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """How often each subject is drawn in each resample `[draw, subject]`, and whose a record is."""
    subjects = int(risks.subject.max()) + 1
    return bootstrap_weights(subjects, draws, seed), risks.subject


def _pieces(weights: tuple[Tensor, Tensor], records: int) -> list[Tensor]:
    drawn, subject = weights
    return [part[:, subject] for part in drawn.split(max(PIECE // max(records, 1), 1))]
