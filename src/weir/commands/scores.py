"""`weir scores update`: the scores that the documentation quotes, from the results."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from weir.errors import UserError
from weir.files import write_atomically
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.params.graph import load_params
from weir.pipeline.plan import compile_plan
from weir.report.page.scores import scores, scores_text
from weir.settings.nodes import Report
from weir.stages.report import COMMAND, context_of, preset, read


def run(options: argparse.Namespace) -> None:
    """Write docs/scores, or with `--check` only fail where the results say something else."""
    layout = Layout(find_root())
    documents = found(options.params or layout.params, layout)
    for path, document in documents.items():
        where = path.relative_to(layout.root)
        if options.check:
            check(path, document, str(where))
        else:
            write_atomically(path, scores_text(document))
        print(f"{where}: {'up to date' if options.check else 'written'}")


def found(params: Path, layout: Layout) -> dict[Path, dict[str, Any]]:
    """What docs/scores is to hold, by file: for each report with `scores`, each data set.

    Raises:
        UserError: no report asks for scores, or an evaluation of one is not there.
    """
    loaded = load_params(params)
    plan = compile_plan(loaded, layout)["runs"]["report"]
    folder = layout.root / layout.results("evaluate")
    documents: dict[Path, dict[str, Any]] = {}
    for node in loaded.section("report"):
        config = node.config
        assert isinstance(config, Report)
        if config.scores is None:
            continue
        runs = plan[node.name]["evaluations"]
        if missing := [run for run in runs if not (folder / run / "details").is_dir()]:
            raise UserError(
                f"{layout.results('evaluate')}/{missing[0]}: is missing, and {node.ref} has its "
                "scores; run `snakemake`, or `dvc pull`"
            )
        evaluations = read(folder, config, runs, layout.root)
        context = context_of(evaluations, config)
        datasets = sorted({run.dataset for run in evaluations})
        for dataset in datasets:
            name = f"{config.scores}-{dataset}" if len(datasets) > 1 else config.scores
            documents[layout.root / "docs" / "scores" / f"{name}.json"] = scores(
                [run for run in evaluations if run.dataset == dataset],
                name,
                command=f"weir params use {preset(config)} && {COMMAND} && weir scores update",
                commit=context.commit,
                hardware=context.hardware,
                wall_s=context.wall_s,
            )
    if not documents:
        raise UserError(f"{params.name}: no report has `scores`; name them in one, such as `index`")
    return documents


def check(path: Path, document: dict[str, Any], where: str) -> None:
    """Compare the scores on file with the results; when and where they were made may differ.

    Raises:
        UserError: they are not the same.
    """
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        recorded = {}
    kept = ("preset", "task", "dataset", "protocol", "models")
    if any(recorded.get(key) != document[key] for key in kept):
        raise UserError(f"{where}: says something else than the results; run `weir scores update`")
