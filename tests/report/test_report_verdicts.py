"""Sentences: a model that loses to a baseline is told so, in words."""

from __future__ import annotations

import math

import synthetic

from weir.report.drawing.numbers import THIN
from weir.report.entries import Entry, definitions, entries
from weir.report.page.cards import _joined, against_baselines, cards, teacher_of
from weir.report.page.table import results_table

METRICS = ("crps", "mse")


def rows(**scores: tuple[float, float]) -> list[Entry]:
    """Entries of one seed from node=(crps, mse)."""
    return entries(
        synthetic.evaluation(node, 0, metrics={"crps": crps, "mse": mse})
        for node, (crps, mse) in scores.items()
    )


def verdicts(**scores: tuple[float, float]) -> dict[str, tuple[str, str]]:
    found = rows(**scores)
    return {
        verdict.label: (verdict.outcome, verdict.text)
        for verdict in against_baselines(found, METRICS, definitions(found))
    }


def test_a_winner_is_told_by_how_much() -> None:
    outcome, text = verdicts(flow=(0.27, 0.3), studentt=(0.3, 0.4))["Residual flow"]
    assert outcome == "win"
    assert text == (
        "beats every baseline in CRPS: 0.2700 against 0.3000 of Student-t head, "
        f"10.0{THIN}% better."
    )


def test_a_loser_is_told_in_every_metric() -> None:
    outcome, text = verdicts(flow=(0.33, 0.5), studentt=(0.3, 0.6), dlinear=(math.nan, 0.4))[
        "Residual flow"
    ]
    assert outcome == "lose"
    assert "loses to Student-t head in CRPS: 0.3300 against 0.3000" in text
    assert f"also behind DLinear in MSE (25.0{THIN}%)" in text


def test_a_winner_may_still_be_behind_elsewhere() -> None:
    outcome, text = verdicts(flow=(0.27, 0.5), studentt=(0.3, 0.4))["Residual flow"]
    assert outcome == "win"
    assert "but behind Student-t head in MSE" in text


def test_a_model_without_the_main_metric_is_judged_by_the_rest() -> None:
    outcome, text = verdicts(itrans=(math.nan, 0.5), studentt=(0.3, 0.4))["iTransformer backbone"]
    assert outcome == "lose"
    assert text == f"loses to Student-t head in MSE (25.0{THIN}%)."
    assert (
        verdicts(itrans=(math.nan, math.nan), studentt=(0.3, 0.4))["iTransformer backbone"][0]
        == "unknown"
    )


def test_without_baselines_there_is_no_verdict() -> None:
    assert verdicts(flow=(0.27, 0.3), oracle=(0.2, 0.2)) == {}


def test_the_teacher_is_found_through_the_plan() -> None:
    found = entries(synthetic.evaluations(seeds=(0,)))
    student = next(row for row in found if row.node == "etth1-onestep")
    teacher = teacher_of(student, found, synthetic.plan())
    assert teacher is not None and teacher.node == "etth1-flow"
    others = [row for row in found if row.node != "etth1-flow"]
    assert teacher_of(student, others, synthetic.plan()) is None


def test_cards_tell_gain_ceiling_and_cost_of_distilling() -> None:
    found = rows(flow=(0.28, 0.3), onestep=(0.294, 0.31), studentt=(0.35, 0.4), oracle=(0.25, 0.28))
    shown = {
        card.title: card for card in cards(found, METRICS, definitions(found), synthetic.plan())
    }
    assert shown["Best model, CRPS"].value == "0.2800"
    assert shown["Against the baselines"].value == f"20.0{THIN}% better"
    assert shown["To the ceiling"].value == f"12.0{THIN}%"
    assert shown["Cost of distilling"].value == f"+5.0{THIN}%"
    assert shown["Cost of distilling"].tone == "bad"


def test_a_losing_best_model_has_a_card_that_says_so() -> None:
    found = rows(flow=(0.33, 0.3), studentt=(0.3, 0.4))
    card = cards(found, METRICS, definitions(found), synthetic.plan())[1]
    assert (card.value, card.tone) == (f"10.0{THIN}% worse", "bad")
    assert card.note == "It loses to Student-t head"


def test_the_table_ranks_marks_and_remarks() -> None:
    found = rows(flow=(0.28, 0.5), joint=(0.36, 0.3), studentt=(0.3, 0.4), oracle=(0.25, 0.2))
    table = results_table(found, METRICS, definitions(found), "crps")
    assert [row.label for row in table.rows] == [
        "Residual flow",
        "Student-t head",
        "Joint training",
    ]
    assert [row.label for row in table.ceilings] == ["Oracle"]
    assert [row.cells[0].best for row in table.rows] == [True, False, False]
    assert [row.cells[1].best for row in table.rows] == [False, False, True]
    assert table.rows[2].remark == f"loses to Student-t head by 20.0{THIN}%"
    assert table.rows[0].gap.text == f"+12.0{THIN}%"
    assert not table.has_spread


def test_labels_name_shared_words_once() -> None:
    assert _joined(["50 % coverage", "90 % coverage"]) == "50 / 90 % coverage"
    assert _joined(["coverage 50 %", "coverage 90 %"]) == "Coverage 50 % / 90 %"
    assert _joined(["coverage", "spread"]) == "Coverage / spread"
    assert _joined(["coverage"]) == "Coverage"
