"""Baselines: what they compute, and that they are stored whole without pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import nn

from weir.artifacts.model_folder import ModelCard, save_model
from weir.errors import UserError
from weir.stages.restore import build_model, restore
from weir.tasks.clinical.baselines import Boosted, Logistic, MeanRate, Stacked, Trees, baseline
from weir.tasks.clinical.baselines.logistic import counts, feature_names, feature_table, features
from weir.tasks.clinical.baselines.stacked import best_share
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.settings.baseline import Boosting, ClinicalBaseline

SMALL = Boosting(trees=8, leaves=5, min_leaf=5, max_features=1.0)


class Half(nn.Module):
    """A model whose risk is minus the number of sets, and whose representation is the outcome."""

    has_head = True

    def risk(self, records: Records) -> torch.Tensor:
        return -torch.bincount(records.set_record, minlength=len(records.outcome)).float()

    def represent(self, records: Records) -> torch.Tensor:
        return records.outcome[:, None]


def fitted(model: Any, data: ClinicalData, seed: int = 0) -> Any:
    model.eval().requires_grad_(False).fit(data, seed)
    return model


def whole(data: ClinicalData, part: str = "test") -> Records:
    records = data.split(part)
    return records.batch(torch.arange(len(records)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trees_are_scikit_learns(seed: int) -> None:
    """To the last digits, with missing values, ties and values outside the training range."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(300, 6)).round(1)
    x[random.random(x.shape) < 0.3] = np.nan
    y = (np.nan_to_num(x[:, 0]) + np.isnan(x[:, 1]) + random.normal(size=300)) > 0.5
    trees = Trees(Boosting(trees=20, leaves=7, min_leaf=5))
    trees.grow(torch.from_numpy(x), torch.from_numpy(y), seed)
    assert trees.feature.max() <= 5
    theirs = HistGradientBoostingClassifier(
        learning_rate=0.04,
        max_iter=20,
        max_leaf_nodes=7,
        min_samples_leaf=5,
        l2_regularization=5.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    ).fit(x, y)
    asked = np.concatenate([x, 10 * random.normal(size=(50, 6)), np.full((1, 6), np.nan)])
    asked[3, :2] = np.inf, -np.inf
    assert trees.logit(torch.from_numpy(asked)).numpy() == pytest.approx(
        theirs.decision_function(np.where(np.isinf(asked), np.sign(asked) * 1e9, asked)), abs=1e-12
    )
    assert trees.value.shape[0] == 20 and int(trees.depth) >= 2


def test_a_feature_that_nobody_has_is_left_alone() -> None:
    x = torch.arange(60.0)[:, None].expand(-1, 2).clone()
    x[:, 1] = float("nan")
    trees = Trees(SMALL)
    trees.grow(x, (x[:, 0] >= 30).float(), 0)
    asked = torch.tensor([[0.0, 5.0], [0.0, float("nan")], [59.0, -5.0]])
    low, same, high = trees.logit(asked).tolist()
    assert low == same < 0 < high


def test_a_tree_without_a_split_is_its_offset() -> None:
    """Fewer records than a leaf may have: everybody gets the training rate."""
    trees = Trees(Boosting(trees=3, min_leaf=40))
    outcome = torch.tensor([0.0, 0.0, 0.0, 1.0] * 5)
    trees.grow(torch.randn(20, 2), outcome, 0)
    assert trees.logit(torch.zeros(2, 2)).sigmoid().numpy() == pytest.approx([0.25, 0.25])


def test_features_are_named_and_counts_found(tiny_clinical: ClinicalData) -> None:
    schema = tiny_clinical.schema
    codes = len(schema.codes)
    batch = whole(tiny_clinical)
    table = features(batch, codes)
    again = feature_table(tiny_clinical.split("test"), codes)
    names = feature_names(schema)
    assert table.shape == (len(batch.outcome), len(names)) and len(set(names)) == len(names)
    assert torch.equal(table.nan_to_num(-99), again.nan_to_num(-99))
    record = batch.set_record[batch.event_set]
    for number, code in enumerate(schema.codes, start=1):
        column = table[:, names.index(f"{code.name} count")]
        expected = record[batch.code == number].bincount(minlength=len(table)).float()
        assert torch.equal(column, expected)
        assert torch.equal(counts(table, codes)[:, number - 1], expected)
    assert counts(table, codes).shape[1] == codes
    last = table[:, names.index("c0 last")]
    own = (record == 0) & (batch.code == 1 + [c.name for c in schema.codes].index("c0"))
    if own.any():
        assert last[0] == batch.value[own][-1]
    assert torch.equal(table[:, -batch.static.shape[1] :], batch.static)


def test_the_rate_is_everybodys_risk(tiny_clinical: ClinicalData) -> None:
    outcome = tiny_clinical.split("train").outcome
    risk = fitted(MeanRate(), tiny_clinical).risk(whole(tiny_clinical)).sigmoid()
    assert len(risk.unique()) == 1
    assert float(risk[0]) == pytest.approx((float(outcome.sum()) + 0.5) / (len(outcome) + 1))


