"""Figures of generated cells are drawn from the tables that are there, and from no others."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import perturb_evaluations as made
import pytest

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import Entry, entries
from weir.report.tables import folds
from weir.tasks.perturb.figures.doses import curve
from weir.tasks.perturb.figures.doses import held_out as held_out_doses
from weir.tasks.perturb.figures.figures import HEADLINE, figures
from weir.tasks.perturb.figures.genes import shift
from weir.tasks.perturb.figures.groups import held_out
from weir.tasks.perturb.figures.responses import Key, recorded, responses, titles
from weir.tasks.perturb.figures.violins import outline

FEW = ("B cells", "NK cells")
TITLES_OF = {
    "cells": ["Cells, true and generated"],
    "genes": ["Shift of each gene", "Means and variances of the genes"],
    "violins": ["Genes that answer most"],
    "doses": ["Dose and response"],
}


def by_title(found: list[Figure]) -> dict[str, Figure]:
    return {figure.title: figure for figure in found}


def words(panel: str) -> str:
    return ElementTree.fromstring(panel).get("aria-label") or ""


def text(panel: str) -> str:
    return "".join(ElementTree.fromstring(panel).itertext())


def without(run: Evaluation, table: str) -> Evaluation:
    return replace(run, tables={name: t for name, t in run.tables.items() if name != table})


def only(node: str, *tables: str) -> Evaluation:
    run = made.evaluation(node)
    return replace(run, tables={name: run.tables[name] for name in tables})


def row(*runs: Evaluation) -> Entry:
    (found,) = entries(runs)
    return found


@pytest.fixture(scope="module")
def runs() -> list[Evaluation]:
    nodes = ("flow", "population", "matching", "half", "vae")
    return made.evaluations(folds=FEW, seeds=(0,), genes=30, nodes=nodes)


@pytest.fixture(scope="module")
def found(runs: list[Evaluation]) -> dict[str, Figure]:
    return by_title(figures(runs))


def test_every_table_has_its_figure_and_every_panel_is_well_formed(
    found: dict[str, Figure],
) -> None:
    assert [figure.section for figure in found.values()] == [
        "Results",
        "Cells",
        "Genes",
        "Genes",
        "Genes",
        "Doses",
        "Latent space",
    ]
    for figure in found.values():
        for view in figure.views:
            assert view.panels
            assert all(words(panel) for panel in view.panels)


@pytest.mark.parametrize("absent", sorted(TITLES_OF))
def test_an_absent_table_takes_only_its_own_figures_away(absent: str) -> None:
    kept = by_title(figures([without(made.evaluation("flow"), absent)]))
    every = {title for named in TITLES_OF.values() for title in named}
    assert set(kept) == every - set(TITLES_OF[absent])


def test_the_auc_is_drawn_without_a_plane_too() -> None:
    (figure,) = figures([without(made.evaluation("vae"), "latent")])
    assert [view.label for view in figure.views] == ["Batch AUC of z_int"]


def test_without_evaluations_there_is_nothing_to_draw() -> None:
    assert figures([]) == []
    assert figures([replace(made.evaluation("flow"), tables={})]) == []


def test_the_best_model_of_each_kind_gets_a_tab_and_the_ceiling_none(
    found: dict[str, Figure],
) -> None:
    labels = [view.label for view in found["Cells, true and generated"].views]
    assert labels == ["Flow, control to perturbed", "Matching mean"]


def test_headline_metrics_are_those_of_the_contract() -> None:
    assert HEADLINE[0] == "pearson_delta"
    assert set(HEADLINE) <= set(made.BETTER)


def test_folds_stand_side_by_side(runs: list[Evaluation]) -> None:
    table = folds(row(*[run for run in runs if run.node == "kang-flow"]), "cells")
    assert set(table["response"]) == {"B cells / stim", "NK cells / stim"}


def test_of_several_seeds_the_smallest_is_drawn() -> None:
    second, first = (made.evaluation("flow", seed) for seed in (4, 2))
    cells = folds(row(second, first), "cells")
    assert cells[["x", "y"]].equals(first.tables["cells"][["x", "y"]])


def frame(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["fold", "response"])


def test_folds_take_turns_where_there_are_too_many_responses() -> None:
    table = frame(*[("a", f"a{n}") for n in range(20)], ("b", "b0"), ("c", "c0"))
    kept = responses([table])
    assert len(kept) == 6
    assert {key.fold for key in kept} == {"a", "b", "c"}
    assert responses([frame(*[(f"f{n}", "x") for n in range(20)])], 4) == [
        Key(f"f{n}", "x") for n in (0, 5, 10, 15)
    ]


def test_only_responses_that_every_model_has_are_drawn() -> None:
    assert responses([frame(("", "x"), ("", "y")), frame(("", "y"))]) == [Key("", "y")]
    assert responses([frame(("", "x")), frame(("", "y"))]) == []
    assert responses([]) == []


def test_a_response_of_several_folds_is_named_by_its_fold() -> None:
    named = titles([Key("one", "x"), Key("two", "x"), Key("two", "y")])
    assert list(named.values()) == ["x (one)", "x (two)", "y"]


def test_shifts_are_from_control() -> None:
    table = pd.DataFrame(
        {
            "gene": ["A", "B"],
            "de": [True, False],
            "control_mean": [1.0, 2.0],
            "true_mean": [3.0, 1.5],
            "predicted_mean": [2.5, 2.0],
        }
    )
    moved = shift(table)
    assert moved["true"].tolist() == [2.0, -0.5]
    assert moved["predicted"].tolist() == [1.5, 0.0]


def test_titles_quote_what_the_evaluation_measured() -> None:
    run = only("flow", "genes", "responses")
    table = run.tables["responses"]
    table["pearson_delta"] = 0.123
    assert recorded(row(run), Key("", table["response"][0]), "pearson_delta") == 0.123
    panel = by_title(figures([run]))["Shift of each gene"].views[0].panels[0]
    assert "r = 0.12" in text(panel)
    assert math.isnan(recorded(row(run), Key("", "elsewhere"), "pearson_delta"))


def test_genes_that_shift_most_are_named() -> None:
    run = only("flow", "genes")
    genes = run.tables["genes"]
    genes.loc[5, "true_mean"] = genes["true_mean"].max() + 5
    panel = by_title(figures([run]))["Shift of each gene"].views[0].panels[0]
    assert "GENE5" in text(panel)


def test_a_zero_dose_has_no_place_and_runs_are_averaged() -> None:
    part = pd.DataFrame(
        {
            "perturbation": "p",
            "context": None,
            "dose": [0.0, 1.0, 2.0],
            "kind": "true",
            "response": [0.0, 1.0, 3.0],
        }
    )
    mean = curve(pd.concat([part, part.assign(response=[0.0, 3.0, 5.0])]))
    assert mean["dose"].tolist() == [1.0, 2.0]
    assert mean["response"].tolist() == [2.0, 4.0]
    assert mean["context"].tolist() == ["", ""]


def test_a_fold_speaks_only_of_the_doses_that_it_held_out() -> None:
    def run(fold: str, dose: float, predicted: list[float]) -> Evaluation:
        doses = pd.DataFrame(
            {
                "perturbation": "p",
                "context": "c",
                "dose": [1.0, 2.0] * 2,
                "kind": ["true"] * 2 + ["predicted"] * 2,
                "response": [1.0, 2.0, *predicted],
            }
        )
        tested = pd.DataFrame({"response": ["r"], "context": "c", "dose": dose})
        return made.evaluation("flow", fold=fold, made={"doses": doses, "responses": tested})

    runs = [run(FEW[0], 1.0, [0.9, 7.0]), run(FEW[1], 2.0, [7.0, 1.8])]
    table = curve(held_out_doses(row(*runs)))
    assert table[table["kind"] == "predicted"]["response"].tolist() == [0.9, 1.8]
    assert table[table["kind"] == "true"]["response"].tolist() == [1.0, 2.0]


def test_a_violin_is_widest_where_most_cells_are_and_survives_a_constant() -> None:
    values = np.array([0.0] * 80 + [2.0] * 20)
    heights, widths = outline(values, 2.0)
    assert abs(heights[widths.argmax()]) < 0.3
    assert widths.max() == 1.0
    heights, widths = outline(np.zeros(5), 0.0)
    assert np.isfinite(heights).all() and np.isfinite(widths).all()


def test_each_held_out_group_has_a_line_and_the_last_is_the_table_s(
    found: dict[str, Figure],
) -> None:
    figure = next(figure for figure in found.values() if figure.section == "Results")
    assert [view.label for view in figure.views] == [
        "Pearson delta",
        "Energy distance",
        "MMD ratio",
    ]
    shown = text(figure.views[0].panels[0])
    assert shown.index("B cells") < shown.index("NK cells") < shown.index("overall")
    assert "Split half of the truth" in shown and "Autoencoder" not in shown
    assert "higher is better" in shown
    assert "lower is better" in text(figure.views[1].panels[0])


def test_groups_that_are_too_many_for_lines_become_dots() -> None:
    table = pd.DataFrame({"response": [f"group {n}" for n in range(20)], "pearson_delta": 0.8})
    runs = [made.evaluation(node, made={"responses": table}) for node in ("flow", "matching")]
    figure = held_out(entries(runs))
    assert figure is not None
    panel = text(figure.views[0].panels[0])
    assert "Matching mean" in panel and "group 1" not in panel


def test_a_single_group_needs_no_figure() -> None:
    assert held_out(entries([made.evaluation("flow")])) is None


def test_the_latent_s_title_holds_the_auc_and_chance(found: dict[str, Figure]) -> None:
    views = found["The intrinsic latent"].views
    assert [view.label for view in views] == ["Autoencoder of counts", "Batch AUC of z_int"]
    by_batch, by_type = views[0].panels
    assert "AUC 0.5" in text(by_batch) and "chance 0.5" in text(by_batch)
    assert "donor 2" in text(by_batch) and "Monocytes" in text(by_type)
    assert "chance" in text(views[1].panels[0])


def test_rare_categories_share_a_colour() -> None:
    run = made.evaluation("vae")
    table = run.tables["latent"]
    table["cell_type"] = [f"type {n % 12}" for n in range(len(table))]
    panel = by_title(figures([run]))["The intrinsic latent"].views[0].panels[1]
    assert "5 others" in text(panel)


def test_drawing_is_deterministic() -> None:
    assert figures([made.evaluation()]) == figures([made.evaluation()])


def frame_of(panel: str) -> list[str]:
    """Where the true cells of a panel are drawn."""
    return max(re.findall(r' d="((?:M[-\d.]+ [-\d.]+h0)+)"', panel), key=len).split("M")


def test_models_share_a_frame_only_where_they_share_a_plane() -> None:
    far, near = only("flow", "cells"), only("matching", "cells")
    cells = far.tables["cells"]
    cells.loc[cells["kind"] == "predicted", "x"] += 50
    kept = by_title(figures([far, near]))["Cells, true and generated"].views
    own = near.tables["cells"]
    own.loc[own["kind"] == "true", "x"] += 0.01
    moved = by_title(figures([far, near]))["Cells, true and generated"].views
    assert kept[0].panels == moved[0].panels
    widths = []
    for views in (kept, moved):
        places = [float(place.split()[0]) for place in frame_of(views[1].panels[0]) if place]
        widths.append(max(places) - min(places))
    assert widths[1] > 3 * widths[0]
