# What every rule takes from dvc.yaml.
import os
import signal
import sys
from pathlib import Path

ROOT = Path.cwd()
# Neither an activated environment nor an installed package is needed, also in a cluster job.
sys.path.insert(0, str(ROOT.joinpath("src")))
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

from weir.errors import WeirError
from weir.engines.snakemake import invocation
from weir.engines.dvc.stages import is_folder
from weir.engines.devices import wanted
from weir.engines.dvc.verdict import STALE


wildcard_constraints:
    run="[a-z0-9-]+",


try:
    STAGES = invocation.begin(ROOT, config, main=workflow.is_main_process)
except WeirError as error:
    invocation.note(str(error))
    sys.exit(error.exit_code)

# SIGTERM, with which Slurm ends a job, and SIGUSR1, a warning that users ask it for, are for the
# stage, which saves a checkpoint and ends; were dvc or this snakemake to die of them at once, Slurm
# would not wait for that.
if not workflow.is_main_process:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
REPRO = (
    "trap '' TERM USR1; python -m weir.engines.dvc.repro {params.stage} > {log} 2>&1"
    " || {{ code=$?; tail -n 20 {log} >&2; exit $code; }}"
)
# Training may take several processes.
TRAIN = REPRO.replace("python", "{params.processes} python", 1)


def inputs(stage):
    """Artifacts that a stage reads, and the reason, as a file, if DVC says that it is stale."""

    def of_run(wildcards):
        found = STAGES.named(stage, wildcards.run)
        return [
            *found.inputs,
            *([str(STALE.joinpath(found.stale))] if found.stale else []),
        ]

    return of_run


def outputs(stage):
    """Outputs of a stage, with the wildcard `run`."""
    return [
        directory(path) if is_folder(path) else path for path in STAGES.patterns[stage]
    ]


def name(stage):
    """What DVC calls the stage of a run."""
    return lambda wildcards: STAGES.named(stage, wildcards.run).name


def settings(stage):
    """Parameters of a stage as canonical JSON."""
    return lambda wildcards: STAGES.named(stage, wildcards.run).settings


def scaled(amount):
    """Twice as much for each new attempt."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def processes(wildcards, resources):
    """What tells a training how many processes it has: one for each GPU, or Slurm's tasks."""
    return wanted(dict(resources.items()))


def gpu_slot(wildcards):
    """One of the slots on this machine's GPU; a cluster gives each job its own."""
    return int(workflow.local_exec and invocation.has_gpu())
