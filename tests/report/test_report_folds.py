"""Scores of held-out groups are pooled within each seed, and only then averaged over seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from weir.artifacts.evaluation import Evaluation, parse_evaluation
from weir.errors import WeirError
from weir.report.drawing.curves import mean_curve
from weir.report.entries import Entry, definitions, entries
from weir.report.page.cards import cards
from weir.report.page.page import Context, render
from weir.report.page.scores import scores
from weir.report.page.table import results_table

FOLDS = ("ham", "eel", "roe")


def run(
    seed: int | None, fold: str, pool: str = "mean", node: str = "flow", **change
) -> Evaluation:
    known = {name: words | {"pool": pool} for name, words in synthetic.DEFINITIONS.items()}
    name = f"etth1-{node}-f{FOLDS.index(fold)}" + ("" if seed is None else f"-s{seed}")
    document = synthetic.document_of(node, seed, "etth1", "forecast")
    return parse_evaluation(document | {"definitions": known, "name": name, "fold": fold} | change)


def entry(values: dict[int | None, tuple[float, ...]], pool: str = "mean") -> Entry:
    """A row with the CRPS of each fold by seed."""
    runs = [
        run(seed, fold, pool, metrics={"crps": value})
        for seed, each in values.items()
        for fold, value in zip(FOLDS, each, strict=False)
    ]
    return entries(reversed(runs))[0]


def test_folds_are_averaged_in_each_seed_and_seeds_give_the_spread() -> None:
    row = entry({0: (1.0, 2.0, 6.0), 1: (2.0, 5.0, 8.0)})
    found = row.statistic("crps")
    assert row.by_seed("crps") == [3.0, 5.0]
    assert (found.mean, found.count) == (4.0, 2)
    assert found.std == pytest.approx(math.sqrt(2.0))
    assert (row.seeds, row.folds) == (2, FOLDS)


def test_a_metric_may_take_the_median_of_its_folds() -> None:
    row = entry({0: (1.0, 2.0, 6.0), 1: (2.0, 5.0, 80.0)}, pool="median")
    assert row.by_seed("crps") == [2.0, 5.0]
    assert row.statistic("crps").mean == 3.5


def test_groups_have_a_spread_of_their_own() -> None:
    row = entry({0: (1.0, 2.0, 6.0), 1: (3.0, 4.0, 8.0)})
    assert row.across("crps") == pytest.approx(math.sqrt(7.0))  # of 2, 3 and 7
    assert math.isnan(entry({0: (1.0,)}).across("crps"))
    assert math.isnan(entry({0: (1.0, math.nan, 2.0)}).across("crps"))


def test_without_seeds_the_table_shows_the_spread_over_groups() -> None:
    seeded, single = entry({0: (1.0, 2.0, 6.0), 1: (3.0, 4.0, 8.0)}), entry({None: (1.0, 2.0, 6.0)})
    for row, spread in ((single, "± 2.646"), (seeded, "± 1.414")):
        table = results_table([row], ["crps"], definitions([row]), "crps")
        assert table.rows[0].cells[0].spread == spread


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
def test_folds_of_one_seed_are_no_spread(values: list[float]) -> None:
    found = entry({None: tuple(values)}).statistic("crps")
    assert found.mean == pytest.approx(sum(values) / 3, abs=1e-9)
    assert math.isnan(found.std) and found.count == 1


def test_a_missing_number_or_fold_makes_the_score_missing() -> None:
    assert not entry({0: (1.0, math.nan, 2.0), 1: (1.0, 1.0, 1.0)}).statistic("crps").known
    assert not entry({0: (1.0, math.nan, 2.0)}, pool="median").statistic("crps").known
    assert not entry({0: (1.0, 2.0), 1: (1.0, 2.0, 3.0)}).statistic("crps").known


def test_runs_are_in_order_of_seed_and_then_of_fold() -> None:
    runs = [
        replace(run(seed, "ham"), name=f"etth1-flow-f{fold}-s{seed}", fold=f"group {fold}")
        for fold in (10, 2, 0)
        for seed in (1, 0)
    ]
    (row,) = entries(runs)
    assert [item.name.removeprefix("etth1-flow-") for item in row.runs] == [
        f"f{fold}-s{seed}" for seed in (0, 1) for fold in (0, 2, 10)
    ]
    assert row.first.seed == 0


def test_two_evaluations_of_one_seed_and_fold_are_a_fault() -> None:
    with pytest.raises(WeirError, match="two evaluations of one seed and held-out group"):
        entries([run(0, "ham"), run(0, "ham")])


def test_a_curve_is_pooled_as_its_metric_is() -> None:
    def curve(*crps: float) -> list[dict[str, float]]:
        return [{"steps": n + 1, "nfe": 2.0 * n + 2, "crps": v} for n, v in enumerate(crps)]

    runs = [
        run(0, "ham", "median", quality_curve=curve(1.0, 10.0)),
        run(0, "eel", "median", quality_curve=curve(2.0, 20.0)),
        run(0, "roe", "median", quality_curve=curve(9.0)),
    ]
    assert mean_curve(entries(runs)[0], "nfe", "crps") == [(2.0, 2.0)]


def test_scores_count_seeds_and_folds() -> None:
    runs = [run(seed, fold) for seed in (0, 1) for fold in FOLDS]
    facts = {"command": "", "commit": "", "hardware": "", "wall_s": 1.0}
    (model,) = scores(runs, "etth1", **facts)["models"]
    assert (model["seeds"], model["folds"]) == (2, 3)
    (model,) = scores([synthetic.evaluation("flow")], "etth1", **facts)["models"]
    assert (model["seeds"], model["folds"]) == (1, 1)


def page(runs: list[Evaluation]) -> str:
    return render(runs, synthetic.plan(), "Folds", Context())


def test_the_page_says_over_what_a_number_is_pooled() -> None:
    text = page([run(seed, fold, "median") for seed in (0, 1) for fold in FOLDS])
    assert "<b>held-out groups</b> 3; a number is the mean (MSE, MAE, CRPS" in text
    assert "2 seeds × 3 groups" in text
    assert "Median over held-out groups." in text
    plain = page([synthetic.evaluation("flow")])
    assert "groups" not in plain.partition("</main>")[0].partition("<main")[2]


def test_folds_may_differ_in_size_but_models_not_in_folds() -> None:
    def runs(node: str, *sizes: int) -> list[Evaluation]:
        """The first folds, of so many windows."""
        little = {"metrics": {"crps": 0.3}, "quality_curve": []}
        return [
            run(0, fold, node=node, protocol={"windows": size}, **little)
            for fold, size in zip(FOLDS, sizes, strict=False)
        ]

    warning = "do not share one protocol; they differ in"
    assert warning not in page([*runs("flow", 7, 8, 9), *runs("joint", 7, 8, 9)])
    assert f"{warning} windows," in page([*runs("flow", 7, 8, 9), *runs("joint", 7, 8, 8)])
    assert f"{warning} held-out groups," in page([*runs("flow", 7, 8, 9), *runs("joint", 7)])


def test_a_single_seed_is_not_called_one_run() -> None:
    rows = [entry({0: (1.0, 2.0, 3.0)})]
    first = cards(rows, ["crps"], definitions(rows), synthetic.plan())[0]
    assert first.note.endswith("one seed")


def test_an_unknown_way_of_pooling_is_refused() -> None:
    document = synthetic.document_of("flow", 0, "etth1", "forecast")
    document["definitions"] = {
        name: words | {"pool": "mode"} for name, words in synthetic.DEFINITIONS.items()
    }
    with pytest.raises(WeirError, match="pool is 'mode', not mean or median"):
        parse_evaluation(document)
