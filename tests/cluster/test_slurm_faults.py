"""What can happen to jobs on a cluster, happens: one run of a pipeline in which most of it does.

All of it is one invocation of `snakemake --profile slurm`, disturbed while it runs, and a second
one after a job's settings were fixed, whose process is killed. The tests look at what came of it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import REPOSITORY
from slurm_cluster import Cluster
from slurm_project import Fixed, Job, Project, kill, make_project, slurm, until

pytestmark = pytest.mark.cluster

DISTURBED = ("cancelled", "late", "preempted")
OUTAGE = 8.0
"""Seconds without slurmctld."""


@dataclass
class Run:
    """An invocation, after its end.

    Attributes:
        text: what it wrote.
        jobs: of the repository, those of earlier invocations included.
    """

    project: Project
    text: str
    code: int
    jobs: list[Job]

    def of(self, stage: str) -> list[Job]:
        """Jobs of a stage."""
        return [job for job in self.jobs if job.stage == stage]


@dataclass
class Storm(Run):
    """The first one.

    Attributes:
        second: what a second invocation beside it wrote.
        second_code: exit code of that.
        interrupted: trainings that have saved themselves on a signal.
    """

    second: str
    second_code: int
    interrupted: set[str]


@pytest.fixture(scope="module")
def storm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """A run in which trainings are cancelled, preempted and run out of time, a job runs out of
    memory, one fails, one can never start, the controller is away for a while, and somebody
    starts a second snakemake."""
    base = tmp_path_factory.mktemp("storm")
    project = make_project(base / "repository")
    trained = [f"results/stage1/{name}-s0" for name in (*DISTURBED, "hungry")]
    output = base / "first.txt"
    head = project.start(output, "all", *trained)
    try:
        until("the first one has the lock", lambda: any(project.root.glob(".snakemake/locks/*")))
        second = project.start(base / "second.txt")
        left, interrupted = [*DISTURBED, "never"], set()
        away = False
        while head.poll() is None:
            for name in [name for name in left if _reached(name, project, output)]:
                _disturb(name, project)
                left.remove(name)
                if set(left) <= {"never"} and not away:
                    away = True
                    cluster.stop_controller()
                    time.sleep(OUTAGE)
                    cluster.start_controller()
            files = project.root.glob(".weir/checkpoints/stage1/*/*/interrupted.safetensors")
            interrupted |= {file.parts[-3].removesuffix("-s0") for file in files}
            time.sleep(0.1)
        assert not left, output.read_text()
        yield Storm(
            project,
            output.read_text(),
            head.returncode,
            project.jobs(),
            (base / "second.txt").read_text(),
            second.wait(timeout=60),
            interrupted,
        )
    finally:
        if head.poll() is None:
            kill(head)


def _reached(name: str, project: Project, output: Path) -> bool:
    """Whether the time has come to disturb a job."""
    if name == "never":
        return "cannot start" in output.read_text()
    return project.training(f"{name}-s0")


def _disturb(name: str, project: Project) -> None:
    project.freeze(name)
    match name:
        case "cancelled":
            slurm("scancel", str(project.job("stage1@cancelled-s0").number))
        case "preempted":
            slurm(
                "sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true"
            )
        case "late":
            # The limit that --time sets, but to the second.
            number = project.job("stage1@late-s0").number
            slurm("scontrol", "update", f"JobId={number}", "EndTime=now")
        case "never":
            slurm("scancel", str(project.job("evaluate@calm-s0").number))


@pytest.fixture(scope="module")
def fixed(storm: Storm, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The next run, after the settings of the failed job were fixed; its first process is killed
    while that job trains, and another one started."""
    base, project = tmp_path_factory.mktemp("fixed"), storm.project
    project.edit("params.yaml", *Fixed)
    head = project.start(base / "killed.txt")
    until("it trains", lambda: project.training("broken-s0"))
    project.freeze("broken")
    kill(head)
    project.snakemake("--unlock")
    output = base / "again.txt"
    again = project.start(output)
    until("it waits", lambda: "waiting for jobs" in output.read_text() or again.poll() is not None)
    project.thaw("broken")
    code = again.wait(timeout=900)
    return Run(project, output.read_text(), code, project.jobs())


def test_stages_of_models_have_a_gpu_and_others_have_none(storm: Storm) -> None:
    asked = {job.stage.partition("@")[0]: job.gpus for job in storm.jobs}
    assert asked == {"preprocess": 0, "stage1": 1, "evaluate": 1}


def test_partition_memory_and_time_are_those_of_the_profile(storm: Storm) -> None:
    (preprocess,) = storm.of("preprocess@river")
    (calm,) = storm.of("stage1@calm-s0")
    (preempted,) = storm.of("stage1@preempted-s0")
    assert (preprocess.partition, preprocess.limit, preprocess.memory) == (
        "cpu",
        "00:30:00",
        "4000M",
    )
    assert (calm.partition, calm.limit, calm.memory) == ("gpu", "00:10:00", "4000M")
    assert preempted.partition == "spot"


def test_number_and_log_of_each_job_are_said(storm: Storm) -> None:
    said = dict(re.findall(r"submitted with SLURM jobid (\d+) \(log: (\S+)\)", storm.text))
    assert said == {str(job.number): str(job.log) for job in storm.jobs}
    for job in storm.jobs:
        assert job.log.is_relative_to(storm.project.root / "logs/slurm")
        assert job.log.exists() == (job.state != "COMPLETED" and job.stage != "evaluate@calm-s0")