def test_boosting_finds_the_outcome_and_counts_do_not(tiny_clinical: ClinicalData) -> None:
    """The outcome moves values of one code, and no number of events."""
    codes = len(tiny_clinical.schema.codes)
    batch = whole(tiny_clinical)
    ill = batch.outcome > 0

    def gap(model: Any) -> float:
        risk = fitted(model, tiny_clinical).risk(batch)
        return float(risk[ill].mean() - risk[~ill].mean())

    boosted = gap(Boosted(codes, SMALL))
    assert boosted > 0.2
    assert abs(gap(Boosted(codes, SMALL, counts=True))) < boosted / 2
    assert gap(Logistic(codes, 0.1)) > 0.5


def test_logistic_is_the_ridge_solution(tiny_clinical: ClinicalData) -> None:
    """The gradient of C * log loss + |w|^2 / 2 is zero, and so is that of the offset."""
    codes = len(tiny_clinical.schema.codes)
    model = fitted(Logistic(codes, 0.05), tiny_clinical)
    train = tiny_clinical.split("train")
    table = feature_table(train, codes).double()
    table = (torch.where(table.isnan(), model.median, table) - model.mean) / model.sd
    residual = model.risk(whole(tiny_clinical, "train")).double().sigmoid() - train.outcome
    assert (0.05 * residual @ table + model.weight).abs().max() < 1e-3
    assert residual.sum().abs() < 0.05


def test_stacked_is_a_mean_of_logits(tiny_clinical: ClinicalData) -> None:
    codes = len(tiny_clinical.schema.codes)
    batch = whole(tiny_clinical)
    plain = fitted(Boosted(codes, SMALL), tiny_clinical).risk(batch)
    own = Half().risk(batch)
    for share in (0.0, 0.25, 1.0):
        stacked = Stacked(Half(), codes, SMALL, representation=False, share=share)
        found = fitted(stacked, tiny_clinical).risk(batch)
        assert torch.allclose(found, share * own + (1 - share) * plain, atol=1e-5)
    # Minus the number of sets, about -12, is a bad logit: the fit leaves little of it.
    free = fitted(Stacked(Half(), codes, SMALL, representation=False, share=None), tiny_clinical)
    assert float(free.share) < 0.2
    knowing = fitted(
        Stacked(Half(), codes, SMALL, representation=True, share=0.0), tiny_clinical
    ).risk(batch)
    assert knowing[batch.outcome > 0].min() > knowing[batch.outcome == 0].max()


def test_stacking_needs_something_to_stack(tiny_clinical: ClinicalData) -> None:
    model = Half()
    model.has_head = False
    codes = len(tiny_clinical.schema.codes)
    with pytest.raises(UserError, match="has no outcome head"):
        fitted(Stacked(model, codes, SMALL, representation=False, share=None), tiny_clinical)
    alone = Stacked(model, codes, SMALL, representation=True, share=None)
    assert float(fitted(alone, tiny_clinical).share) == 0


def test_the_best_share_has_the_least_loss() -> None:
    outcome = torch.tensor([1.0, 0.0, 1.0, 0.0])
    right = 4 * (2 * outcome - 1)
    assert best_share(right, -right, outcome) == 1
    assert best_share(-right, right, outcome) == 0
    sure = torch.tensor([10.0, -10.0, 10.0, 10.0])
    shy = torch.tensor([-10.0, 10.0, 10.0, -10.0])
    assert 0 < best_share(sure, shy, outcome) < 1


@pytest.mark.parametrize("method", ["mean_rate", "counts", "logistic", "boosting"])
def test_a_folder_holds_the_whole_baseline(tiny_clinical, tmp_path, method: str) -> None:
    config = ClinicalBaseline(method=method, dataset="tiny", boosting=SMALL)
    card = ModelCard(
        section="baseline",
        name="it",
        seed=0,
        task="clinical",
        dataset="tiny",
        config=config.model_dump(mode="json"),
        schema=tiny_clinical.card(),
    )
    model = build_model(card)
    log = lambda values, step=None: None  # noqa: E731
    assert (
        baseline.fit(model, config, tiny_clinical, None, seed=3, checkpoints=tmp_path, log=log)
        == []
    )
    save_model(tmp_path, model, card)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = restore(tmp_path)
    batch = whole(tiny_clinical)
    assert torch.equal(loaded.risk(batch), model.risk(batch))
    # A record's risk does not depend on who else is asked.
    alone = tiny_clinical.split("test").batch(torch.tensor([2]))
    assert loaded.risk(alone)[0] == pytest.approx(float(model.risk(batch)[2]), abs=1e-5)


def test_settings_that_contradict_each_other() -> None:
    for bad in (
        {"method": "boosting"},
        {"method": "boosting", "model": "stage1/x"},
        {"method": "stacked", "dataset": "x"},
        {"method": "stacked", "model": "baseline/x"},
        {"method": "boosting", "dataset": "x", "weight": 0.5},
        {"method": "boosting", "dataset": "x", "training": {"steps": 10}},
        {"method": "logistic", "dataset": "x", "network": {"hidden": 8}},
    ):
        with pytest.raises(ValidationError):
            ClinicalBaseline.model_validate(bad)
    assert ClinicalBaseline(method="stacked", model="stage2/head").seeded
    assert not ClinicalBaseline(method="logistic", dataset="x").seeded
