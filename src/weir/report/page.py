"""The report: evaluations and a plan in, one self-contained HTML page out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weir.report import curves
from weir.report.cards import cards
from weir.report.dag import dag_svg
from weir.report.entries import Entry, definitions, entries
from weir.report.evaluation import Definition, Evaluation
from weir.report.figure import Figure
from weir.report.numbers import DASH, duration
from weir.report.plan import PlanGraph
from weir.report.provenance import facts, flatten, run_columns
from weir.report.scores import shared_protocol
from weir.report.table import results_table
from weir.report.theme import theme_css
from weir.report.verdicts import against_baselines


class TaskFigures(Protocol):
    """What a task adds to its part of the page: the module `tasks/<task>/figures.py` is one."""

    HEADLINE: tuple[str, ...]
    """Metrics of the main table; models are ranked by the first."""

    def figures(self, evaluations: Sequence[Evaluation]) -> list[Figure]:
        """Figures about the evaluations of one data set."""
        ...


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
    """The page. The same input gives the same bytes; nothing is read but the package's template."""
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
    headline = [metric for metric in (view.HEADLINE if view else known) if metric in known]
    headline = headline or list(known)
    rivals, others = _split(rows, headline)
    drawn: list[Figure | None] = []
    if headline:
        drawn.append(curves.glance(rivals, headline))
    drawn += view.figures(runs) if view else []
    if headline:
        drawn.append(curves.quality(rivals, headline))
    drawn.append(curves.losses(rows))
    present = [figure for figure in drawn if figure is not None]
    measured = _measured(rivals)
    own = [metric for metric in _measured(others) if metric not in measured]
    rest = [metric for metric in known if metric not in (*headline, *own)]
    shared = [row for row in others if set(rest).intersection(_measured([row]))]
    return {
        "task": task,
        "name": dataset,
        "protocol": _protocol(_runs(rivals)),
        "differing": _differing(_runs(rivals)),
        "seeds": max(row.seeds for row in rows),
        "folds": max(len(row.folds) for row in rows),
        "pooling": _pooling(known),
        "models": sum(row.contender for row in rows),
        "cards": cards(rivals, headline, known, plan) if headline else [],
        "verdicts": against_baselines(rivals, headline, known) if headline else [],
        "has_baseline": any(row.kind == "baseline" for row in rows),
        "table": results_table(rivals, headline, known, headline[0]) if headline else None,
        "apart": results_table(others, own, known, own[0]) if own else None,
        "more": results_table([*rivals, *shared], rest, known, headline[0]) if rest else None,
        "results_figures": [figure for figure in present if figure.section == "Results"],
        "groups": _grouped(figure for figure in present if figure.section != "Results"),
    }


def _split(rows: Sequence[Entry], headline: Sequence[str]) -> tuple[list[Entry], list[Entry]]:
    """Rows that can be ranked, and encoders and the like that only other scores apply to.

    A row all of whose scores failed is no encoder: it stays where its failure shows.
    """

    def other(row: Entry) -> bool:
        found = {metric for metric in _measured([row]) if row.statistic(metric).known}
        return bool(found) and not found.intersection(headline)

    others = [row for row in rows if row.kind == "stage1" and other(row)]
    rivals = [row for row in rows if row not in others]
    return (rivals, others) if rivals else (others, [])


def _measured(rows: Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(metric for run in _runs(rows) for metric in run.metrics))


def _runs(rows: Iterable[Entry]) -> list[Evaluation]:
    return [run for row in rows for run in row.runs]


def _grouped(figures: Iterable[Figure]) -> list[FigureGroup]:
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.section, []).append(figure)
    return [FigureGroup(name, tuple(members)) for name, members in groups.items()]


OWN = ("steps", "solver", "estimand", "fold")
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
                (section, flatten(config)) for section, config in row.first.lineage.items()
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
