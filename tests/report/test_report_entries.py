"""Seeds are gathered without flattery, rows are ranked, and comparisons respect the spread."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from weir.report.entries import Entry, best, compare, definitions, entries, ranked, summarise

CRPS = definitions(entries([synthetic.evaluation("flow")]))["crps"]
COVERAGE = definitions(entries([synthetic.evaluation("flow")]))["coverage_50"]


def row(*crps: float, node: str = "flow", label: str = "Flow", coverage: float = 0.5) -> Entry:
    runs = [
        synthetic.evaluation(
            node, seed, label=label, metrics={"crps": value, "coverage_50": coverage}
        )
        for seed, value in enumerate(crps)
    ]
    return entries(runs)[0]


def test_mean_and_spread_in_closed_form() -> None:
    found = row(1.0, 2.0, 3.0).statistic("crps")
    assert (found.mean, found.std, found.count) == (2.0, 1.0, 3)


def test_one_seed_has_no_spread() -> None:
    found = row(0.3).statistic("crps")
    assert found.mean == 0.3
    assert math.isnan(found.std)


def test_a_seed_without_the_number_takes_the_mean_with_it() -> None:
    assert not row(0.3, math.nan, 0.3).statistic("crps").known
    assert not row(0.3).statistic("never measured").known


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_the_mean_lies_within_the_values(values: list[float]) -> None:
    found = summarise(values)
    assert min(values) - 1e-6 <= found.mean <= max(values) + 1e-6
    assert found.std >= 0


def test_seeds_are_gathered_in_order_and_the_first_is_drawn() -> None:
    runs = [synthetic.evaluation("flow", seed) for seed in (2, 0, 1)]
    (found,) = entries(runs)
    assert [run.seed for run in found.runs] == [0, 1, 2]
    assert found.first.seed == 0


def test_equal_labels_are_told_apart() -> None:
    runs = [synthetic.evaluation(node, label="Model") for node in ("flow", "joint")]
    assert {found.label for found in entries(runs)} == {
        "Model (etth1-flow)",
        "Model (etth1-joint)",
    }


def test_ranking_puts_missing_numbers_last_and_hits_targets() -> None:
    good, bad, none = row(0.2, node="flow"), row(0.3, node="joint"), row(math.nan, node="direct")
    assert ranked([none, bad, good], "crps", CRPS) == [good, bad, none]
    assert best([none], "crps", CRPS) is None
    wide, close = row(0.2, coverage=0.6), row(0.2, coverage=0.48)
    assert ranked([wide, close], "coverage_50", COVERAGE) == [close, wide]


def test_a_clear_difference_is_a_loss_or_a_win() -> None:
    worse, better = row(0.33, 0.33), row(0.30, 0.30)
    lost = compare(worse, better, "crps", CRPS)
    won = compare(better, worse, "crps", CRPS)
    assert lost is not None and won is not None
    assert lost.loses and not lost.wins
    assert lost.excess == pytest.approx(0.1)
    assert won.wins and won.excess == pytest.approx(-1 / 11)


def test_a_difference_within_the_spread_is_level() -> None:
    found = compare(row(0.29, 0.31), row(0.295, 0.295), "crps", CRPS)
    assert found is not None
    assert found.level and not found.loses and not found.wins


def test_what_cannot_be_compared_is_not() -> None:
    assert compare(row(math.nan), row(0.3), "crps", CRPS) is None
    assert compare(row(0.3), row(0.0), "crps", CRPS) is None
    assert compare(row(0.3), row(0.3), "coverage_50", COVERAGE) is None


def test_a_change_is_of_the_number_and_an_excess_is_worse() -> None:
    auroc = replace(CRPS, better="higher")
    lower = compare(row(0.33), row(0.3), "crps", CRPS)
    higher = compare(row(0.27), row(0.3), "crps", auroc)
    assert lower is not None and higher is not None
    assert lower.excess == pytest.approx(0.1) and lower.change == pytest.approx(0.1)
    assert higher.excess == pytest.approx(0.1) and higher.change == pytest.approx(-0.1)
