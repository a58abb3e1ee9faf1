"""The process that schedules a repository's jobs: the `snakemake` that a user has started.

Snakemake keeps a second one out by a lock, without saying who holds it, and a killed one leaves
its lock behind. So each says who it is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from weir.files import write_atomically

RECORD = Path(".weir/head.json")
LOCKS = Path(".snakemake/locks")
"""Snakemake's, files of a number each."""
LOOKS = (
    "archive",
    "cleanup_metadata",
    "conda_cleanup_envs",
    "containerize",
    "d3dag",
    "dag",
    "delete_all_output",
    "delete_temp_output",
    "detailed_summary",
    "dryrun",
    "export_cwl",
    "filegraph",
    "generate_unit_tests",
    "lint",
    "list_changes",
    "list_conda_envs",
    "list_input_changes",
    "list_params_changes",
    "list_rules",
    "list_target_rules",
    "list_untracked",
    "print_compilation",
    "report",
    "rulegraph",
    "summary",
    "touch",
    "unlock",
)
"""Snakemake's names of options with which it runs no job."""


def schedules(words: Sequence[str]) -> bool:
    """Whether a command line of Snakemake runs jobs, as Snakemake's own parser reads it.

    Options may be written together (`-np`), shortened (`--summ`) or with a value (`--dag=dot`).
    """
    from snakemake.cli import get_argument_parser

    parser = get_argument_parser()
    try:
        asked, _ = parser.parse_known_args(list(words))
    except SystemExit:  # this is not Snakemake's own command line
        return True
    return all(getattr(asked, name) == parser.get_default(name) for name in LOOKS)


def claim(root: Path) -> None:
    """Leave a note of who schedules now."""
    record = {"pid": os.getpid(), "host": os.uname().nodename, "since": time.time()}
    write_atomically(root / RECORD, json.dumps(record))


def other(root: Path) -> str:
    """Who holds Snakemake's lock, and what to do about it, in a line; empty if nobody does."""
    if not any((root / LOCKS).glob("*")):
        return ""
    try:
        record = json.loads((root / RECORD).read_text(encoding="utf-8"))
        pid, host, since = record["pid"], record["host"], record["since"]
    except (OSError, ValueError, KeyError):
        return "another snakemake works here, or was killed: then run `snakemake --unlock`"
    who = f"process {pid} on {host}, since {time.strftime('%H:%M', time.localtime(since))}"
    if host != os.uname().nodename:
        return f"another snakemake works here ({who}); if it is gone, run `snakemake --unlock`"
    if _runs(pid):
        return f"another snakemake works here ({who}); wait until it ends"
    return f"an earlier snakemake was killed ({who}); run `snakemake --unlock`, then this again"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
