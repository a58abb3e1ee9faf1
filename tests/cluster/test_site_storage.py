"""A site's storage: one cache for a group, remotes, and a colleague who restores and never trains.

Accounts, SSH server and file permissions are real. docs/site.md quotes these commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_commands import lines, said
from site_daemons import ssh_server
from site_members import GROUP, Member, add_members, remove_members
from site_repository import (
    FASTER,
    RATE,
    REPOSITORY,
    STAGES,
    TRAINED,
    Clone,
    make_origin,
    modes,
)

from weir.commands.doctor_storage import check_storage

pytestmark = pytest.mark.cluster

REPRO = "weir.engines.dvc.repro"
LAST_PID = 3_999_000
HOLD = """
import time
from dvc.repo import Repo
with Repo() as repo, repo.lock:
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="weir-site-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def origin(site: Path) -> Path:
    """The repository that everybody clones."""
    return make_origin(site / "origin")


@pytest.fixture(scope="module")
def members(site: Path) -> Iterator[list[Member]]:
    """Two accounts of one group; the first one's umask keeps others out."""
    yield add_members(site)
    remove_members()


@pytest.fixture(scope="module")
def clones(site: Path, origin: Path, members: list[Member]) -> list[Clone]:
    """A clone of each, with one cache, after the first has run `snakemake`."""
    subprocess.run(said("install", site=site, group=GROUP).split(), check=True)
    clones = [Clone(member, origin, member.home / "weir") for member in members]
    for clone in clones:
        clone.type("dvc cache dir", site=site)
        clone.type("dvc config --local cache.shared")
    # The second clone keeps links into the cache instead of copies, and locks by hard links.
    clones[1].type("dvc config --local cache.type")
    clones[1].run("dvc", "config", "--local", "core.hardlink_lock", "true")
    assert clones[0].executed() == STAGES
    return clones


def test_a_colleague_restores_from_the_shared_cache(clones: list[Clone]) -> None:
    ada, ben = clones
    started = time.monotonic()
    assert ben.executed() == set()
    print(f"restored in {time.monotonic() - started:.1f} s")
    assert ben.weights() == ada.weights()
    assert (ben.root / "results/stage1/net-s0/model.safetensors").is_symlink()

    ben.edit(RATE, FASTER)
    assert ben.executed() == TRAINED
    ada.edit(RATE, FASTER)
    assert ada.executed() == set(), "what the second trained the first restores"
    assert ada.weights() == ben.weights()


def test_files_of_the_cache_are_the_groups(clones: list[Clone], site: Path) -> None:
    assert clones[0].member.umask == "077"
    cache = site / "cache"
    assert modes(cache) == {("d", "2775"), ("f", "444"), ("f", "664")}
    assert {path.group() for path in cache.rglob("*")} == {GROUP}
    assert {path.owner() for path in cache.rglob("*")} == {c.member.name for c in clones}
    # What is not shared stays closed.
    log = clones[0].root / "logs/stage1/net-s0.log"
    assert log.stat().st_mode & 0o077 == 0


def test_a_run_cache_pushed_with_a_closed_umask_is_found(
    clones: list[Clone], site: Path, origin: Path
) -> None:
    """DVC gives the group the files that it pushes, but not those of the run-cache."""
    ada, ben = clones
    remote = site / "remote"
    for clone in clones:
        clone.type("dvc remote add --default store", site=site)
        clone.type("dvc remote modify store")
    ada.run("dvc", "push", "--quiet", "--run-cache")
    text = ben.run("weir", "doctor", ok=False)
    (line,) = [line for line in text.splitlines() if "group cannot" in line]
    fix = line.partition("`")[2].partition("`")[0]
    assert ada.member.name in line and fix.startswith("find ")
    assert "umask 077" in ada.run("weir", "doctor", ok=False)

    ada.run("sh", "-c", fix)
    assert f"ok   dvc        remote store {remote} (default), shared" in ben.run("weir", "doctor")
    fresh = Clone(ben.member, origin, ben.member.home / "fresh")
    fresh.type("dvc remote add --default store", site=site)
    fresh.edit(RATE, FASTER)
    fresh.type("umask 007 && dvc fetch")
    assert fresh.executed() == set()
    assert fresh.weights() == ada.weights()


