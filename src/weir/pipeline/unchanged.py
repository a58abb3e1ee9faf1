"""Guard of a stage's run: no result is recorded if code or parameters changed meanwhile.

DVC reads a stage's parameters when the stage ends (tried: edit a parameter meanwhile, and dvc.lock
says that the new value gave the old result, and `dvc status` finds it clean). So a stage that DVC
runs looks again at its end, and fails rather than let that happen; its checkpoints stay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weir.errors import UserError
from weir.pipeline.code import code_digest
from weir.pipeline.layout import CODE, Layout
from weir.pipeline.params.yaml_file import read_yaml

if TYPE_CHECKING:
    from weir.pipeline.job import Job


@contextmanager
def unchanged(job: Job, layout: Layout) -> Iterator[None]:
    """Hold what DVC will record at the end against what held at the beginning.

    Raises:
        UserError: the node's settings or its code were edited meanwhile.
    """
    if "DVC_STAGE" not in os.environ:  # run by hand: nothing is recorded
        yield
        return
    settings, code = _settings(job, layout), _code(job, layout)
    if code != code_digest(job.stage, job.task, job.kind, layout.work):
        raise UserError(
            f"{CODE}: is of other code than is about to run; run `dvc repro plan`, then this again"
        )
    yield
    if _settings(job, layout) != settings:
        raise UserError(
            f"params.yaml: {job.section}.{job.name} was edited while the stage ran, so its result "
            "cannot be recorded; run it again, or undo the edit to resume from its checkpoint"
        )
    if _code(job, layout) != code:
        raise UserError(
            f"src/weir: code of stage {job.stage} was edited while it ran, so its result cannot be "
            "recorded; run it again"
        )


def _settings(job: Job, layout: Layout) -> Any:
    return read_yaml(layout.root / "params.yaml").get(job.section, {}).get(job.name)


def _code(job: Job, layout: Layout) -> str | None:
    try:
        entry = json.loads(layout.code.read_text(encoding="utf-8"))["code"][job.stage]
        found: str = entry[job.key] if job.task else entry
        return found
    except (OSError, ValueError, KeyError, TypeError):  # the last of a file by an older Weir
        return None
