"""Scores of models that fill in what is hidden: forecasts and imputations of bins against what was
measured there.

Its tables:

| table | columns |
|---|---|
| `filled_codes` | use (forecast, imputation, single values), code, values, rmse, crps |
| `filled` | record, code, hour, kind (shown, true, low, lower, middle, upper, high), value: of |
| | some records, in clinical units; quantiles .05 to .95 of the samples |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from weir.errors import UserError, WeirError
from weir.metrics.latency import clock
from weir.metrics.scores import crps
from weir.progress import Progress
from weir.tasks.clinical.evaluation.part import Part
from weir.tasks.clinical.flow.filling import Imputation
from weir.tasks.clinical.flow.grid import BinEvents, Grid, merge, tally

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import RecordSet
    from weir.tasks.clinical.flow.filling import Filler, Imputation
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate


class FillErrors(NamedTuple):
    """Errors of one batch; a value is a code's mean over its hidden events in a bin.

    Attributes:
        code: `[value]` int64, from 0.
        square: `[value]` squared error of the mean.
        crps: `[value]` fair CRPS of the samples.
        covered: `[value]` bool, within the samples' 5 % to 95 % quantiles.
        energy: `[record]` fair energy score of all values of a record together, records with at
            least one.
        count: `[record]` how many values those have.
    """

    code: Tensor
    square: Tensor
    crps: Tensor
    covered: Tensor
    energy: Tensor
    count: Tensor


def fill_errors(filled: Imputation, truth: BinEvents) -> FillErrors:
    """Score what was filled in.

    Args:
        filled: hidden bins of a batch; at least two samples.
        truth: all bins of the same batch.
    """
    has = (truth.values[filled.record, filled.bin] > 0) & filled.asked
    true = truth.mean[filled.record, filled.bin]
    row, code = has.nonzero(as_tuple=True)
    y = true[row, code]
    draws = filled.samples[row, :, code]  # [value, sample]
    low, high = (_quantile(draws, level) for level in (0.05, 0.95))
    energy, count = _energy(filled.record[row], draws, y, len(truth.count))
    return FillErrors(
        code,
        (filled.mean[row, code] - y).square(),
        crps(draws, y),
        (low <= y) & (y <= high),
        energy,
        count,
    )


def _quantile(draws: Tensor, level: float) -> Tensor:
    """As `torch.quantile` over axis 1, which refuses an empty batch."""
    place = level * (draws.shape[1] - 1)
    ordered = draws.sort(1).values
    below = int(place)
    above = min(below + 1, draws.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below)


def _energy(record: Tensor, draws: Tensor, truth: Tensor, records: int) -> tuple[Tensor, Tensor]:
    """`E|X - y| - E|X - X'| / 2` over all values of each record that has any, and their number.

    Squared distances add up over a record's values, of which there are more or fewer.
    """
    count = record.bincount(minlength=records)
    samples = draws.shape[1]
    to_truth = draws.new_zeros(records, samples).index_add_(
        0, record, (draws - truth[:, None]).square()
    )
    first, second = torch.triu_indices(samples, samples, 1, device=draws.device)
    between = draws.new_zeros(records, len(first))
    for some in torch.arange(len(record), device=record.device).split(1 << 14):
        apart = (draws[some][:, first] - draws[some][:, second]).square()
        between.index_add_(0, record[some], apart)
    score = to_truth.sqrt().mean(1) - between.sqrt().mean(1) / 2
    return score[count > 0], count[count > 0]


class Pooled:
    """Errors of all batches, on the CPU."""

    def __init__(self) -> None:
        self.parts: list[FillErrors] = []

    def add(self, errors: FillErrors) -> None:
        """Another batch."""
        self.parts.append(FillErrors(*(field.cpu() for field in errors)))

    @property
    def values(self) -> int:
        """How many values were scored."""
        return sum(len(part.code) for part in self.parts)

    def joined(self) -> FillErrors:
        """All of them."""
        return FillErrors(*(torch.cat(fields) for fields in zip(*self.parts, strict=True)))

    def scores(self) -> dict[str, float]:
        """`rmse`, `crps`, `coverage` over values and `energy` over records."""
        every = self.joined()
        return {
            "rmse": float(every.square.double().mean().sqrt()),
            "crps": float(every.crps.double().mean()),
            "coverage": float(every.covered.double().mean()),
            "energy": float(every.energy.double().mean()),
        }

    def by_code(self, codes: int) -> dict[str, Tensor]:
        """`values`, `rmse` and `crps` of each code, `[code]`; NaN without values."""
        every = self.joined()
        count = every.code.bincount(minlength=codes).double()
        sums = torch.zeros(2, codes, dtype=torch.float64)
        sums.index_add_(1, every.code, torch.stack([every.square, every.crps]).double())
        return {"values": count, "rmse": (sums[0] / count).sqrt(), "crps": sums[1] / count}


FORECAST = 0.25
"""Share of the grid, at its end, that is forecast from the rest."""

IMPUTE = 0.2
"""Share of the bins, or of the single values, that is imputed from the others."""

SAMPLES = 32
"""Most samples of each record: a sample is of all its values."""

BATCH = 64
SHOWN_RECORDS, SHOWN_CODES = 6, 4
QUANTILES = {"low": 0.05, "lower": 0.25, "middle": 0.5, "upper": 0.75, "high": 0.95}
USES = ("forecast", "imputation", "single values")


def evaluate_fill(
    model: Filler,
    data: ClinicalData,
    config: ClinicalEvaluate,
    *,
    seed: int,
) -> Part:
    """Score forecasts of the last quarter of the grid, and imputations of a fifth of the bins and
    of a fifth of the single values.

    The same is hidden from all models whose grids are the same.

    Raises:
        UserError: the split has no value in a hidden bin.
        WeirError: a value is NaN or infinite.
    """
    run = _Run(model, data, config, seed)
    stepped = hasattr(model, "nfe")
    found = {use: run.score(use, config.steps) for use in USES}
    for use, (pooled, _) in found.items():
        if not pooled.values:
            raise UserError(
                f"evaluate: no record of the {config.split} split has a value that is hidden for "
                f"{use}; take a grid that ends with the records (`grid.hours`)"
            )
    tables = {"filled_codes": _codes(found, data), "filled": _shown(run, config.steps)}
    forecast, imputed, single = (found[use][0] for use in USES)
    ahead, between, one = (pooled.scores() for pooled in (forecast, imputed, single))
    seconds = found["forecast"][1]
    points = [_point(model, config, config.steps, ahead, seconds, len(run.records))]
    for steps in config.quality_steps if stepped else []:
        if steps != config.steps:
            pooled, took = run.score("forecast", steps)
            scores = pooled.scores()
            points.append(_point(model, config, steps, scores, took, len(run.records)))
    return Part(
        metrics={
            "fill_crps": ahead["crps"],
            "fill_energy": ahead["energy"],
            "fill_coverage": ahead["coverage"],
            "forecast_rmse": ahead["rmse"],
            "impute_crps": between["crps"],
            "impute_rmse": between["rmse"],
            "single_crps": one["crps"],
            "single_rmse": one["rmse"],
        },
        protocol={
            "split": config.split,
            "fold": data.schema.fold,
            "records": len(run.records),
            "bins": model.grid.bins,
            "grid_hours": model.grid.hours,
            "forecast_bins": run.late,
            "imputed_share": IMPUTE,
            "forecast_values": forecast.values,
            "imputed_values": imputed.values,
            "single_values": single.values,
            "samples": run.samples,
            "steps": config.steps,
            "solver": config.solver,
        },
        seconds=sum(took for _, took in found.values()),
        latency_ms=points[0]["latency_ms"],
        nfe=points[0]["nfe"],
        quality_curve=sorted(points, key=lambda p: p["nfe"]) if stepped else [],
        tables=tables,
    )


def hidden_cells(use: str, records: int, grid: Grid, codes: int, seed: int) -> Tensor:
    """What is hidden of each record, on the CPU, as `Filler.fill` takes it."""
    if use == "forecast":
        late = max(1, round(FORECAST * grid.bins))
        return (torch.arange(grid.bins) >= grid.bins - late).expand(records, -1)
    generator = torch.Generator().manual_seed(seed)
    shape = (records, grid.bins) if use == "imputation" else (records, grid.bins, codes + 1)
    return torch.rand(shape, generator=generator) < IMPUTE


class _Run:
    """What stays the same from score to score."""

    def __init__(
        self, model: Filler, data: ClinicalData, config: ClinicalEvaluate, seed: int
    ) -> None:
        self.model, self.data, self.config, self.seed = model, data, config, seed
        self.grid = model.grid
        self.codes = len(data.schema.codes)
        self.records: RecordSet = data.split(config.split)
        self.samples = min(SAMPLES, config.samples)
        self.late = max(1, round(FORECAST * self.grid.bins))

    def score(self, use: str, steps: int) -> tuple[Pooled, float]:
        """Errors over all records, and the seconds that filling in took."""
        hidden = hidden_cells(use, len(self.records), self.grid, self.codes, self.seed)
        progress = Progress(f"evaluate {use}", len(self.records), noun="record")
        pooled, seconds = Pooled(), 0.0
        for items in torch.arange(len(self.records)).split(BATCH):
            filled, truth, took = self.fill(items, hidden[items], steps)
            seconds += took
            pooled.add(fill_errors(filled, truth))
            progress.update(int(items[-1]) + 1)
        progress.close()
        return pooled, seconds

    def fill(
        self, items: Tensor, hidden: Tensor, steps: int
    ) -> tuple[Imputation, BinEvents, float]:
        """One batch filled in, what is true, and the seconds it took."""
        batch = self.records.batch(items)
        device = batch.outcome.device
        # Of its own for each batch, so that one's samples do not depend on those before.
        generator = torch.Generator(device).manual_seed(1_000_003 * self.seed + int(items[0]))
        begun = clock(device)
        filled = self.model.fill(
            batch,
            hidden.to(device),
            self.samples,
            steps=steps,
            solver=self.config.solver,
            generator=generator,
        )
        seconds = clock(device) - begun
        if not bool(torch.isfinite(filled.samples.sum() + filled.mean.sum())):
            raise WeirError("evaluation: a filled-in value is NaN or infinite; the model diverged")
        return filled, tally(merge(batch, self.grid), self.grid, self.codes), seconds


def _point(
    model: Filler,
    config: ClinicalEvaluate,
    steps: int,
    scores: dict[str, float],
    seconds: float,
    records: int,
) -> dict[str, float]:
    """One point of the curve of quality against cost; baselines cost one evaluation."""
    nfe = model.nfe(steps, config.solver) if hasattr(model, "nfe") else 1
    return {
        "steps": steps,
        "nfe": nfe,
        "seconds": seconds,
        "latency_ms": 1000 * seconds / max(1, records),
        "fill_crps": scores["crps"],
        "fill_energy": scores["energy"],
        "forecast_rmse": scores["rmse"],
    }


def _codes(found: dict[str, tuple[Pooled, float]], data: ClinicalData) -> pd.DataFrame:
    names = [code.name for code in data.schema.codes]
    frames = [
        pd.DataFrame(
            {"use": use, "code": names}
            | {name: column.numpy() for name, column in pooled.by_code(len(names)).items()}
        )
        for use, (pooled, _) in found.items()
    ]
    table = pd.concat(frames, ignore_index=True)
    return table[table["values"] > 0].astype({"values": "int64"})


def _shown(run: _Run, steps: int) -> pd.DataFrame:
    """Forecasts of a few records and codes with the most values, as points of lines and bands."""
    table = run.records
    chosen = torch.linspace(0, len(table) - 1, min(len(table), 40)).long().unique()
    hidden = hidden_cells("forecast", len(chosen), run.grid, run.codes, run.seed)
    filled, truth, _ = run.fill(chosen, hidden, steps)
    filled = type(filled)(*(field.cpu() for field in filled))
    has = (truth.values > 0).cpu()
    mean = truth.mean.cpu()
    late = has & hidden[..., None]
    codes = late.sum((0, 1)).argsort(descending=True, stable=True)[:SHOWN_CODES]
    # Records with the most to be seen of those codes, in both parts.
    seen = torch.minimum(late[..., codes].sum((1, 2)), (has & ~late)[..., codes].sum((1, 2)))
    parts = []
    for record in seen.argsort(descending=True, stable=True)[:SHOWN_RECORDS].tolist():
        mine = filled.record == record
        for code in codes.tolist():
            known = run.data.schema.codes[code]
            draws = filled.samples[mine][:, :, code]
            lines = {
                kind: (filled.bin[mine], torch.quantile(draws, level, dim=1))
                for kind, level in QUANTILES.items()
            }
            for kind, mask in (("shown", has & ~late), ("true", late)):
                place = mask[record, :, code].nonzero()[:, 0]
                lines[kind] = place, mean[record, place, code]
            parts += [
                pd.DataFrame(
                    {
                        "record": int(chosen[record]),
                        "code": known.name,
                        "hour": ((place + 0.5) * run.grid.width).numpy(),
                        "kind": kind,
                        "value": (value * known.sd + known.mean).numpy(),
                    }
                )
                for kind, (place, value) in lines.items()
            ]
    return pd.concat(parts, ignore_index=True)
