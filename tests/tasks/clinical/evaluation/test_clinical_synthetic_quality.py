"""Scores of generators that are known: one that copies patients, and one that draws new ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records, RecordSet
from weir.tasks.clinical.evaluation import synthetic as synthetic_quality
from weir.tasks.clinical.evaluation.synthetic import evaluate_synthetic, nearest, two_sample_auc
from weir.tasks.clinical.representation.aggregates import AGGREGATES
from weir.tasks.clinical.settings.baseline import Boosting
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

CONFIG = ClinicalEvaluate(model="stage2/any")


class Copier:
    """Gives out the records of a set that have the wanted outcome, changed by `change`."""

    def __init__(self, records: RecordSet, shift: float = 0.0) -> None:
        self.records, self.shift = records, shift

    def synthesise(
        self,
        static: Tensor,
        outcome: Tensor,
        end: Tensor,
        generator: torch.Generator | None = None,
        **_: object,
    ) -> Records:
        pools = [(self.records.outcome == kind).nonzero()[:, 0] for kind in (0.0, 1.0)]
        chance = torch.rand(len(outcome), generator=generator)
        items = [
            pools[int(y)][int(u * len(pools[int(y)]))] for y, u in zip(outcome, chance, strict=True)
        ]
        batch = self.records.batch(torch.stack(items))
        return batch._replace(value=batch.value + self.shift * batch.measured, static=static)

    def nfe(self, steps: int | None = None, solver: object = None) -> int:
        return 3


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boosting of ten trees."""
    monkeypatch.setattr(synthetic_quality, "Boosting", lambda: Boosting(trees=10, min_leaf=5))
    monkeypatch.setattr(synthetic_quality, "TREES", 10)


@pytest.mark.usefixtures("few_trees")
def test_a_copier_is_useful_but_not_private(tiny_clinical: ClinicalData):
    train = tiny_clinical.split("train")
    whole = evaluate_synthetic(Copier(train), tiny_clinical, CONFIG, seed=0)
    found = whole.metrics
    assert whole.nfe == 3
    assert found["privacy"] == 0.0
    assert found["privacy_close"] == 1.0
    assert abs(found["tstr_gap"]) < 0.2
    assert found["tstr_auroc"] > 0.6
    assert found["code_gap"] < 0.1
    table = whole.tables["synthetic_codes"]
    assert (table["real_share"] - table["share"]).abs().max() < 0.2
    values = whole.tables["synthetic_values"]
    assert (values["real"] - values["synthetic"]).abs().max() < 10


@pytest.mark.usefixtures("few_trees")
def test_new_patients_of_the_same_law_are_private(tiny_clinical: ClinicalData):
    unseen = tiny_clinical.split("validation")
    found = evaluate_synthetic(Copier(unseen), tiny_clinical, CONFIG, seed=0).metrics
    assert 0.8 < found["privacy"] < 1.25
    assert found["privacy_close"] < 0.25


@pytest.mark.usefixtures("few_trees")
def test_values_that_are_off_are_told_from_real_ones(tiny_clinical: ClinicalData):
    train = tiny_clinical.split("train")
    codes = len(tiny_clinical.schema.codes)
    half = torch.arange(len(train)) % 2 == 0
    a, b = train.subset(half), train.subset(~half)
    real = synthetic_quality.feature_table(a, codes)
    same = two_sample_auc(synthetic_quality.feature_table(b, codes), real, codes, 0)
    made = synthetic_quality.make(Copier(b, 2.0), a, codes, CONFIG, 0)
    off = two_sample_auc(made.features, real, codes, 0)
    assert 0.25 < same < 0.75
    assert off > 0.9


def test_distances_are_to_the_nearest_training_record():
    real = torch.tensor([[0.0] * 8, [1.0] + [0.0] * 7, [3.0] + [0.0] * 7])
    real[2, 3] = 4.0  # the mean of its values
    made, held = torch.stack([real[1], real[2]]), real[:1].clone()
    held[0, 3] = 1.0
    near = nearest(made, real, held, 1, 0)
    assert near[0].tolist() == [0.0, 0.0]
    assert float(near[1]) > 0


def test_rounding_errors_of_a_constant_are_no_distance():
    made, real, held = (torch.zeros(40, len(AGGREGATES)) for _ in range(3))
    for table, offset in ((made, 0), (real, 0), (held, 0.5)):
        table[:, AGGREGATES.index("count")] = torch.arange(40.0) + offset
    made[:, AGGREGATES.index("mean")] = 1e-3
    real[::2, AGGREGATES.index("mean")] = 1e-8
    near = nearest(made, real, held, 1, 0)
    assert near[0].max() == 0 < near[1].min()


@pytest.mark.usefixtures("few_trees")
def test_training_on_several_cohorts_is_averaged(tiny_clinical: ClinicalData):
    def scores(cohorts: int, seed: int) -> dict[str, float]:
        config = ClinicalEvaluate(model="stage2/any", cohorts=cohorts)
        model = Copier(tiny_clinical.split("train"), shift=0.5)
        return evaluate_synthetic(model, tiny_clinical, config, seed=seed).metrics

    first, second, both = scores(1, 0), scores(1, 1), scores(2, 0)
    assert first["tstr_auroc"] != second["tstr_auroc"]
    for name in ("tstr_auroc", "tstr_gap"):
        assert both[name] == pytest.approx((first[name] + second[name]) / 2)
    assert both["privacy"] == first["privacy"] and both["c2st_auc"] == first["c2st_auc"]
