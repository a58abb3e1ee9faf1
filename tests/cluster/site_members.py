"""Two people of one group on one machine, as system accounts that are there while tests run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

GROUP = "weir-site"
NAMES = ("weir-ada", "weir-ben")
TOOLS = ("useradd", "groupadd", "userdel", "groupdel", "setpriv", "unshare")

ENTER = """\
set -e
umask 022
scratch=$1 closed=$2 user=$3 folder=$4 mask=$5 keep=$6
shift 6
if [ -n "$closed" ]; then
  # Python lies in a folder that is closed to others, such as /root: here it is not.
  number=0
  for path in $keep; do
    number=$((number + 1))
    mkdir -p "$scratch/$number"
    mount --bind "$path" "$scratch/$number"
  done
  mount -t tmpfs -o mode=755 none "$closed"
  number=0
  for path in $keep; do
    number=$((number + 1))
    mkdir -p "$path"
    mount --bind "$scratch/$number" "$path"
  done
fi
cd "$folder"
umask "$mask"
exec setpriv --reuid "$user" --regid "$GROUP" --init-groups "$@"
"""


@dataclass(frozen=True)
class Member:
    """An account of the group, or the account that runs the tests.

    Attributes:
        name: None for the account that runs the tests.
        home: a folder of its own.
        umask: what its shell masks, in octal.
    """

    name: str | None
    home: Path
    umask: str = "022"

    def command(self, folder: Path, *words: str) -> list[str]:
        """A command line that runs `words` as this account."""
        if self.name is None:
            script = f'umask {self.umask} && cd {shlex.quote(str(folder))} && exec "$@"'
            return ["sh", "-c", script, "sh", *words]
        closed, keep = _hidden()
        enter = ["sh", "-c", ENTER, "sh", str(self.home / ".mounts"), closed, self.name]
        enter += [str(folder), self.umask, " ".join(keep)]
        return [*(["unshare", "--mount"] if closed else []), *enter, *words]

    def run(self, folder: Path, *words: str, ok: bool = True, **variables: str) -> str:
        """Output of a command, both streams; `ok=False` expects a failure."""
        done = subprocess.run(
            self.command(folder, *words),
            env=self.environment(folder) | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) == ok, f"{' '.join(words)}:\n{done.stdout}"
        return done.stdout

    def environment(self, folder: Path) -> dict[str, str]:
        """Environment of this account's commands, with nothing of the tests' own Weir."""
        dropped = ("WEIR_", "DVC", "MLFLOW", "XDG_", "SSH_")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
        me = {"USER": self.name, "LOGNAME": self.name} if self.name else {}
        return (
            kept
            | me
            | {
                "GROUP": GROUP,
                "HOME": str(self.home),
                "SHELL": "/bin/sh",
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "PYTHONPATH": str(folder / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "DVC_NO_ANALYTICS": "1",
                "WEIR_TRACKING": "off",
                "GIT_CONFIG_GLOBAL": os.devnull,
                **{
                    f"GIT_{who}_{what}": "test@example.org"
                    for who in ("AUTHOR", "COMMITTER")
                    for what in ("NAME", "EMAIL")
                },
            }
        )

    def owns(self, *paths: Path) -> None:
        """Hand folders to this account."""
        for path in paths if self.name else ():
            subprocess.run(["chown", "-R", f"{self.name}:{GROUP}", str(path)], check=True)


def add_members(folder: Path, names: tuple[str, ...] = NAMES) -> list[Member]:
    """Accounts of one group, the first with a closed umask.

    The test is skipped where they cannot be made.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, to make accounts of one group")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"needs {', '.join(missing)}")
    if _hidden()[0] and subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip(f"{_hidden()[0]}: closed to other accounts, and holds this Python")
    remove_members(names)
    subprocess.run(["groupadd", "--system", "--force", GROUP], check=True)
    members: list[Member] = []
    for name in names:
        home = folder / name
        options = ["--system", "--no-create-home", "--gid", GROUP, "--home-dir", str(home)]
        subprocess.run(["useradd", *options, "--shell", "/bin/sh", name], check=True)
        home.mkdir()
        member = Member(name, home, "022" if members else "077")
        member.owns(home)
        members.append(member)
    return members


def remove_members(names: tuple[str, ...] = NAMES) -> None:
    """Remove accounts, also those of a run that was killed, and their group if it is empty."""
    for name in names:
        subprocess.run(["userdel", name], capture_output=True)
    subprocess.run(["groupdel", GROUP], capture_output=True)


def _hidden() -> tuple[str, list[str]]:
    """The folder that hides this Python from other accounts, if any, and what they need in it."""
    needed = [str(Path(path).resolve()) for path in dict.fromkeys((sys.base_prefix, sys.prefix))]
    closed = ""
    for path in map(Path, needed):
        for above in reversed((path, *path.parents)):
            if not above.stat().st_mode & 1:
                closed = closed or str(above)
                break
    return closed, [path for path in needed if closed and Path(path).is_relative_to(closed)]
