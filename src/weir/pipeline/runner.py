"""One run of one stage: settings and inputs in, a whole output folder or nothing out."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from weir.artifacts.provenance import write_record
from weir.artifacts.stage_paths import StagePaths
from weir.errors import UserError
from weir.files import folder_digest, whole_output
from weir.pipeline.code import code_digest
from weir.pipeline.fingerprint import fingerprint
from weir.pipeline.job import Job
from weir.pipeline.kind import agrees
from weir.pipeline.layout import Layout
from weir.pipeline.params.graph import load_params
from weir.pipeline.params.problems import invalid
from weir.pipeline.params.yaml_file import read_yaml, shown
from weir.pipeline.plan import plan_of
from weir.pipeline.provenance import provenance
from weir.pipeline.unchanged import unchanged
from weir.processes import is_main_process
from weir.settings.base import Config
from weir.settings.nodes import Report
from weir.stage_table import STAGES


def prepare(
    stage: str,
    name: str,
    seed: int | None,
    layout: Layout,
    params: Path,
    fold: int | None = None,
) -> Job:
    """Find the node, check its settings and inputs, and name what it depends on.

    Only the node itself is read from params.yaml, and only the graph from plan.json, with the kinds
    of models below: what another node says, or an edit made while the job waited in a queue, cannot
    change this run. For another file of settings, and for a report that is written by hand, the
    graph is compiled first.

    Raises:
        UserError: unknown node, seed or fold, bad settings, or an input that is not there.
    """
    section = STAGES[stage].section
    settings = (read_yaml(params).get(section) or {}).get(name)
    entries = _planned(stage, name, layout, params, known=settings is not None)
    key = _key(entries, name, seed, fold, params)
    entry = entries[key]
    task = entry.get("task", "")
    config = _config(section, name, settings, task, params)
    if section != "report" and not agrees(entry.get("kind"), section, config):
        # The plan is older than the setting that names the model's kind.
        entry = plan_of(params, layout)["runs"][stage][key]
    kind = entry.get("kind", "")
    if section == "datasets" and fold is not None:
        config = config.fold(fold)  # type: ignore[attr-defined]  # no folds, no `fold`
    inputs = {role: layout.root / path for role, path in _inputs(stage, entry, layout).items()}
    for role, path in inputs.items():
        if not path.exists():
            raise UserError(
                f"{_relative(path, layout)}: the {role} of {section}/{key} is missing; run "
                f"`dvc repro {stage}@{key}`, which makes it first, or `dvc pull`"
            )
    output = layout.root / layout.output(stage, key)
    digests = {role: folder_digest(path) for role, path in inputs.items()}
    code = code_digest(stage, task, kind, layout.work)
    identity = fingerprint(stage, key, config.model_dump(mode="json"), digests, code)
    return Job(
        stage,
        name,
        key,
        entry.get("seed", 0),
        task,
        _dataset(section, name, entry),
        config,
        inputs,
        output,
        identity,
        digests,
        fold,
        kind,
        tuple(entry.get("evaluations", ())),
    )


def execute(job: Job, layout: Layout, tracker: Any) -> Path:
    """Run a prepared stage; returns the path of its output."""
    started = time.monotonic()
    module = import_module(f"weir.stages.{job.stage}")
    checkpoints = layout.checkpoints(job.section, job.key, job.fingerprint)
    single = "report.html" if job.stage == "report" else None
    if not is_main_process():
        _run_as_worker(job, module, checkpoints, layout, tracker)
    with whole_output(job.output, single) as temporary, unchanged(job, layout):
        paths = StagePaths(job.key, temporary, job.inputs, checkpoints, layout.root, job.shown)
        module.run(job.config, paths, tracker, name=job.name, task=job.task, seed=job.seed)
        if STAGES[job.stage].of_run:
            seconds = time.monotonic() - started
            record = provenance(job, layout, seconds, paths.times, tracker.run_id)
            write_record(layout.root, record, folder_digest(temporary))
    # Only now is nothing left to resume; checkpoints of other parameters or code are stale.
    shutil.rmtree(checkpoints.parent, ignore_errors=True)
    return job.output


def _run_as_worker(
    job: Job, module: Any, checkpoints: Path, layout: Layout, tracker: Any
) -> NoReturn:
    """Take part in a training as one of several processes, and leave the output to the first."""
    logging.disable(logging.WARNING)  # the first process says the same
    warnings.simplefilter("ignore")
    if STAGES[job.stage].trains:
        with tempfile.TemporaryDirectory(prefix="weir-") as nowhere:
            paths = StagePaths(job.key, Path(nowhere), job.inputs, checkpoints, layout.root)
            module.run(job.config, paths, tracker, name=job.name, task=job.task, seed=job.seed)
    raise SystemExit(0)


def _planned(
    stage: str, name: str, layout: Layout, params: Path, *, known: bool
) -> dict[str, dict[str, Any]]:
    """Runs of a node in plan.json, which is refreshed if the node is new."""
    by_hand = stage == "report" and "DVC_STAGE" not in os.environ
    if known and not by_hand and layout.owns(params) and layout.plan.exists():
        plan = json.loads(layout.plan.read_text(encoding="utf-8"))
        # That of an older Weir lacks tables.
        if entries := _of(plan["runs"].get(stage, {}), name):
            return entries
    if not known:
        load_params(params).node(STAGES[stage].section, name)  # which says that there is none
    return _of(plan_of(params, layout)["runs"][stage], name)


def _of(runs: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    return {key: entry for key, entry in runs.items() if entry["name"] == name}


def _key(
    entries: dict[str, Any], name: str, seed: int | None, fold: int | None, params: Path
) -> str:
    folds = sorted({entry["fold"] for entry in entries.values() if "fold" in entry})
    if folds and fold not in folds:
        listed = ", ".join(map(str, folds))
        raise UserError(f"{name}: --fold must be one of its dataset's folds ({listed}), got {fold}")
    if not folds and fold is not None:
        raise UserError(f"{name}: has no folds here; leave out --fold {fold}")
    entries = {key: entry for key, entry in entries.items() if entry.get("fold") == fold}
    unseeded = name if fold is None else f"{name}-f{fold}"
    by_seed = {entry.get("seed", 0): key for key, entry in entries.items()}
    if len(entries) == 1 and (seed is None or unseeded in entries):
        return next(iter(entries))
    if seed in by_seed:
        return by_seed[seed]
    listed = ", ".join(map(str, sorted(by_seed)))
    raise UserError(f"{name}: --seed must be one of {shown(params)}'s seeds ({listed}), got {seed}")


def _config(section: str, name: str, settings: Any, task: str, params: Path) -> Config:
    from pydantic import ValidationError

    from weir.tasks import part

    model = Report if section == "report" else part(task, "settings.sections").SECTIONS[section]
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise invalid(params, [section, name], model, settings, error) from None


def _dataset(section: str, name: str, entry: dict[str, Any]) -> str:
    """Name of the dataset node: that of the processed folder without its fold."""
    folder = name if section == "datasets" else entry.get("dataset", "")
    return folder.removesuffix(f"-f{entry['fold']}") if "fold" in entry else folder


def _inputs(stage: str, entry: dict[str, Any], layout: Layout) -> dict[str, str]:
    """Paths of what a stage reads, relative to the root, by role."""
    known = {
        **entry,
        "data": layout.processed(entry.get("dataset", "")),
        "evaluations": layout.results("evaluate"),
    }
    found = {role: known[role] for role in STAGES[stage].inputs}
    if found.get("upstream", "").endswith("schema.json"):  # built on the dataset alone
        del found["upstream"]
    return found


def _relative(path: Path, layout: Layout) -> Path:
    return path.relative_to(layout.root) if path.is_relative_to(layout.root) else path