def test_a_run_cache_travels_over_ssh(clones: list[Clone], site: Path, origin: Path) -> None:
    """A clone without dvc.lock restores, as a parameter has been changed and trained elsewhere."""
    ada, ben = (clone.member for clone in clones)
    store = site / "ssh-store"
    store.mkdir()
    ben.owns(store)
    fresh = Clone(ada, origin, ada.home / "fresh")
    fresh.edit(RATE, FASTER)
    with ssh_server(ben, site / "sshd") as (port, key):
        address = f"ssh://{ben.name}@127.0.0.1:{port}{store}"
        for clone in (clones[0], fresh):
            clone.type("dvc remote add --default away", store=address)
            clone.type("dvc remote modify --local away", key=key)
        clones[0].type("umask 007 && dvc push")
        assert f"ok   dvc        remote away ssh://127.0.0.1:{port}" in fresh.run("weir", "doctor")
        fresh.type("umask 007 && dvc fetch")
        assert fresh.executed() == set()
        assert fresh.weights() == clones[0].weights()
    assert "bad  dvc        remote away" in fresh.run("weir", "doctor", ok=False)


def test_a_command_on_another_node_ends_no_job(site: Path) -> None:
    """`dvc status` of the login node takes a job of another node for dead: it sees no process."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--pid", "--fork", "true"]).returncode:
        pytest.skip("needs root, for processes that others do not see")
    root, me = site / "nodes", Member(None, site)
    root.mkdir()
    me.run(root, "git", "init", "--quiet")
    me.run(root, "dvc", "init", "--quiet")
    stage = "{cmd: 'until test -e go; do sleep 0.1; done; cp a b', deps: [a], outs: [b]}"
    (root / "dvc.yaml").write_text(f"stages:\n  slow: {stage}\n")
    (root / "a").write_text("a")
    # A process number that no process of the other machine has.
    script = f"echo {LAST_PID} > /proc/sys/kernel/ns_last_pid; {sys.executable} -m {REPRO} slow"
    job = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script],
        cwd=root,
        env=me.environment(REPOSITORY),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    claims = root / ".dvc/tmp/rwlock"
    deadline = time.monotonic() + 60
    while not (claims.exists() and '"write": {"' in claims.read_text()):
        assert job.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    before = claims.read_text()
    me.run(root, "dvc", "status")
    assert claims.read_text() != before, "dvc struck the entry of the job"
    (root / "go").touch()
    assert job.wait(60) == 0, job.communicate()[0]
    assert "up to date" in me.run(root, "dvc", "status")


@pytest.mark.parametrize("by_links", [False, True])
def test_a_lock_of_dvc_keeps_a_second_command_waiting(site: Path, by_links: bool) -> None:
    """One that is killed leaves a lock made of hard links behind, which `weir doctor` names."""
    root, me = site / f"links-{by_links}", Member(None, site)
    root.mkdir()
    me.run(root, "git", "init", "--quiet")
    me.run(root, "dvc", "init", "--quiet")
    me.run(root, "dvc", "config", "core.hardlink_lock", str(by_links).lower())
    (root / "dvc.yaml").touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert "Unable to acquire lock" in me.run(root, "dvc", "status", ok=False)
    holder.kill()
    holder.wait()
    me.run(root, "dvc", "status", ok=not by_links)
    lock = root / ".dvc/tmp/lock"
    if by_links:
        then = lock.stat().st_mtime - 3600
        os.utime(lock, (then, then))
    found = [finding.text for finding in check_storage(root) if finding.state == "bad"]
    assert len(found) == by_links
    if by_links:
        assert found[0].startswith(".dvc/tmp/lock: held since") and "remove that file" in found[0]
        lock.unlink()
        me.run(root, "dvc", "status")


def test_locks_hold_or_not_as_the_page_tries_it(site: Path) -> None:
    (site / ".dvc/tmp").mkdir(parents=True)
    hold, ask = said("flock", wait="sleep 5 &"), said("srun", srun="")
    done = subprocess.run(["bash", "-c", f"{hold}\nsleep 0.5\n{ask}"], cwd=site)
    assert done.returncode == 1, "the second one is kept out"


def test_every_command_of_the_page_is_run() -> None:
    """What the tests here and of tracking take from the page is all that it says."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("*site_*.py"))
    taken = re.findall(r"(?:said|type)\(\s*f?\"([^\"{]+)", text)
    left = [line for line in lines() if not any(line.startswith(start) for start in taken)]
    # Without a name to be replaced, and run as they are: `weir doctor`, and two settings.
    assert left == [
        "weir doctor",
        "export MLFLOW_TRACKING_URI=http://login1:5000",
        "export WEIR_TRACKING=spool",
    ]
