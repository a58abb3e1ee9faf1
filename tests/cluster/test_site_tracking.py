"""A site's tracking server: every record that stages log arrives once, whatever happens meanwhile.

Servers, databases and journals are real. docs/site.md quotes these commands and counts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from site_commands import said
from site_daemons import TrackingServer, postgres
from site_members import Member, add_members, remove_members

from weir.tracking.invocation import close_invocation, open_invocation
from weir.tracking.store import MLFLOW_SETTINGS

pytestmark = pytest.mark.cluster

CLONES, STAGES, STEPS, PARAMS = 2, 32, 40, 12
METRICS = ("loss", "rate")

STAGE = f"""
import sys, time
from pathlib import Path
from weir.tracking.run import open_stage
root, key, dataset, pause = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
with open_stage(root, section="stage1", key=key, name=key, seed=0, task="forecast",
                dataset=dataset) as tracker:
    tracker.log_params({{f"setting{{i}}": i for i in range({PARAMS})}})
    for step in range({STEPS}):
        tracker.log_metrics({{"loss": 1.0 / (step + 1), "rate": 0.1}}, step)
        time.sleep(pause)
    tracker.log_artifact(root / "table.csv", "tables")
assert "mlflow" not in sys.modules
"""


class Site:
    """Clones whose stages report to one server."""

    def __init__(self, folder: Path, server: TrackingServer) -> None:
        self.server = server
        self.client = MlflowClient(tracking_uri=server.uri)
        self.roots = [folder / f"clone{number}" for number in range(CLONES)]
        for root in self.roots:
            root.mkdir()
            (root / "dvc.yaml").touch()
            (root / "table.csv").write_text("a,b\n1,2\n")

    def environment(self, **variables: str) -> dict[str, str]:
        """Environment of a stage that reports to the server."""
        dropped = ("WEIR_", "MLFLOW_")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
        return kept | MLFLOW_SETTINGS | {"MLFLOW_TRACKING_URI": self.server.uri} | variables

    def start(
        self, dataset: str, seconds: float, number: int = STAGES, *enter: str, **variables: str
    ) -> list[subprocess.Popen[str]]:
        """Start stages at once, shared among the clones; each logs for so long."""
        words = [*enter, sys.executable, "-c", STAGE]
        return [
            subprocess.Popen(
                [*words, str(self.roots[i % CLONES]), f"n{i}", dataset, str(seconds / STEPS)],
                env=self.environment(**variables),
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(number)
        ]

    def sync(self) -> int:
        """`weir tracking sync` in each clone; gives the number of stages that still run."""
        running = 0
        for root in self.roots:
            done = subprocess.run(
                [
                    str(Path(sys.executable).parent / "weir"),
                    *said("weir tracking sync").split()[1:],
                ],
                cwd=root,
                env=self.environment(),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            running += int(re.search(r"(\d+) still going on", done.stdout)[1])
        return running

    def left(self) -> list[Path]:
        """Journals of stages that are not wholly on the server."""
        return [p for r in self.roots for p in r.glob(".weir/spool/stage1-*/events.jsonl")]

    def arrived(self, dataset: str) -> Counter[str]:
        """Number of records that the server holds, by kind; one that is doubled counts twice."""
        experiment = self.client.get_experiment_by_name(f"weir/{dataset}")
        assert experiment is not None
        runs = self.client.search_runs([experiment.experiment_id], "tags.section = 'stage1'")
        counts = Counter(run.info.status for run in runs)
        counts["names"] = len({run.info.run_name for run in runs})
        for run in runs:
            counts["params"] += len(run.data.params)
            for metric in METRICS:
                history = self.client.get_metric_history(run.info.run_id, metric)
                counts["points"] += len(history)
                counts["steps"] += len({point.step for point in history})
            files = self.client.list_artifacts(run.info.run_id, "tables")
            counts["artifacts"] += len(files)
        return counts


def logged(number: int) -> Counter[str]:
    """What so many stages log."""
    points = number * STEPS * len(METRICS)
    whole = {"FINISHED": number, "names": number, "params": number * PARAMS, "artifacts": number}
    return Counter({**whole, "points": points, "steps": points})


def ended(stages: list[subprocess.Popen[str]]) -> list[str]:
    """Standard error of each stage, when all have ended well."""
    errors = [stage.communicate(timeout=300)[1] for stage in stages]
    assert [stage.returncode for stage in stages] == [0] * len(stages), errors
    return errors


@pytest.fixture(scope="module")
def account() -> Iterator[Member]:
    """The account of PostgreSQL, which root must not be."""
    folder = Path(tempfile.mkdtemp(prefix="weir-site-"))
    folder.chmod(0o755)
    names = ("weir-postgres",)
    yield add_members(folder, names)[0] if os.geteuid() == 0 else Member(None, folder)
    if os.geteuid() == 0:
        remove_members(names)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Two clones and a server over each kind of database."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield from _serve(folder, f"sqlite:///{folder}/mlflow.db")
    else:
        pytest.importorskip("pg8000", reason="a driver for PostgreSQL: pip install pg8000")
        member = request.getfixturevalue("account")
        with postgres(member, member.home / "postgres") as uri:
            yield from _serve(folder, uri)


def _serve(folder: Path, database: str) -> Iterator[Site]:
    server = TrackingServer(folder / "server", database)
    try:
        server.start()
        yield Site(folder, server)
    finally:
        server.kill()


def test_32_stages_at_once_lose_nothing(site: Site) -> None:
    parents = [open_invocation(root, "snakemake") for root in site.roots]
    stages = site.start("storm", seconds=3)
    ended(stages)
    for root, token in zip(site.roots, parents, strict=True):
        close_invocation(root, token)
    assert site.sync() == 0
    assert site.left() == []
    assert site.arrived("storm") == logged(STAGES)


def test_a_server_killed_meanwhile_costs_nothing(site: Site) -> None:
    stages = site.start("killed", seconds=8)
    # When the first records are on the server.
    deadline = time.monotonic() + 240
    while site.client.get_experiment_by_name("weir/killed") is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    site.server.kill()
    time.sleep(3)
    site.server.start()
    ended(stages)
    site.sync()
    assert site.left() == []
    assert site.arrived("killed") == logged(STAGES)


@pytest.mark.parametrize("mode", ["on", "spool"])
def test_a_node_without_a_network_spools(site: Site, mode: str) -> None:
    """In a network of its own there is not even a loopback interface."""
    if site.server.database.startswith("postgresql"):
        pytest.skip("once is enough: nothing here depends on the database")
    alone = ("unshare", "--net", "--uts")
    if os.geteuid() != 0 or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("needs root, for a network that leads nowhere")
    dataset = f"alone-{mode}"
    enter = (*alone, "sh", "-c", 'hostname node7; exec "$@"', "sh")
    stages = site.start(dataset, 4 if mode == "spool" else 0.2, 4, *enter, WEIR_TRACKING=mode)
    if mode == "spool":
        while len(site.left()) < 4:
            time.sleep(0.05)
        site.sync()  # on the login node, while jobs run
        assert site.client.get_experiment_by_name(f"weir/{dataset}") is not None
    errors = ended(stages)
    if mode == "on":
        assert len(site.left()) == 4
        assert all("weir tracking sync" in line for line in errors), errors
    site.sync()
    assert site.left() == []
    assert site.arrived(dataset) == logged(4)
