"""The command `weir`: one subcommand for each stage, the tools around them, and tasks' own.

Only the standard library is imported until a subcommand runs, so that `weir --help` is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from weir.errors import WeirError
from weir.signals import TRY_AGAIN, Stopped, stop_on_signals
from weir.stage_table import STAGES
from weir.tasks import TASKS
from weir.tasks.command import commands as task_commands


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    That is 0, 1 (our fault), 2 (the user's), 75 (stopped by a signal) or 130 (by Ctrl-C).
    """
    if arguments is None and (code := _run_warm(sys.argv[1:])) is not None:
        return code
    options = _parser().parse_args(arguments)
    if threads := os.environ.get("OMP_NUM_THREADS"):
        # Numba, which scanpy loads, sets OpenMP's threads to all cores, for torch as well.
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)
    try:
        with stop_on_signals():
            return import_module(f"weir.commands.{options.module}").run(options) or 0
    except Stopped as error:
        return _fail(
            f"{error}: stopped, and nothing was kept; run it again", TRY_AGAIN, options.debug
        )
    except WeirError as error:
        return _fail(str(error), error.exit_code, options.debug)
    except KeyboardInterrupt:
        return _fail("interrupted", 130, options.debug)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or str(error)
        return _fail(f"{where}{reason}; fix that and run the command again", 2, options.debug)
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _fail(f"a fault of Weir: {what}; add --debug for the traceback", 1, options.debug)


def _run_warm(arguments: list[str]) -> int | None:
    """Run a stage in a fork of the process that Snakemake keeps for that, if it does."""
    if not arguments or arguments[0] not in STAGES or "WEIR_WARM" not in os.environ:
        return None
    from weir.engines.fork.client import run_warm

    return run_warm("weir", arguments)


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    if "WEIR_TOGETHER" in os.environ:  # one of several processes, which shall not all say so
        from weir.engines.devices import note_failure

        if note_failure(message, code):
            return code
    print(f"weir: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--params", type=Path, metavar="FILE", help="instead of params.yaml")
    shared.add_argument("--debug", action="store_true", help="show tracebacks")
    parser = argparse.ArgumentParser(
        prog="weir",
        description="A reproducible pipeline for two-stage generative models.",
        epilog="Whole pipelines run through `snakemake` or `dvc repro`; see README.md.",
    )
    parser.add_argument("--version", action="version", version=f"weir {_version()}")
    commands = parser.add_subparsers(metavar="command", required=True)

    def add(
        name: str, module: str, text: str, to: argparse._SubParsersAction | None = None
    ) -> argparse.ArgumentParser:
        command = (to or commands).add_parser(
            name, help=text, description=text[:1].upper() + text[1:] + ".", parents=[shared]
        )
        command.set_defaults(module=module, command=name)
        return command

    for stage in STAGES.values():
        command = add(stage.name, "stage", f"stage: {stage.help}")
        command.add_argument("name", help="node of params.yaml")
        command.add_argument("--seed", type=int, help="which of the seeds; needed if several")
        command.add_argument(
            "--fold", type=int, help="which of the dataset's held-out groups, from 0, if several"
        )

    command = add("plan", "plan", "compile workflow/plan.json, the runs that params.yaml asks for")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="only fail if it is out of step")
    how.add_argument(
        "--running", action="store_true", help="as stage `plan` of dvc.yaml: fail if runs differ"
    )

    params = commands.add_parser("params", help="presets and settings").add_subparsers(
        metavar="action", required=True
    )
    command = add("use", "params", "make a preset of config/ the current params.yaml", params)
    command.add_argument("preset", help="name of a preset; `weir params list` lists them")
    command.add_argument("--force", action="store_true", help="overwrite uncommitted edits")
    add("list", "params", "list the presets of config/", params)
    command = add("show", "params", "show the nodes, or all settings of one", params)
    command.add_argument("node", nargs="?", help="section/name")
    command = add("diff", "params", "compare params.yaml with a preset or another file", params)
    command.add_argument("other", help="name of a preset, or a file")
    command = add(
        "schema", "params", "write the JSON schema, the settings' reference, docs/dag.svg", params
    )
    command.add_argument("--check", action="store_true", help="only fail if they are out of step")

    data = commands.add_parser("data", help="bring your own data").add_subparsers(
        metavar="action", required=True
    )
    command = add("add", "data", "describe a file as a dataset node of params.yaml", data)
    command.add_argument(
        "file", type=Path, help="CSV, Parquet, .h5ad, .npz or archive; folder of MEDS or pictures"
    )
    command.add_argument("--name", required=True, help="name of the new node")
    command.add_argument("--task", default=TASKS[0], help=f"kind of data (default: {TASKS[0]})")
    command.add_argument("--write", action="store_true", help="append the node to params.yaml")

    scores = commands.add_parser("scores", help="the scores in docs/scores").add_subparsers(
        metavar="action", required=True
    )
    command = add(
        "update",
        "scores",
        "write docs/scores from the results, as reports with `scores` ask",
        scores,
    )
    command.add_argument("--check", action="store_true", help="only fail if the results differ")

    command = add("clean", "clean", "list what no node of params.yaml names, or remove it")
    command.add_argument("--remove", action="store_true", help="remove what is listed")

    for task in TASKS:
        for own in task_commands(task):
            command = add(own.name, "of_task", own.help)
            command.set_defaults(owner=task, own=own)
            command.add_argument("model", type=Path, help=f"model folder, such as {own.example}")
            own.arguments(command)

    command = add("ui", "ui", "open the MLflow UI of this repository on loopback")
    command.add_argument("--port", type=int, default=5000, help="default: 5000, or the next free")

    add("doctor", "doctor", "check the installation, and say how to fix what is amiss")
    tracking = commands.add_parser("tracking", help="the tracking store").add_subparsers(
        metavar="action", required=True
    )
    command = add(
        "sync", "tracking", "replay what was spooled while the store was unreachable", tracking
    )
    command.add_argument("--to", metavar="URI", help="tracking server (default: where it belongs)")
    add(
        "champions",
        "tracking",
        "name the best student of each dataset and how to restore it",
        tracking,
    )
    return parser


def _version() -> str:
    from weir import __version__

    return __version__


if __name__ == "__main__":
    sys.exit(main())
