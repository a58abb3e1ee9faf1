"""The report: evaluations and a plan in, one self-contained HTML page out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weir.artifacts.evaluation import Definition, Evaluation
from weir.report.drawing import curves
from weir.report.drawing.figure import Figure
from weir.report.drawing.numbers import DASH, duration
from weir.report.drawing.theme import theme_css
from weir.report.entries import Entry, definitions, entries
from weir.report.graph.nodes import PlanGraph
from weir.report.graph.svg import dag_svg
from weir.report.measured import whole
from weir.report.page.cards import against_baselines, cards
from weir.report.page.provenance import facts, leaves, run_columns
from weir.report.page.scores import shared_protocol
from weir.report.page.table import results_table


class TaskFigures(Protocol):
    """What a task adds to its part of the page: the module `tasks/<task>/figures.py` is one.

    A task whose models do different things may have `FAMILIES` beside its `HEADLINE`: metrics of a
    table for each, by its heading. A model stands in every table of which it has a metric.
    """

    HEADLINE: tuple[str, ...]
    """Metrics of the main table; models are ranked by the first."""

    def figures(self, evaluations: Sequence[Evaluation]) -> list[Figure]:
        """Figures about the evaluations of one data set."""
        ...


VERDICTS = 8
"""Models whose line on the baselines stands open; those of the others unfold."""


@dataclass(frozen=True)
class Context:
    """What the page says about the run that made it."""

    command: str = ""
    commit: str = ""
    hardware: str = ""
    wall_s: float = float("nan")
    reproduce: tuple[str, ...] = ()
    """Shell commands, one a line; lines that begin with # are remarks."""
    tasks: Mapping[str, TaskFigures] = field(default_factory=dict)


def render(evaluations: Sequence[Evaluation], plan: PlanGraph, title: str, context: Context) -> str:
    """The whole page. The same input gives the same bytes; only the package's template is read."""
    return whole(marked(evaluations, plan, title, context))


