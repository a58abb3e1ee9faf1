"""Scores of generated records in the place of real ones.

Its tables:

| table | columns |
|---|---|
| `synthetic_codes` | code, and of real and synthetic records: share with it, events, mean, sd |
| `synthetic_values` | code, level, real, synthetic: quantiles of values in clinical units |
| `synthetic_distances` | kind (synthetic, held out), distance to the nearest training record |
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from weir.errors import UserError
from weir.metrics.classification import auroc
from weir.metrics.latency import clock
from weir.progress import Progress
from weir.tasks.clinical.baselines.logistic import counts, feature_table, features
from weir.tasks.clinical.baselines.trees import Trees
from weir.tasks.clinical.evaluation.part import Part
from weir.tasks.clinical.flow.synthesis import resampled
from weir.tasks.clinical.representation.aggregates import AGGREGATES
from weir.tasks.clinical.settings.baseline import Boosting

if TYPE_CHECKING:
    from weir.tasks.clinical.data.load import ClinicalData
    from weir.tasks.clinical.data.records import Records, RecordSet
    from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

RECORDS = 20_000
"""Most training records that are compared with as many synthetic ones."""

TESTED = 3_000
"""Most records of each kind of the two-sample test and of the distances."""

TREES = 80
"""Of the classifier of the two-sample test."""

LEVELS = tuple(n / 20 for n in range(1, 20))
CLOSE = 0.05
"""Share of the held-out records whose distance counts as close."""


class Generator(Protocol):
    """A model that makes records."""

    def synthesise(
        self,
        static: Tensor,
        outcome: Tensor,
        end: Tensor,
        generator: torch.Generator | None = None,
        *,
        steps: int | None = None,
        solver: Any = None,
    ) -> Records:
        """A new record for each row."""
        ...

    def nfe(self, steps: int | None = None, solver: Any = None) -> int:
        """Evaluations of the network per record."""
        ...


class Synthetic(NamedTuple):
    """Generated records as tables.

    Attributes:
        features: `[record, feature]`, see `features`.
        outcome: `[record]`.
        code: `[event]` int64.
        value: `[event]` standardised, NaN for none.
    """

    features: Tensor
    outcome: Tensor
    code: Tensor
    value: Tensor


def evaluate_synthetic(
    model: Generator,
    data: ClinicalData,
    config: ClinicalEvaluate,
    *,
    seed: int,
) -> Part:
    """Make as many records as there are training records, and compare.

    Static features, length and outcome for which each is made are those of a training record drawn
    with replacement: what is judged is what the model makes of them. The AUROCs are means over
    `config.cohorts` such sets, each with trees of another seed; all else is of the first.

    Raises:
        UserError: the training or scored records all have the same outcome.
    """
    train, test = data.split("train"), data.split(config.split)
    codes = len(data.schema.codes)
    if len(train) > RECORDS:
        train = train.subset(torch.linspace(0, len(train) - 1, RECORDS).long())
    begun = clock(train.outcome.device)
    progress = Progress("evaluate synthetic", config.cohorts * len(train), noun="record")
    cohorts = []
    for k in range(config.cohorts):
        done = k * len(train)
        cohorts.append(make(model, train, codes, config, seed + k, progress=progress, done=done))
    progress.close()
    seconds = (clock(train.outcome.device) - begun) / len(cohorts)
    made = cohorts[0]
    real, held = (feature_table(part, codes).cpu() for part in (train, test))
    # Synthetic outcomes are drawn from the training records' and may miss a rare one.
    outcomes = [("synthetic", cohort.outcome) for cohort in cohorts]
    for name, outcome in (("training", train.outcome), *outcomes):
        if outcome.min() == outcome.max():
            raise UserError(
                f"evaluate: all {name} records have the same outcome; boosting cannot be trained"
            )
    if test.outcome.min() == test.outcome.max():
        raise UserError(
            f"evaluate: all records of the {config.split} split have the same outcome; score on "
            "another split"
        )
    seeds = range(seed, seed + config.cohorts)

    def trained_on(table: Tensor, outcome: Tensor, seed: int) -> float:
        return _transfer(table, outcome.cpu(), held, test.outcome.cpu(), seed)

    real_score = fmean(trained_on(real, train.outcome, each) for each in seeds)
    score = fmean(
        trained_on(cohort.features, cohort.outcome, each)
        for cohort, each in zip(cohorts, seeds, strict=True)
    )
    near = nearest(made.features, real, held, codes, seed)
    codes_table, values_table = marginals(train, made, data)
    distances = pd.concat(
        pd.DataFrame({"kind": kind, "distance": distance.numpy()})
        for kind, distance in (("synthetic", near[0]), ("held out", near[1]))
    )
    return Part(
        metrics={
            "tstr_auroc": score,
            "tstr_gap": real_score - score,
            "c2st_auc": two_sample_auc(made.features, real, codes, seed),
            "privacy": float(near[0].median() / near[1].median().clamp_min(1e-9)),
            "privacy_close": float((near[0] < near[1].quantile(CLOSE)).double().mean()),
            "code_gap": float((codes_table["real_share"] - codes_table["share"]).abs().mean()),
            "occurrence_gap": _occurrence(made.features, real, codes),
        },
        protocol={
            "split": config.split,
            "fold": data.schema.fold,
            "synthetic_records": len(made.outcome),
            "cohorts": len(cohorts),
            "training_records": len(train),
            "held_out_records": len(test),
            "steps": config.steps,
            "solver": config.solver,
        },
        nfe=model.nfe(config.steps, config.solver),
        seconds=seconds,
        latency_ms=1000 * seconds / max(1, len(made.outcome)),
        tables={
            "synthetic_codes": codes_table,
            "synthetic_values": values_table,
            "synthetic_distances": distances,
        },
    )


@torch.no_grad()
def make(
    model: Generator,
    train: RecordSet,
    codes: int,
    config: ClinicalEvaluate,
    seed: int,
    *,
    progress: Progress | None = None,
    done: int = 0,
) -> Synthetic:
    """As many records as `train` has, after `done` others of the same work."""
    found = []
    for records in resampled(
        model, train, len(train), steps=config.steps, solver=config.solver, seed=seed
    ):
        value = records.value.masked_fill(~records.measured, torch.nan)
        parts = features(records, codes), records.outcome, records.code, value
        found.append(Synthetic(*(part.cpu() for part in parts)))
        done += len(records.outcome)
        if progress is not None:
            progress.update(done)
    return Synthetic(*(torch.cat(fields) for fields in zip(*found, strict=True)))


def _transfer(
    table: Tensor, outcome: Tensor, held: Tensor, held_outcome: Tensor, seed: int
) -> float:
    """AUROC on held-out records of boosting trained on a table."""
    settings = Boosting()
    # As many leaves as few records allow.
    fewest = min(settings.min_leaf, max(1, len(outcome) // 20))
    trees = Trees(settings.model_copy(update={"min_leaf": fewest}))
    trees.grow(table, outcome, seed)
    return float(auroc(trees.logit(held), held_outcome))


def two_sample_auc(made: Tensor, real: Tensor, codes: int, seed: int) -> float:
    """Cross-validated AUC of boosting that tells synthetic from real records by their events."""
    from weir.metrics.two_sample import boosted_auc

    random = np.random.default_rng(seed)
    count = min(len(made), len(real), TESTED)
    events = codes * len(AGGREGATES)
    # Missing is a value of its own, below all others: scikit-learn cannot bin a column that is
    # missing in a whole fold.
    both = (
        part[random.choice(len(part), count, replace=False), :events].double().nan_to_num(-1e6)
        for part in (made, real)
    )
    return boosted_auc(*both, seed=seed, max_iter=TREES)


def nearest(
    made: Tensor, real: Tensor, held: Tensor, codes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Distance of synthetic and of held-out records to their nearest training record.

    In the space of log counts and mean and last values by code, each by its training deviation;
    codes that a record has no value of lie at the training mean. Coordinates in which all training
    records agree are left out, and so are static features: those of synthetic records are real
    ones.

    Returns:
        `[synthetic]` and `[held out]`, at most `TESTED` of each.
    """
    generator = torch.Generator().manual_seed(seed)
    space = [_space(table, codes) for table in (made, held, real)]
    centre, unit = space[2].mean(0), space[2].std(0)
    # Of a constant, rounding errors are all the deviation there is.
    varies = unit > 1e-4
    a, b, to = (((part - centre) / unit)[:, varies] for part in space)
    some = [part[torch.randperm(len(part), generator=generator)[:TESTED]] for part in (a, b)]
    return tuple(
        torch.cat([torch.cdist(x, to).min(1).values for x in part.split(256)]) for part in some
    )


