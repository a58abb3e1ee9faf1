"""Stage `report`: one HTML page about evaluated models, and the scores that the docs quote.

    weir report index

Writes `results/report/<node>.html`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.artifacts.evaluation import Evaluation, load_evaluation
from weir.errors import UserError
from weir.report.drawing.figure import standalone
from weir.report.graph.nodes import PlanGraph
from weir.report.page.page import Context, render, slug
from weir.report.page.scores import scores, scores_text
from weir.tasks import has_part, part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Report
    from weir.tracking.tracker import Tracker

COMMAND = "snakemake --cores all"


def run(
    config: Report, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Write `report.html`, and `docs/scores/<preset>.json` if the node asks for scores."""
    evaluations, wall = read(paths.inputs["evaluations"], config)
    provenance = evaluations[0].provenance
    hardware = provenance["hardware"]
    machine = ", ".join(
        [*hardware["gpus"], f"{hardware['cores']} cores of {hardware['processor']}"]
    )
    tasks = {
        item: part(item, "figures.figures")
        for item in {run.task for run in evaluations}
        if has_part(item, "figures.figures")
    }
    preset = config.preset or config.scores or "NAME"
    context = Context(
        command=COMMAND,
        commit=provenance["commit"] or "",
        hardware=machine,
        wall_s=wall,
        reproduce=(f"git checkout {provenance['commit']}", f"weir params use {preset}", COMMAND),
        tasks=tasks,
    )
    page = render(evaluations, graph(evaluations), config.title, context)
    (paths.output / "report.html").write_text(page, encoding="utf-8")
    tracker.log_artifact(paths.output / "report.html")
    for dataset in sorted({run.dataset for run in evaluations}):
        chosen = [run for run in evaluations if run.dataset == dataset]
        view = tasks.get(chosen[0].task)
        for figure in view.figures(chosen) if view else ():
            for view in figure.views:
                for number, panel in enumerate(view.panels):
                    words = f"{dataset} {figure.title} {view.label} {number + 1}"
                    file = paths.output / f"{slug(words)}.svg"
                    file.write_text(standalone(panel), encoding="utf-8")
                    tracker.log_artifact(file, f"figures/{dataset}")
        if config.scores:
            several = len({run.dataset for run in evaluations}) > 1
            document_name = f"{config.scores}-{dataset}" if several else config.scores
            document = scores(
                chosen,
                document_name,
                command=f"weir params use {preset} && {COMMAND}",
                commit=context.commit,
                hardware=machine,
                wall_s=wall,
            )
            target = paths.root / "docs" / "scores" / f"{document_name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(scores_text(document), encoding="utf-8")


def read(folder: Path, config: Report) -> tuple[list[Evaluation], float]:
    """The evaluations that a node asks for, and the seconds spent on all that led to them.

    Raises:
        UserError: there is none, or one is not whole.
    """
    found = []
    seconds: dict[str, float] = {}
    for details in sorted(folder.glob("*/details")):
        evaluation = load_evaluation(details)
        if config.evaluate != "all" and evaluation.node not in config.evaluate:
            continue
        record = json.loads((details / "provenance.json").read_text(encoding="utf-8"))
        stages = [*record.pop("upstream"), record]
        seconds |= {f"{item['stage']}@{item['run']}": item["seconds"] for item in stages}
        record.pop("inputs")
        found.append(replace(evaluation, provenance=record))
    if not found:
        raise UserError(
            f"{folder}: holds no evaluation to report; run `dvc repro`, which makes them"
        )
    return found, sum(seconds.values())


def graph(evaluations: list[Evaluation]) -> PlanGraph:
    """The nodes that led to some evaluations, from the settings they recorded."""
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], None] = {}

    def add(ref: str, seed: int | None) -> str:
        section, _, name = ref.partition("/")
        suffix = "" if section == "datasets" or seed is None else f"-s{seed}"
        key = f"{ref}{suffix}"
        nodes[key] = {"id": key, "section": section, "name": name, "seed": seed if suffix else None}
        return key

    for run in evaluations:
        ref, below = f"evaluate/{run.node}", None
        while ref:
            key = add(ref, run.seed)
            if below:
                edges[key, below] = None
            below = key
            settings = run.lineage.get(ref.partition("/")[0], {})
            ref = _upstream(settings) if not ref.startswith("datasets/") else ""
    return PlanGraph.of({"nodes": list(nodes.values()), "edges": list(edges)})


def _upstream(settings: Any) -> str:
    """The node that another one's settings name: model, teacher, stage1 or dataset."""
    if "/" in str(settings.get("model", "")):
        return settings["model"]
    for field, section in (("teacher", "teacher"), ("stage1", "stage1"), ("dataset", "datasets")):
        if settings.get(field):
            return f"{section}/{settings[field]}"
    return ""
