"""A small repository of one trained model, cloned and run by members of a site."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

from checkout import REPOSITORY, RIVER
from site_commands import said
from site_members import Member

PARAMS = f"""\
{RIVER}\
stage1:
  net:
    dataset: river
    backbone: {{width: 8, layers: 1, heads: 2}}
    training: {{steps: 3, batch_size: 8, validate_every: 3, learning_rate: 1.0e-3}}
evaluate:
  net: {{model: stage1/net}}
"""
RATE, FASTER = "learning_rate: 1.0e-3", "learning_rate: 2.0e-3"
MODEL = "results/stage1/net-s0"
TRAINED = {"stage1@net-s0"}
STAGES = {"fetch@river", "preprocess@river", *TRAINED}


def make_origin(root: Path, params: str = PARAMS) -> Path:
    """A committed repository in which nothing has run, for others to clone."""
    me = Member(None, root)
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "workflow"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
    for name in ("dvc.yaml", ".gitignore", "environment.yml"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "slurm").symlink_to("workflow/profiles/slurm")
    (root / "params.yaml").write_text(params)
    me.run(root, "git", "init", "--quiet", "--initial-branch=main")
    me.run(root, "dvc", "init", "--quiet")
    shutil.copy(REPOSITORY / ".dvcignore", root / ".dvcignore")
    me.run(root, "weir", "plan")
    me.run(root, "git", "add", "--all")
    me.run(root, "git", "commit", "--quiet", "--message=Begin")
    return root


class Clone:
    """A member's clone."""

    def __init__(self, member: Member, origin: Path, root: Path) -> None:
        self.member, self.root = member, root
        subprocess.run(
            ["git", "-c", "safe.directory=*", "clone", "--quiet", str(origin), str(root)],
            check=True,
        )
        member.owns(root)

    def run(self, *words: str, ok: bool = True, **variables: str) -> str:
        """Output of a command in the clone."""
        return self.member.run(self.root, *words, ok=ok, **variables)

    def type(self, start: str, **names: object) -> str:
        """Output of a command of docs/site.md, with its names replaced."""
        return self.run("bash", "-c", said(start, **names))

    def executed(self) -> set[str]:
        """Stages whose command `snakemake` really ran, where others were restored."""
        shutil.rmtree(self.root / "logs", ignore_errors=True)
        self.run("snakemake", "--cores", "2", "--quiet", "--", MODEL)
        text = "".join(log.read_text() for log in self.root.glob("logs/**/*.log"))
        return set(re.findall(r"^Running stage '(.+)':$", text, re.MULTILINE)) - {"plan"}

    def edit(self, old: str, new: str) -> None:
        """Replace a text in params.yaml."""
        path = self.root / "params.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def weights(self) -> bytes:
        """The trained model."""
        return (self.root / MODEL / "model.safetensors").read_bytes()


def modes(folder: Path) -> set[tuple[str, str]]:
    """Kind and permissions of all that lies in a folder, in octal."""
    found = [path.lstat() for path in folder.rglob("*")]
    return {
        ("d" if stat.S_ISDIR(s.st_mode) else "f", f"{stat.S_IMODE(s.st_mode):o}") for s in found
    }
