"""`weir <stage> <name>`: one run of one stage, tracked."""

from __future__ import annotations

import argparse

from weir.engines.devices import run_together
from weir.engines.memory import keep_freed_memory
from weir.pipeline.layout import Layout, find_root
from weir.pipeline.provenance import commit_of, upstream_runs
from weir.pipeline.runner import execute, prepare
from weir.stage_table import STAGES
from weir.tasks import part
from weir.tracking.lineage import dvc_digests
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
    with open_stage(
        layout.root,
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
    ) as tracker:
        if data := job.inputs.get("data"):
            place = data.relative_to(layout.root).as_posix()
            tracker.log_dataset(data.name, digests.get(place, job.input_digests["data"]), place)
        output = execute(job, layout, tracker)
    print(output.relative_to(layout.root))
    return 0
