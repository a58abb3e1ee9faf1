"""A site's storage: one cache for a group, remotes, and a colleague who restores and never trains.

Accounts, SSH server and file permissions are real. docs/site.md quotes these commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_daemons import ssh_server
from site_members import GROUP, Member, add_members, remove_members
from site_repository import FASTER, RATE, STAGES, TRAINED, Clone, make_origin, modes

pytestmark = pytest.mark.cluster


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
    cache = site / "cache"
    subprocess.run(["install", "-d", "-m", "2775", "-g", GROUP, str(cache)], check=True)
    clones = [Clone(member, origin, member.home / "weir") for member in members]
    for clone in clones:
        clone.dvc(f"cache dir --local {cache}", "config --local cache.shared group")
    # The second clone keeps links into the cache instead of copies, and locks by hard links.
    clones[1].dvc(
        "config --local cache.type reflink,symlink", "config --local core.hardlink_lock true"
    )
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
    subprocess.run(["install", "-d", "-m", "2775", "-g", GROUP, str(remote)], check=True)
    share = (
        f"remote add --local --default store {remote}",
        "remote modify --local store shared group",
    )
    for clone in clones:
        clone.dvc(*share)
    ada.run("dvc", "push", "--quiet", "--run-cache")
    text = ben.run("weir", "doctor", ok=False)
    (line,) = [line for line in text.splitlines() if "group cannot" in line]
    mend = line.partition("`")[2].partition("`")[0]
    assert ada.member.name in line and mend.startswith("find ")
    assert "umask" in ada.run("weir", "doctor", ok=False)

    ada.run("sh", "-c", mend)
    assert "group cannot" not in ben.run("weir", "doctor", ok=False)
    fresh = Clone(ben.member, origin, ben.member.home / "fresh")
    fresh.dvc(*share)
    fresh.edit(RATE, FASTER)
    fresh.run("dvc", "fetch", "--run-cache")
    assert fresh.executed() == set()
    assert fresh.weights() == ada.weights()


def test_a_run_cache_travels_over_ssh(
    site: Path, origin: Path, request: pytest.FixtureRequest
) -> None:
    """A clone without dvc.lock restores, as a parameter has been changed and trained elsewhere."""
    me = Member(None, site)
    server = request.getfixturevalue("members")[0] if os.geteuid() == 0 else me
    store = site / "ssh-store"
    store.mkdir()
    server.owns(store)
    ran = Clone(me, origin, site / "ran")
    ran.edit(RATE, FASTER)
    fresh = Clone(me, origin, site / "fresh")
    fresh.edit(RATE, FASTER)
    with ssh_server(server, site / "sshd") as (port, key):
        user = server.name or me.run(site, "id", "-un").strip()
        for clone in (ran, fresh):
            clone.dvc(
                f"remote add --default store ssh://{user}@127.0.0.1:{port}{store}",
                f"remote modify --local store keyfile {key}",
            )
        assert ran.executed() == STAGES
        ran.run("dvc", "push", "--quiet", "--run-cache")
        assert "127.0.0.1" in fresh.run("weir", "doctor", ok=False)
        fresh.run("dvc", "fetch", "--run-cache")
        assert fresh.executed() == set()
        assert fresh.weights() == ran.weights()
    # The server is gone, and one file with it.
    shutil.rmtree(fresh.root / ".dvc/cache/files")
    shutil.rmtree(fresh.root / "results/stage1")
    shutil.rmtree(fresh.root / "data")
    assert {"stage1@net-s0"} <= fresh.executed()
    assert "is made again: remote:" in (fresh.root / "logs/stage1/net-s0.log").read_text()
    assert fresh.weights() == ran.weights()
