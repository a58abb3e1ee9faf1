"""`weir <stage> <name>`: one run of one stage, tracked."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from weir.engines.devices import run_together
from weir.engines.memory import keep_freed_memory
from weir.pipeline.job import Job
from weir.pipeline.layout import Layout, find_root, outer_root
from weir.pipeline.provenance import commit_of, upstream_runs
from weir.pipeline.runner import execute, prepare
from weir.stage_table import STAGES
from weir.tasks import part
from weir.tracking.lineage import dvc_digests, dvc_md5
from weir.tracking.run import open_stage


def run(options: argparse.Namespace) -> int:
    """Run the stage that the command line names; returns the exit code."""
    layout = Layout(find_root())
    if (code := run_together(options.command, layout.root)) is not None:
        return code
    # What goes through data once is to stay small in memory.
    if not STAGES[options.command].of_data:
        keep_freed_memory()
    params = options.params or layout.params
    job = prepare(options.command, options.name, options.seed, layout, params, options.fold)
    digests = dvc_digests(layout.root, job.inputs.values())
    tags = {
        "fingerprint": job.fingerprint,
        **{f"upstream.{role}": run for role, run in upstream_runs(job, layout).items()},
        **{f"dvc.{path}": digest for path, digest in digests.items()},
    }
    if name := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = name
    scored_on = job.input_digests.get("data", "")
    if split := getattr(job.config, "split", ""):
        scored_on += f"/{split}" if job.stage == "evaluate" else ""
    with open_stage(
        _recorded_in(layout.root),
        work=layout.root,
        section=job.stage,
        key=job.key,
        name=job.name,
        seed=job.seed,
        fold=job.fold,
        task=job.task,
        dataset=job.dataset,
        tags=tags,
        commit=commit_of(layout)[0],
        headlines=part(job.task, "about").HEADLINES if job.task else None,
        scored_on=scored_on,
    ) as tracker:
        if data := job.inputs.get("data"):
            place = data.relative_to(layout.root).as_posix()
            tracker.log_dataset(data.name, digests.get(place, job.input_digests["data"]), place)
        output = execute(job, layout, tracker)
        with tempfile.TemporaryDirectory() as scratch:
            for file in _artifacts(job, output, layout, Path(scratch)):
                tracker.log_artifact(file)
    print(output.relative_to(layout.root))
    return 0


def _artifacts(job: Job, output: Path, layout: Layout, scratch: Path) -> list[Path]:
    """What MLflow keeps of a run beside its numbers: settings, history, scores, where DVC has it.

    Weights and data are pointed to: DVC keeps them.
    """
    settings, pointer = scratch / "settings.json", scratch / "dvc.json"
    settings.write_text(job.config.model_dump_json(indent=1) + "\n", encoding="utf-8")
    places = [output]
    if job.stage == "evaluate":  # its folder has three outputs
        places = [output / name for name in ("details", "metrics.json", "curve.csv")]
    content = [
        {"path": place.relative_to(layout.root).as_posix(), "md5": dvc_md5(place)}
        for place in places
        if place.exists() and not STAGES[job.stage].of_data
    ] or [{"path": output.relative_to(layout.root).as_posix()}]
    pointer.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    found = [output / name for name in ("history.csv", "metrics.json", "curve.csv")]
    return [settings, pointer, *(file for file in found if file.exists())]


def _recorded_in(root: Path) -> Path:
    """The repository whose store has the runs: of a copy for an experiment of DVC, the original."""
    outer = outer_root(root)
    if outer != root and not (outer / "dvc.yaml").is_file():
        print(
            f"weir: tracking: {outer}: the repository of this copy is gone; its runs are recorded "
            f"in {root}",
            file=sys.stderr,
        )
        return root
    return outer
