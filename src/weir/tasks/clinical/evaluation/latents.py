"""Scores of a stage-1 model: what its latents hold, and what it gives back of the events."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weir.errors import UserError
from weir.metrics.classification import auroc
from weir.metrics.latency import clock
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.evaluation.part import Part
from weir.tasks.clinical.representation.collapse import LatentUse, latent_use

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import RecordSet
    from weir.tasks.clinical.representation.seqsetvae import SeqSetVAE
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate, Embedding

SETS = 2000
"""Sets behind the mutual information, evenly spaced; it cannot exceed the logarithm of these."""
DECODED = 4096
"""Sets that are decoded at a time."""
UNITS = 48
"""Units in the table of correlations: those with the greatest KL."""
SHOWN = 1500
"""Records on the map, evenly spaced."""


class Posteriors(NamedTuple):
    """Of sets: `mean` and `log_variance`, each `[set, unit]` on the CPU."""

    mean: Tensor
    log_variance: Tensor


@torch.no_grad()
def evaluate_representation(
    model: SeqSetVAE, data: ClinicalData, config: ClinicalEvaluate, *, seed: int
) -> Part:
    """Score a stage-1 model; tables `units`, `latent_correlation`, `codes`, `latent`.

    Raises:
        UserError: the split has no sets of events.
    """
    records = data.split(config.split)
    begun = clock(records.outcome.device)
    posteriors, errors = _pass(model, records, len(data.schema.codes))
    seconds = clock(records.outcome.device) - begun
    if not len(posteriors.mean):
        raise UserError(
            f"evaluate: the {config.split} split of {data.name} has no set of events to encode; "
            "choose the other split, or a longer lookback"
        )
    use = latent_use(*posteriors, SETS)
    units = units_table(posteriors, use)
    shown = posteriors.mean[:, torch.tensor(units["unit"].to_numpy()[:UNITS])]
    codes = codes_table(errors, data)
    frames = {
        "units": units,
        "latent_correlation": _correlation(shown, units["unit"].to_numpy()[:UNITS]),
        "codes": codes,
        "latent": _map(model, records, config.embedding, seed),
    }
    events, squares, plain = errors.events.sum(), errors.squares.sum(), errors.without.sum()
    scores = {
        "reconstruction_gain": float(1 - squares / plain),
        "reconstruction_rmse": float((squares / events).sqrt()),
        "code_nll": errors.code_nll / len(posteriors.mean),
        "kl": float(use.kl.sum()),
        "active_units": float(units["active"].mean()),
        "mutual_information": float(use.mutual_information),
        "probe_auroc": probe(model, data.split("train"), records),
    }
    return Part(
        metrics={name: value for name, value in scores.items() if math.isfinite(value)},
        protocol={
            "split": config.split,
            "fold": data.schema.fold,
            "records": len(records),
            "sets": len(posteriors.mean),
            "sets_in_mutual_information": min(SETS, len(posteriors.mean)),
        },
        seconds=seconds,
        latency_ms=1000 * seconds / max(len(records), 1),
        tables={name: frame for name, frame in frames.items() if len(frame)},
    )


class Errors(NamedTuple):
    """Of decoded sets, sums by code.

    Attributes:
        events: `[code]` float64, measured events.
        squares: `[code]` squared errors of their standardised values.
        without: `[code]` the same if z = 0 is decoded, which knows nothing of the set.
        seen: `[code]` events of any kind.
        expected: `[code]` those that the decoder expects.
        code_nll: sum over sets of the negative log likelihood of the numbers of events, nats.
    """

    events: Tensor
    squares: Tensor
    without: Tensor
    seen: Tensor
    expected: Tensor
    code_nll: float


def _pass(model: SeqSetVAE, records: RecordSet, codes: int) -> tuple[Posteriors, Errors]:
    """Encode every set, and decode its posterior mean."""
    means, variances = [], []
    sums = torch.zeros(5, codes, dtype=torch.float64)
    nll = 0.0
    for _, batch in records.all():
        posterior = model.encode(batch)
        means.append(posterior.mean.double().cpu())
        variances.append(posterior.log_variance.double().cpu())
        for piece, z in _slices(batch, posterior.mean):
            found, loss = _errors(model, piece, z, codes)
            sums += found.cpu()
            nll += loss
    if not means:
        none = torch.zeros(0, model.d_latent, dtype=torch.float64)
        return Posteriors(none, none), Errors(*sums, nll)
    return Posteriors(torch.cat(means), torch.cat(variances)), Errors(*sums, nll)


class Piece(NamedTuple):
    """Events of a few sets: code, value, measured and set `[event]`, and the number of sets."""

    code: Tensor
    value: Tensor
    measured: Tensor
    event_set: Tensor
    sets: int


def _slices(batch: Records, z: Tensor) -> Iterator[tuple[Piece, Tensor]]:
    """Sets a few thousand at a time: what is decoded of them is as wide as all codes."""
    for first in range(0, len(z), DECODED):
        last = min(first + DECODED, len(z))
        limits = torch.tensor([first, last], device=z.device)
        begin, end = torch.searchsorted(batch.event_set, limits).tolist()
        chosen = slice(begin, end)
        yield (
            Piece(
                batch.code[chosen],
                batch.value[chosen],
                batch.measured[chosen],
                batch.event_set[chosen] - first,
                last - first,
            ),
            z[first:last],
        )


def _errors(model: SeqSetVAE, piece: Piece, z: Tensor, codes: int) -> tuple[Tensor, float]:
    """Sums by code of `Errors`, `[5, code]`, and the negative log likelihood of the counts."""
    law, plain = model.decode(z), model.decode(torch.zeros_like(z[:1]))
    known = piece.code > 0
    at, code = piece.event_set[known], piece.code[known] - 1
    counts = torch.zeros(piece.sets, codes, dtype=torch.float64, device=z.device)
    counts.index_put_((at, code), counts.new_ones(()), accumulate=True)
    log_rate = law.log_rate[:, 1:].double()  # column 0 is of unknown codes
    nll = log_rate.exp() - counts * log_rate + torch.lgamma(counts + 1)
    valued = known & piece.measured
    at, code, x = piece.event_set[valued], piece.code[valued], piece.value[valued].double()
    squares = (law.mean[at, code].double() - x).square()
    without = (plain.mean[0, code].double() - x).square()
    code = code - 1

    def by_code(values: Tensor) -> Tensor:
        return values.new_zeros(codes).index_add_(0, code, values)

    found = [by_code(torch.ones_like(x)), by_code(squares), by_code(without)]
    return torch.stack([*found, counts.sum(0), log_rate.exp().sum(0)]), float(nll.sum())


def units_table(posteriors: Posteriors, use: LatentUse) -> pd.DataFrame:
    """Units, the greatest KL first: unit, kl, variance_of_mean, mean_variance, active."""
    frame = pd.DataFrame(
        {
            "unit": np.arange(posteriors.mean.shape[1]),
            "kl": use.kl.numpy(),
            "variance_of_mean": posteriors.mean.var(0, correction=0).numpy(),
            "mean_variance": posteriors.log_variance.exp().mean(0).numpy(),
            "active": use.active.numpy(),
        }
    )
    return frame.sort_values("kl", ascending=False, kind="stable", ignore_index=True)


def codes_table(errors: Errors, data: ClinicalData) -> pd.DataFrame:
    """By code: events and how many were expected; errors of values in clinical units.

    Columns: code, description, seen, expected, values, rmse, rmse_without, sd.
    """
    codes = data.schema.codes
    sd = torch.tensor([code.sd for code in codes], dtype=torch.float64)
    # 0 / 0 where a code has no value: unknown.
    rmse = (errors.squares / errors.events).sqrt() * sd
    without = (errors.without / errors.events).sqrt() * sd
    return pd.DataFrame(
        {
            "code": [code.name for code in codes],
            "description": [code.description for code in codes],
            "seen": errors.seen.long().numpy(),
            "expected": errors.expected.numpy(),
            "values": errors.events.long().numpy(),
            "rmse": rmse.numpy(),
            "rmse_without": without.numpy(),
            "sd": sd.numpy(),
        }
    )


def probe(model: SeqSetVAE, train: RecordSet, records: RecordSet) -> float:
    """AUROC of a logistic regression on the representation; NaN where an outcome is missing."""
    # With scikit-learn, which takes a second to import.
    from sklearn.linear_model import LogisticRegression

    if any(len(part.outcome.unique()) < 2 for part in (train, records)):
        return math.nan
    known, asked = (_represented(model, part) for part in (train, records))
    sd = known.std(0, correction=0)
    mean, sd = known.mean(0), torch.where(sd > 0, sd, 1.0)
    linear = LogisticRegression(C=0.01, max_iter=500)
    linear.fit(((known - mean) / sd).numpy(), train.outcome.cpu().numpy() > 0)
    score = torch.from_numpy(linear.decision_function(((asked - mean) / sd).numpy()))
    return float(auroc(score, records.outcome.cpu()))


def _represented(model: SeqSetVAE, records: RecordSet) -> Tensor:
    return torch.cat([model.represent(batch).double().cpu() for _, batch in records.all()])


def _correlation(latent: Tensor, units: np.ndarray) -> pd.DataFrame:
    """Correlations of posterior means over sets, in long form: unit, other, correlation."""
    centred = latent - latent.mean(0)
    covariance = centred.T @ centred
    scale = covariance.diagonal().sqrt().clamp(min=1e-12)
    correlation = (covariance / scale / scale[:, None]).numpy()
    return pd.DataFrame(
        {
            "unit": np.repeat(units, len(units)),
            "other": np.tile(units, len(units)),
            "correlation": correlation.ravel(),
        }
    )


def _map(model: SeqSetVAE, records: RecordSet, embedding: Embedding, seed: int) -> pd.DataFrame:
    """Records on a plane of their representations: x, y, outcome."""
    items = torch.linspace(0, len(records) - 1, min(SHOWN, len(records))).long()
    some = records.subset(items)
    xy = plane(_represented(model, some), embedding, seed)
    return pd.DataFrame(
        {"x": xy[:, 0], "y": xy[:, 1], "outcome": some.outcome.cpu().numpy().astype(np.int8)}
    )


def plane(points: Tensor, embedding: Embedding, seed: int) -> np.ndarray:
    """The first principal plane of standardised points `[point, feature]`, or UMAP's; `[point, 2]`.

    With fewer than 10 points, or fewer than 3 features, the plane is principal in any case.
    """
    sd = points.std(0, correction=0)
    scaled = (points - points.mean(0)) / torch.where(sd > 0, sd, 1.0)
    if embedding == "umap" and len(scaled) >= 10 and scaled.shape[1] > 2:
        # Takes seconds to import.
        from umap import UMAP

        reducer = UMAP(n_components=2, random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(scaled.float().numpy()), np.float64)
    axes = torch.linalg.svd(scaled, full_matrices=False).Vh[:2]
    flat = scaled @ axes.T
    return torch.nn.functional.pad(flat, (0, 2 - flat.shape[1])).numpy()