def test_a_failed_job_is_shown_and_other_branches_go_on(storm: Storm) -> None:
    project = storm.project
    assert storm.code == 1
    line = (
        "weir: failed: stage1@broken-s0: logs/stage1/broken-s0.log: weir: training.monitor nothing"
    )
    assert line in storm.text
    assert not (project.root / "results/stage1/broken-s0").exists()
    assert {job.state for job in storm.of("stage1@broken-s0")} == {"FAILED"}
    assert json.loads((project.root / "results/evaluate/calm-s0/metrics.json").read_text())
    assert not storm.of("evaluate@broken-s0")


@pytest.mark.parametrize("name", DISTURBED)
def test_a_disturbed_training_saves_itself_and_ends_with_the_same_bytes(
    storm: Storm, name: str
) -> None:
    assert name in storm.interrupted
    assert storm.project.weights(f"{name}-s0") == storm.project.weights("calm-s0")
    assert not list(storm.project.root.glob(f".weir/checkpoints/stage1/{name}-s0/*/*"))


@pytest.mark.parametrize("name", ["calm", *DISTURBED])
def test_no_step_is_trained_twice(storm: Storm, name: str) -> None:
    runs = storm.project.journals(f"stage1@{name}-s0")
    assert len(runs) == (1 if name == "calm" else 2)
    steps = [
        event["step"]
        for events in runs
        for event in events
        if event["kind"] == "metrics" and "learning_rate" in event["values"]
    ]
    assert steps == sorted(set(steps))
    assert steps[-1] == 800 and len(steps) == 200


def test_a_cancelled_job_is_submitted_again(storm: Storm) -> None:
    assert [job.state for job in storm.of("stage1@cancelled-s0")] == ["CANCELLED", "COMPLETED"]


def test_a_job_out_of_time_gets_more(storm: Storm) -> None:
    first, second = storm.of("stage1@late-s0")
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert second.limit == "00:20:00"


def test_a_preempted_job_goes_back_into_the_queue(storm: Storm) -> None:
    (job,) = storm.of("stage1@preempted-s0")
    assert (job.state, job.restarts) == ("COMPLETED", 1)


def test_a_job_out_of_memory_gets_more(storm: Storm) -> None:
    first, second = storm.of("stage1@hungry-s0")
    assert first.state in ("FAILED", "OUT_OF_MEMORY") and first.memory == "450M"
    assert "exceeded memory limit" in first.log.read_text()
    assert (second.state, second.memory) == ("COMPLETED", "1800M"), second.log.read_text()
    assert (storm.project.root / "results/stage1/hungry-s0/model.safetensors").exists()


def test_a_job_that_can_never_start_is_named(storm: Storm) -> None:
    first, second = storm.of("evaluate@calm-s0")
    line = f"weir: evaluate@calm-s0: job {first.number} cannot start: PartitionTimeLimit; "
    assert storm.text.count(line) == 1
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")


def test_a_second_snakemake_is_refused_and_told_whose_lock_it_is(storm: Storm) -> None:
    assert storm.second_code == 1
    assert re.search(
        r"^weir: another snakemake works here \(process \d+ on \S+, since \d\d:\d\d\); "
        r"wait until it ends$",
        storm.second,
        re.MULTILINE,
    )
    assert "cannot be locked" in storm.second


def test_jobs_of_a_killed_snakemake_are_waited_for_and_not_done_twice(
    fixed: Run, storm: Storm
) -> None:
    assert fixed.code == 0, fixed.text
    new = [job for job in fixed.jobs if job.number > storm.jobs[-1].number]
    assert [(job.stage, job.state) for job in new] == [
        ("stage1@broken-s0", "COMPLETED"),
        ("evaluate@broken-s0", "COMPLETED"),
    ]
    line = "waiting for jobs that an earlier snakemake has left in the queue: stage1@broken-s0; "
    assert line in fixed.text
    ends = [run[-1]["status"] for run in fixed.project.journals("stage1@broken-s0")]
    assert ends == ["FAILED", "FAILED", "FINISHED"]


def test_afterwards_nothing_is_left_to_do_or_half_done(fixed: Run) -> None:
    project = fixed.project
    assert project.stale() == set()
    assert project.planned() == set()
    assert (project.root / "results/report/all.html").exists()
    assert not list(project.root.glob(".weir/checkpoints/*/*/*/*"))
    assert not list(project.root.glob(".snakemake/incomplete/*"))
    assert not list(project.root.glob("results/**/.*writing*"))


ELSEWHERE = {
    "git clone https://example.org/weir.git && cd weir": "stands for the user's own address",
    "make setup && source .venv/bin/activate": "`make test-cluster` does it",
    "snakemake --profile slurm": "all of this file",
}
"""Commands of the documentation that are not run below, and why."""


def test_every_command_of_the_documentation_is_run_here_or_elsewhere(fixed: Run) -> None:
    text = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    assert set(ELSEWHERE) <= set(lines)
    said = {line: fixed.project.run("bash", "-c", line) for line in lines if line not in ELSEWHERE}
    assert "Nothing to be done" in said["snakemake --profile slurm --dry-run"]
    assert "up to date" in said["dvc status"]
    assert said["ls results/report"].split() == ["all.html"]
    (use,) = (text for line, text in said.items() if "efficiency" in line)
    assert re.search(r"^stage1@hungry-s0 +\d+\.\d +20 +\d+ +1800 ", use, re.MULTILINE)
