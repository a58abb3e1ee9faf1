"""Queue of Slurm jobs: the additions of `snakemake --profile slurm` to its plugin.

The plugin asks for the states of jobs less and less often, up to every three minutes, says nothing
of a job that can never start, and forgets its jobs when it is killed: the next `snakemake` would
submit them once more beside themselves.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOGS = Path("logs/slurm")
"""Where the profile has Slurm write; it is there once a job was submitted from a repository."""
PATIENCE = 30.0
"""Seconds between looks at the queue, and for an answer of `squeue`."""
LONGEST_POLL = 60.0
"""Seconds after which a job's end is seen at the latest."""
MIN_JOB_AGE = 300
"""Slurm's default of what `remembered` tells."""
NEVER = re.compile(
    r"Partition(Node|Time)Limit|Partition(Down|Inactive)|BadConstraints|JobHeld"
    r"|(Account|QOS)NotAllowed|Invalid(Account|QOS)|PerJob|DependencyNeverSatisfied"
)
"""Reasons to wait that no amount of waiting removes, or an administrator alone."""


@dataclass(frozen=True)
class Queued:
    """A job in Slurm's queue.

    Attributes:
        number: Slurm's number of it.
        stage: what DVC calls the stage that it runs.
        waiting: whether it has not begun.
        reason: why it waits.
    """

    number: str
    stage: str
    waiting: bool
    reason: str


def queue(root: Path, *options: str) -> list[Queued] | None:
    """Jobs that run or wait and work in a repository; None if Slurm does not say.

    Args:
        options: of `squeue`, such as `--me`.
    """
    command = ["squeue", *options, "--noheader", "--format=%i|%T|%Z|%k|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return None
    found = []
    for line in done.stdout.splitlines():
        number, state, folder, comment, reason = line.split("|", 4)
        named = re.fullmatch(r"rule_(\w+?)(?:_wildcards_(.+))?", comment.strip())
        if named and Path(folder).resolve() == root.resolve():
            stage = "@".join(filter(None, named.groups()))
            found.append(Queued(number, stage, state == "PENDING", reason.strip()))
    return found


def await_earlier(root: Path, note: Callable[[str], None], pause: float = 5.0) -> None:
    """Wait until jobs of a `snakemake` that was killed have ended: they would be done twice.

    Args:
        pause: seconds between looks at the queue.
    """
    if not (root / LOGS).is_dir() or not shutil.which("squeue"):
        return
    said = False
    while True:
        jobs = queue(root)
        if jobs is None and not said:
            note("squeue does not answer; if an earlier snakemake was killed, see to its jobs")
        if not jobs:
            return
        if not said:
            stages = ", ".join(sorted(job.stage for job in jobs))
            numbers = " ".join(job.number for job in jobs)
            note(
                f"waiting for jobs that an earlier snakemake has left in the queue: {stages}; "
                f"`scancel {numbers}` ends them"
            )
            said = True
        time.sleep(pause)


def watch(root: Path, note: Callable[[str], None], pause: float = PATIENCE) -> None:
    """Say which jobs can never start, from a thread that ends with this process.

    Args:
        pause: seconds between looks at the queue.
    """

    def look() -> None:
        said: set[Queued] = set()
        while True:
            time.sleep(pause)
            for job in queue(root, "--me") or []:
                if (
                    job.waiting
                    and NEVER.search(job.reason)
                    and (job.number, job.reason) not in said
                ):
                    said.add((job.number, job.reason))
                    note(never(job))

    threading.Thread(target=look, name="weir-queue", daemon=True).start()


def never(job: Queued) -> str:
    """What is wrong with a job that cannot start, and how to fix it."""
    return (
        f"{job.stage}: job {job.number} cannot start: {job.reason}; `scontrol show job "
        f"{job.number}` shows what it asks for, workflow/profiles/slurm/config.yaml sets it; "
        f"`scancel {job.number}` and stop snakemake, or have an administrator raise the limit"
    )


class Interval:
    """Seconds until jobs are looked at again: a tenth of how long none has ended.

    Args:
        first: seconds after a job was submitted or has ended.
        longest: seconds at most.
    """

    def __init__(self, first: float, longest: float = LONGEST_POLL) -> None:
        self.first, self.longest = first, longest
        self.since = time.monotonic()

    def restart(self) -> None:
        """A job has ended, or there was none."""
        self.since = time.monotonic()

    def seconds(self) -> float:
        """From now."""
        idle = time.monotonic() - self.since
        return min(self.longest, max(self.first, idle / 10))


def poll_in_proportion() -> None:
    """Have Snakemake see the end of a job after a tenth of its time more, not after up to half.

    The plugin adds ten seconds to the interval whenever no job has ended, and starts again from
    `--slurm-init-seconds-before-status-checks` when one has.
    """
    import snakemake_executor_plugin_slurm as plugin
    from snakemake_executor_plugin_slurm import Executor

    def get(self: Executor) -> float:
        interval = self.__dict__.get("_weir_interval")
        return interval.seconds() if interval else 1.0

    def set(self: Executor, value: float) -> None:
        interval = self.__dict__.get("_weir_interval")
        if interval is None:
            self.__dict__["_weir_interval"] = Interval(value)
        elif value <= interval.first:
            interval.restart()

    Executor.next_seconds_between_status_checks = property(get, set)
    plugin.get_min_job_age = remembered(plugin.get_min_job_age)


def remembered(ask: Callable[[], int | None]) -> Callable[[], int]:
    """Seconds for which Slurm knows a job that has ended, also while slurmctld does not answer.

    The plugin asks before each look at the jobs, and without an answer goes over to `sacct`, which
    hangs where there is no slurmdbd.
    """
    known = [MIN_JOB_AGE]

    def answer() -> int:
        if (age := ask()) is not None:
            known[0] = age
        return known[0]

    return answer
