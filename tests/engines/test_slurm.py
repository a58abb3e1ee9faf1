"""What is read of Slurm's queue, and how often; tests/cluster has a real one."""

from __future__ import annotations

import pytest

from weir.engines.slurm import queue as slurm
from weir.engines.slurm.queue import NEVER, Interval


@pytest.mark.parametrize(
    "reason",
    ["PartitionTimeLimit", "PartitionNodeLimit", "InvalidQOS", "JobHeldUser", "BadConstraints",
     "AssocMaxCpuPerJobLimit", "QOSMaxGRESPerJob", "AccountNotAllowed", "PartitionDown"],
)  # fmt: skip
def test_reasons_that_do_not_pass(reason: str) -> None:
    assert NEVER.search(reason)


@pytest.mark.parametrize(
    "reason",
    ["Priority", "Resources", "BeginTime", "None", "QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit"],
)
def test_reasons_that_pass(reason: str) -> None:
    assert not NEVER.search(reason)


def test_the_interval_is_a_tenth_of_the_time_and_starts_anew(monkeypatch) -> None:
    times = iter((1000.0, 1000.0, 1040.0, 1100.0, 1300.0, 5000.0, 6000.0, 6020.0))
    monkeypatch.setattr(slurm.time, "monotonic", lambda: next(times))
    interval = Interval(5, longest=60)
    assert [interval.seconds() for _ in range(5)] == [5, 5, 10, 30, 60]
    interval.restart()
    assert interval.seconds() == 5


def test_the_plugin_takes_the_interval() -> None:
    """It sets its own, ten seconds more each time, and starts again from the first."""
    from snakemake_executor_plugin_slurm import Executor

    slurm.poll_in_proportion()
    executor = object.__new__(Executor)
    executor.next_seconds_between_status_checks = 5
    assert executor.next_seconds_between_status_checks == 5
    executor.next_seconds_between_status_checks += 10
    assert executor.next_seconds_between_status_checks == 5


def test_what_slurm_said_is_known_while_it_does_not_answer() -> None:
    answers = iter((None, 600, None))
    age = slurm.remembered(lambda: next(answers))
    assert [age(), age(), age()] == [slurm.MIN_JOB_AGE, 600, 600]


def test_without_slurm_nothing_is_waited_for(tmp_path, monkeypatch) -> None:
    (tmp_path / slurm.LOGS).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm.await_earlier(tmp_path, note=pytest.fail)
    assert slurm.queue(tmp_path) is None
