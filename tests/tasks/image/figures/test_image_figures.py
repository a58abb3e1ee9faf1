"""Figures of made pictures are drawn from the tables that are there, and from no others."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import image_evaluations as made
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from PIL import Image

from weir.artifacts.evaluation import Evaluation
from weir.report.drawing.figure import Figure
from weir.report.entries import Entry, definitions, entries
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, render
from weir.report.tables import averaged, chosen
from weir.tasks.image.figures import figures as image_figures
from weir.tasks.image.figures.confusion import shares
from weir.tasks.image.figures.denoising import bits
from weir.tasks.image.figures.figures import HEADLINE, figures
from weir.tasks.image.figures.samples import samples
from weir.tasks.image.figures.sheet import RANKING, lines, words
from weir.tasks.image.figures.toys import _arrows

SAMPLES, POINTS = "Samples", "Points made"
TITLES_OF = {
    "pictures": [SAMPLES, "From noise to a sample", "What is left under noise"],
    "confusion": ["Classes asked for and classes seen"],
    "bits": ["Bits per dimension, picture by picture"],
    "denoising": ["Denoising error"],
}
NEAREST = "Nearest training items"
"""Drawn from two tables, each of which is enough."""


def by_title(found: list[Figure]) -> dict[str, Figure]:
    return {figure.title: figure for figure in found}


def alt(panel: str) -> str:
    return ElementTree.fromstring(panel).get("aria-label") or ""


def text(panel: str) -> str:
    return " ".join(ElementTree.fromstring(panel).itertext())


def without(run: Evaluation, table: str) -> Evaluation:
    return replace(run, tables={name: t for name, t in run.tables.items() if name != table})


@pytest.fixture(scope="module")
def runs() -> list[Evaluation]:
    return made.evaluations()


@pytest.fixture(scope="module")
def found(runs: list[Evaluation]) -> dict[str, Figure]:
    return by_title(figures(runs))


@pytest.fixture(scope="module")
def toys() -> dict[str, Figure]:
    return by_title(figures(made.evaluations(("flow", "denoiser", "plain", "gaussian"), toy=True)))


def test_every_table_has_its_figure_and_every_panel_its_words(found: dict[str, Figure]) -> None:
    assert set(found) == {title for named in TITLES_OF.values() for title in named} | {NEAREST}
    for figure in found.values():
        assert len({view.label for view in figure.views}) == len(figure.views)
        for view in figure.views:
            assert view.panels and all(alt(panel) for panel in view.panels)
            assert all("nan" not in re.sub('base64,[^"]*', "", p) for p in view.panels)


@pytest.mark.parametrize("absent", sorted(TITLES_OF))
def test_an_absent_table_takes_only_its_own_figures_away(absent: str) -> None:
    kept = set(by_title(figures([without(made.evaluation(), absent)])))
    every = {title for named in TITLES_OF.values() for title in named} | {NEAREST}
    assert kept == every - set(TITLES_OF[absent])


def test_without_tables_there_is_nothing_to_draw() -> None:
    assert figures([]) == []
    assert figures([replace(made.evaluation(), tables={})]) == []


def test_the_data_stand_first_and_every_model_has_a_tab(found: dict[str, Figure]) -> None:
    labels = [view.label for view in found[SAMPLES].views]
    assert labels[0] == "Data"
    # Models by their score, then the baselines by theirs; training pictures are no model.
    assert labels[1:4] == ["Denoiser (UNet)", "Flow matching", "One-step student"]
    assert labels[-2:] == ["Mixture of Gaussians", "Gaussian of each class"]
    assert "Training pictures" not in labels


def test_classes_are_named_and_all_pictures_are_there(found: dict[str, Figure]) -> None:
    panel = found[SAMPLES].views[0].panels[0]
    assert text(panel).split() == list(made.CLASSES)
    sizes = [Image.open(io.BytesIO(png)).size for png in sprites(panel)]
    assert sum(wide * high for wide, high in sizes) == 80 * 8 * 8


def sprites(panel: str) -> list[bytes]:
    found = re.findall('data:image/png;base64,([^"]*)', panel)
    return [base64.b64decode(data) for data in found]


def test_large_pictures_in_colour_get_fewer_columns() -> None:
    random = np.random.default_rng(0)
    rows = [
        ("sample", n, m, f"class {n}", np.nan, made.png(random.random((32, 32, 3))))
        for n in range(30)
        for m in range(8)
    ]
    table = pd.DataFrame(rows, columns=["kind", "row", "column", "label", "value", "png"])
    (row,) = entries([made.evaluation(made={"pictures": table})])
    figure = samples([row])
    assert figure is not None
    (view,) = figure.views
    sizes = [Image.open(io.BytesIO(png)).size for png in sprites(view.panels[0])]
    assert sum(wide * high for wide, high in sizes) == 20 * 3 * 32 * 32
    assert "class 0" in text(view.panels[0]) and "class 28" in text(view.panels[0])


def test_a_way_begins_in_endless_noise_and_ends_without() -> None:
    table = made.evaluation().tables["pictures"]
    table = table[(table["kind"] == "trajectory") & table["column"].isin([0, 5, 17])]
    noise = {0: np.nan, 5: 1.5, 17: -4.37e-8}
    table = table.assign(value=table["column"].map(noise))
    (figure,) = figures([made.evaluation(made={"pictures": table})])
    assert "∞ 1.5 0" in " ".join(text(figure.views[0].panels[0]).split())


def test_a_missing_picture_leaves_its_place_empty() -> None:
    table = made.evaluation().tables["pictures"]
    table = table[table["kind"] == "data"]
    table = table[~((table["row"] == 1) & (table["column"] == 0))]
    grid = lines(table)
    assert grid[1][0] is None
    assert all(item is not None for n, line in enumerate(grid) for item in line if n != 1)


def test_models_without_a_likelihood_have_no_line(found: dict[str, Figure]) -> None:
    panel = found["Bits per dimension, picture by picture"].views[0].panels[0]
    assert "Score flow" in text(panel) and "Flow matching" not in text(panel)
    assert alt(panel).index("Score flow") < alt(panel).index("Plain flow")


def test_bits_quote_their_mean_and_bear_impossible_pictures() -> None:
    values = np.array([2.0, 2.5, 3.0, 2.5] * 30)
    table = pd.DataFrame({"item": range(120), "label": "a", "bits": values})
    table.loc[0, "bits"] = np.inf
    (row,) = entries([made.evaluation(made={"bits": table})])
    figure = bits([row])
    assert figure is not None
    assert "nan" not in figure.views[0].panels[0]
    table.loc[0, "bits"] = 2.0
    assert "2.50" in text(bits([row]).views[0].panels[0])


def test_confusion_is_the_share_of_what_was_asked_over_all_seeds() -> None:
    def run(seed: int, right: int) -> Evaluation:
        rows = [("a", "a", right), ("a", "b", 10 - right), ("b", "b", 20)]
        table = pd.DataFrame(rows, columns=["asked", "judged", "count"])
        return made.evaluation(seed=seed, made={"confusion": table})

    (row,) = entries([run(0, 10), run(1, 7)])
    table = shares(row)
    assert table.loc["a"].tolist() == pytest.approx([0.85, 0.15])
    assert table.loc["b"].tolist() == [0.0, 1.0]


def test_the_class_that_is_met_least_is_told(found: dict[str, Figure]) -> None:
    table = pd.DataFrame(
        [("0", "0", 9), ("0", "1", 1), ("1", "0", 8), ("1", "1", 2)],
        columns=["asked", "judged", "count"],
    )
    (figure,) = figures([made.evaluation(made={"confusion": table})])
    panel = figure.views[0].panels[0]
    assert "least of class 1, 20 per cent" in alt(panel)
    assert "55.0 %" in text(panel)


def test_denoising_is_compared_at_each_noise(found: dict[str, Figure]) -> None:
    panels = found["Denoising error"].views[0].panels
    assert len(panels) == 2
    assert "at noise 1" in alt(panels[0])
    # The best has a ratio of one, the Gaussian lies above it.
    ratios = dict(
        re.findall(r"(Denoiser \(UNet\)|Gaussian of each class) ([\d.]+)", alt(panels[1]))
    )
    assert float(ratios["Denoiser (UNet)"]) == 1 < float(ratios["Gaussian of each class"])
    assert "One-step student" not in text(panels[0])


def test_one_denoiser_alone_is_not_compared() -> None:
    run = made.evaluation()
    only = replace(run, tables={"denoising": run.tables["denoising"]})
    (figure,) = figures([only])
    assert len(figure.views[0].panels) == 1


def test_curves_are_averaged_over_seeds() -> None:
    def run(seed: int, mse: float) -> Evaluation:
        table = pd.DataFrame({"sigma": [1.0, 2.0], "mse": [mse, 3 * mse]})
        return made.evaluation(seed=seed, made={"denoising": table})

    (row,) = entries([run(0, 0.1), run(1, 0.3)])
    assert averaged(row, "denoising", ["sigma"], ["mse"], sort=True)["mse"].tolist() == [
        0.2,
        pytest.approx(0.6),
    ]
    assert averaged(row, "absent", ["sigma"], ["mse"], sort=True).empty


def test_distances_are_told_beside_those_of_test_pictures(found: dict[str, Figure]) -> None:
    view = found[NEAREST].views[0]
    assert len(view.panels) == 2
    assert re.search(r"median \d\.\d+; of the test split 1\.1", alt(view.panels[1]))


def test_distances_of_a_toy_need_no_pictures() -> None:
    table = pd.DataFrame({"kind": ["sample", "test"] * 5, "distance": range(10)})
    (figure,) = figures([made.evaluation(made={"nearest": table})])
    assert figure.title == NEAREST and len(figure.views[0].panels) == 1


def test_a_toy_has_points_and_fields(toys: dict[str, Figure]) -> None:
    assert set(toys) == {POINTS, "Fields of scores", "Denoising error"}
    assert len(toys[POINTS].views[0].panels) == 4
    labels = {view.label: view.panels for view in toys["Fields of scores"].views}
    assert "Plain flow, softplus" not in labels
    assert all(len(panels) == 3 for panels in labels.values())
    assert "contours" in alt(labels["Score flow, EDM-Heun"][0])
    assert "no density" in text(labels["Denoiser (UNet)"][0])


def test_arrows_point_along_the_score() -> None:
    axes = Canvas().add_subplot()
    x, y = np.linspace(0, 1, 3), np.linspace(0, 2, 5)
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    table = pd.DataFrame(places, columns=["x", "y"]).assign(u=3.0, v=-4.0)
    _arrows(axes, table, x, y, "teacher")
    (patch,) = axes.patches
    shaft = patch.get_path().vertices.reshape(-1, 5, 2)
    assert len(shaft) == 15
    vector = shaft[:, 1] - shaft[:, 0]
    assert np.allclose(vector / np.linalg.norm(vector, axis=1, keepdims=True), [0.6, -0.8])
    assert np.linalg.norm(vector, axis=1).max() <= 2 / 14


def test_evaluations_of_one_model_are_drawn_once_where_they_do_not_differ() -> None:
    heun = made.evaluation()
    direct = replace(made.evaluation(), node="direct", name="direct-s0", label="Score flow, direct")
    found = by_title(figures([heun, direct]))
    assert len(found[SAMPLES].views) == 3
    assert len(found["What is left under noise"].views) == 1
    for title in ("Bits per dimension, picture by picture", "Denoising error"):
        assert alt(found[title].views[0].panels[0]).count("Score flow") == 1


def test_one_hopeless_model_squeezes_no_other() -> None:
    table = pd.DataFrame({"kind": ["sample", "test"] * 100, "distance": 1.0})
    lost = table.assign(distance=table["distance"].where(table["kind"] == "test", 1e4))
    runs = [made.evaluation("flow", made={"nearest": table})]
    runs.append(made.evaluation("plain", made={"nearest": lost}))
    (figure,) = figures(runs)
    ticks = re.findall(r"\b\d+\.\d\b", text(figure.views[0].panels[0]))
    assert 1 <= max(map(float, ticks)) <= 2.1


def test_labels_are_plain() -> None:
    assert words([3.0, 2, "two", None, float("nan"), np.int64(4)]) == ["3", "2", "two", "", "", "4"]


def test_the_best_are_chosen_and_ceilings_never(runs: list[Evaluation]) -> None:
    picked = chosen(entries(runs), RANKING, 2, 1)
    assert [row.label for row in picked] == [
        "Denoiser (UNet)",
        "Flow matching",
        "Mixture of Gaussians",
    ]


@pytest.fixture(scope="module")
def page(runs: list[Evaluation]) -> str:
    plan = PlanGraph.of({"nodes": [], "edges": []})
    return render(runs, plan, "Digits", Context(tasks={"image": image_figures}))


def test_a_page_of_eight_models_is_small(runs: list[Evaluation], page: str) -> None:
    assert len(runs) == 8 and len(page) < 300_000
    assert all(f"<h4>{title}</h4>" in page for title in (SAMPLES, NEAREST))


def test_models_that_lack_a_score_are_ranked_by_those_they_have(
    runs: list[Evaluation], page: str
) -> None:
    rows: list[Entry] = entries(runs)
    known = definitions(rows)
    assert {"bits_per_dim", "denoising_mse_1"} <= set(HEADLINE) & set(known)
    body = re.search(r"<caption>Results on digits, ranked by energy score.*?</table>", page, re.S)
    assert body is not None
    line = next(part for part in body[0].split("<tr") if "Flow matching" in part)
    assert line.count('title="not measured"') == 1
    # A flow that is behind in bits says so, a denoiser without any is not blamed for it.
    verdicts = re.findall(r"<strong>(.*?)</strong> (.*?)</li>", page)
    said = dict(verdicts)
    assert "bits per dimension" in said["Plain flow, softplus"]
    assert "bits" not in said["Denoiser (UNet)"]
    glance = re.search(r'data-label="Bits per dimension">(.*?)</section>', page, re.S)
    assert glance is not None and "Flow matching" not in glance[1] and "Score flow" in glance[1]