def marked(evaluations: Sequence[Evaluation], plan: PlanGraph, title: str, context: Context) -> str:
    """The page with marks around what was measured, for the module `measured`."""
    environment = Environment(
        loader=PackageLoader("weir.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["duration"] = duration
    environment.filters["shown"] = shown
    names = sorted({(run.task, run.dataset) for run in evaluations}, key=lambda pair: pair[1])
    parts = [
        _dataset(
            [run for run in evaluations if (run.task, run.dataset) == name], plan, context, name
        )
        | {"id": f"data-{n}-{slug(name[1])}"}
        for n, name in enumerate(names, start=1)
    ]
    shared, own = facts(evaluations)
    return environment.get_template("page.html.j2").render(
        title=title,
        context=context,
        datasets=parts,
        plan=plan,
        dag=Markup(dag_svg(plan, standalone=False)) if plan.nodes else "",
        theme=Markup(theme_css()),
        style=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        definitions=_definitions(evaluations),
        shared=shared,
        runs=own,
        run_columns=run_columns(evaluations),
        nodes=_parameters(evaluations),
        dash=DASH,
    )


@dataclass(frozen=True)
class FigureGroup:
    """Figures under one heading."""

    name: str
    figures: tuple[Figure, ...]


def _dataset(
    runs: Sequence[Evaluation], plan: PlanGraph, context: Context, name: tuple[str, str]
) -> dict[str, Any]:
    task, dataset = name
    rows = entries(runs)
    known = definitions(rows)
    view = context.tasks.get(task)
    families = _families(view, rows, known)
    headline = [metric for family in families for metric in family.metrics]
    ranked = {row.node for family in families for row in family.rows}
    rivals = [row for row in rows if row.node in ranked]
    others = [row for row in rows if row not in rivals]
    drawn: list[Figure | None] = []
    drawn += [curves.glance(family.rows, family.metrics, family.name) for family in families]
    drawn += view.figures(runs) if view else []
    drawn += [curves.quality(family.rows, family.metrics, family.name) for family in families]
    drawn.append(curves.losses(rows))
    present = [figure for figure in drawn if figure is not None]
    measured = _measured(rivals)
    own = [metric for metric in _measured(others) if metric not in measured]
    rest = [metric for metric in known if metric not in (*headline, *own)]
    shared = [row for row in others if set(rest).intersection(_measured([row]))]
    return {
        "task": task,
        "name": dataset,
        "seeds": max(row.seeds for row in rows),
        "folds": max(len(row.folds) for row in rows),
        "pooling": _pooling(known),
        "models": sum(row.contender for row in rows),
        "families": [_family(family, known, plan) for family in families],
        "apart": results_table(others, own, known, own[0]) if own else None,
        "more": results_table([*rivals, *shared], rest, known, headline[0]) if rest else None,
        "results_figures": [figure for figure in present if figure.section == "Results"],
        "groups": _grouped(figure for figure in present if figure.section != "Results"),
    }


@dataclass(frozen=True)
class Family:
    """Models that do one thing, ranked by the first of its metrics.

    Attributes:
        name: heading of the table; empty where there is one family only.
        metrics: of its table.
        rows: models that have one of them, or, in the first family, no number at all.
    """

    name: str
    metrics: tuple[str, ...]
    rows: tuple[Entry, ...]


def _families(
    view: TaskFigures | None, rows: Sequence[Entry], known: Mapping[str, Definition]
) -> list[Family]:
    """Families that any row can be ranked in; encoders and the like may be in none.

    A row all of whose scores failed is no encoder: it stays where its failure shows. Where no row
    can be ranked by what the task asks for, all are by whatever there is.
    """
    asked = getattr(view, "FAMILIES", None) or {"": view.HEADLINE if view else tuple(known)}
    present = {
        name: some
        for name, metrics in asked.items()
        if (some := tuple(metric for metric in metrics if metric in known))
    }
    places = {
        row.node: [name for name, metrics in present.items() if _ranks(row, metrics)]
        for row in rows
    }
    if not any(places.values()):
        metrics = next(iter(present.values()), tuple(known))
        return [Family("", metrics, tuple(rows))] if metrics else []
    first = next(name for name in present if any(name in each for each in places.values()))
    for row in rows:
        if not places[row.node] and not (row.kind == "stage1" and _known(row)):
            places[row.node] = [first]
    found = [
        Family(name, metrics, tuple(_under(row, name) for row in rows if name in places[row.node]))
        for name, metrics in present.items()
    ]
    found = [family for family in found if family.rows]
    return [replace(found[0], name="")] if len(found) == 1 else found


def _under(row: Entry, family: str) -> Entry:
    """The same row with the family's protocol and cost."""
    return replace(row, runs=tuple(run.under(family) for run in row.runs))


def _ranks(row: Entry, metrics: Sequence[str]) -> bool:
    """Whether a row stands in a table of these metrics; an encoder needs the number itself."""
    found = _known(row) if row.kind == "stage1" else set(_measured([row]))
    return not found.isdisjoint(metrics)


def _family(family: Family, known: Mapping[str, Definition], plan: PlanGraph) -> dict[str, Any]:
    """What the page says of a family."""
    rows, metrics = family.rows, family.metrics
    verdicts = against_baselines(rows, metrics, known)
    return {
        "name": family.name,
        "protocol": _protocol(_runs(rows)),
        "differing": _differing(_runs(rows)),
        "cards": cards(rows, metrics, known, plan),
        "verdicts": verdicts[:VERDICTS],
        "further_verdicts": verdicts[VERDICTS:],
        "has_baseline": any(row.kind == "baseline" for row in rows),
        "table": results_table(rows, metrics, known, metrics[0]),
    }


def _known(row: Entry) -> set[str]:
    """Metrics of which a row has the number."""
    return {metric for metric in _measured([row]) if row.statistic(metric).known}


def _measured(rows: Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(metric for run in _runs(rows) for metric in run.metrics))


def _runs(rows: Iterable[Entry]) -> list[Evaluation]:
    return [run for row in rows for run in row.runs]


def _grouped(figures: Iterable[Figure]) -> list[FigureGroup]:
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.section, []).append(figure)
    return [FigureGroup(name, tuple(members)) for name, members in groups.items()]


OWN = ("steps", "solver", "guidance", "estimand", "fold")
"""Settings that belong to a model or a held-out group, not to the comparison."""


def _protocols(runs: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """What all runs of a held-out group have in common, for each group."""
    folds = dict.fromkeys(run.fold for run in runs)
    return [shared_protocol([run for run in runs if run.fold == fold]) for fold in folds]


def _protocol(runs: Sequence[Evaluation]) -> dict[str, Any]:
    """Settings of the comparison; numbers of items that differ between held-out groups as a sum."""
    folds = _protocols(runs)
    found: dict[str, Any] = {}
    for key in folds[0]:
        values = [fold.get(key) for fold in folds]
        if all(value == values[0] for value in values):
            found[key] = values[0]
        elif all(type(value) is int for value in values):
            found[key] = f"{sum(values)} in all"
    if len(folds) > 1:
        found.pop("fold", None)
    return found


def _differing(runs: Sequence[Evaluation]) -> list[str]:
    """Settings of the comparison itself in which the runs differ.

    Runs on different held-out groups may differ in the number of items, but every model has to be
    scored on the same groups.
    """
    keys = dict.fromkeys(key for run in runs for key in run.protocol)
    shared = _protocols(runs)
    found = [key for key in keys if key not in OWN and any(key not in fold for fold in shared)]
    if len({frozenset(row.folds) for row in entries(runs)}) > 1:
        found.append("held-out groups")
    return found


def _pooling(known: Mapping[str, Definition]) -> str:
    """How scores of held-out groups become one: "the mean", with exceptions."""
    medians = [definition.label for definition in known.values() if definition.pool == "median"]
    return f"the mean ({', '.join(medians)}: the median)" if medians else "the mean"


def _definitions(evaluations: Sequence[Evaluation]) -> list[tuple[str, str, Definition]]:
    """(task, metric, definition); tasks that mean the same by a metric share a line with no task.

    Two tasks may give one name to different scores.
    """
    found: dict[str, dict[Definition, list[str]]] = {}
    for task in sorted({run.task for run in evaluations}):
        rows = entries(run for run in evaluations if run.task == task)
        for metric, definition in definitions(rows).items():
            found.setdefault(metric, {}).setdefault(definition, []).append(task)
    return [
        ("" if len(meanings) == 1 else ", ".join(tasks), metric, definition)
        for metric, meanings in found.items()
        for definition, tasks in meanings.items()
    ]


def _parameters(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Each evaluated node with the settings of its whole lineage, flattened."""
    return [
        {
            "row": row,
            "dataset": row.first.dataset,
            "sections": [
                (section, leaves(config)) for section, config in row.first.lineage.items()
            ],
        }
        for row in sorted(entries(evaluations), key=lambda row: (row.first.dataset, row.node))
        if row.first.lineage
    ]


def shown(value: Any) -> str:
    """A setting or a fact as text; what is not known becomes a dash."""
    if value is None or value == "" or (isinstance(value, float) and value != value):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def slug(text: str) -> str:
    """Text as part of an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def _asset(name: str) -> str:
    return resources.files("weir.report").joinpath("templates", name).read_text(encoding="utf-8")