def _space(table: Tensor, codes: int) -> Tensor:
    by_code = table[:, : codes * len(AGGREGATES)].unflatten(1, (codes, len(AGGREGATES)))
    count, mean, last = (by_code[..., AGGREGATES.index(n)] for n in ("count", "mean", "last"))
    # Missing where a record has no value of the code: at the training mean, as `nearest` says.
    return torch.cat([count.log1p(), mean, last], 1).nan_to_num(0.0)


def marginals(
    train: RecordSet, made: Synthetic, data: ClinicalData
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each code is, and quantiles of its values, real and synthetic."""
    known = data.schema.codes
    parts = [batch for _, batch in train.all()]
    code = torch.cat([batch.code for batch in parts]).cpu()
    value = torch.cat([b.value.masked_fill(~b.measured, torch.nan) for b in parts]).cpu()
    table = feature_table(train, len(known)).cpu()
    rows, levels = [], []
    for number, about in enumerate(known):
        row: dict[str, Any] = {"code": about.name}
        lines = {}
        for prefix, number_of, which, values in (
            ("real_", counts(table, len(known))[:, number], code, value),
            ("", counts(made.features, len(known))[:, number], made.code, made.value),
        ):
            x = values[which == number + 1]
            x = x[~x.isnan()].double() * about.sd + about.mean
            row[f"{prefix}share"] = float((number_of > 0).double().mean())
            row[f"{prefix}events"] = float(number_of.double().mean())
            row[f"{prefix}mean"] = float(x.mean()) if len(x) else float("nan")
            row[f"{prefix}sd"] = float(x.std(correction=0)) if len(x) else float("nan")
            lines[prefix] = np.quantile(x.numpy(), LEVELS) if len(x) else None
        rows.append(row)
        if all(line is not None for line in lines.values()):
            levels.append(
                pd.DataFrame(
                    {
                        "code": about.name,
                        "level": LEVELS,
                        "real": lines["real_"],
                        "synthetic": lines[""],
                    }
                )
            )
    columns = ["code", "level", "real", "synthetic"]
    return pd.DataFrame(rows), pd.concat(levels) if levels else pd.DataFrame(columns=columns)


def _occurrence(made: Tensor, real: Tensor, codes: int) -> float:
    """Mean absolute difference of the correlations between codes' occurrence in records."""
    tables = [(counts(table, codes) > 0).double() for table in (made, real)]
    varying = (tables[1].std(0) > 0).nonzero()[:, 0]
    if len(varying) < 2:
        return 0.0
    found = []
    for table in tables:
        off = table[:, varying] - table[:, varying].mean(0)
        unit = off.square().mean(0).sqrt().clamp_min(1e-9)
        found.append((off / unit).T @ (off / unit) / len(off))
    first, second = torch.triu_indices(len(varying), len(varying), 1)
    return float((found[0] - found[1])[first, second].abs().mean())
