"""Efficiency of jobs on a cluster, from Snakemake's records: what they used of what they asked for.

    python -m weir.engines.slurm.efficiency

Slurm's own account (`seff`, `sacct`, the plugin's `--slurm-efficiency-report`) needs slurmdbd,
which not every site has. These records need nothing: with `benchmark-extended`, as the Slurm
profile sets it, `logs/<stage>/<run>.tsv` holds time, memory and processor time of the stage's
processes beside the resources that its job was given. Of several attempts it is the last.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weir.errors import UserError, WeirError


@dataclass(frozen=True)
class Use:
    """A job's record.

    Attributes:
        stage: as DVC names it.
        minutes: time used.
        asked_minutes: time asked for.
        memory: largest resident memory, MB.
        asked_memory: MB.
        cores: mean number of cores that worked.
        asked_cores: number of cores.
    """

    stage: str
    minutes: float
    asked_minutes: float
    memory: float
    asked_memory: float
    cores: float
    asked_cores: int


def uses(root: Path) -> list[Use]:
    """Every job whose record tells what it asked for, those first that used the least memory of
    what they asked for."""
    found = []
    for file in sorted(root.glob("logs/*/*.tsv")):
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text, delimiter="\t"))
        if rows and "resources" in rows[-1]:
            found.append(_use(f"{file.parent.name}@{file.stem}", rows[-1]))
    return sorted(found, key=lambda use: _share(use.memory, use.asked_memory))


def _share(used: float, asked: float) -> float:
    return 0.0 if math.isnan(used) else used / asked


def _use(stage: str, row: dict[str, str]) -> Use:
    asked = _resources(row["resources"])
    seconds = _number(row["s"])
    return Use(
        stage,
        seconds / 60,
        asked["runtime"],
        _number(row["max_rss"]),
        asked["mem_mb"],
        _number(row["cpu_time"]) / seconds,
        int(_number(row["threads"])),
    )


def _resources(text: str) -> dict[str, float]:
    """The numbers of a printed dictionary."""
    pairs = re.findall(r"'(\w+)': (\d+(?:\.\d+)?)\b", text)
    return {name: float(value) for name, value in pairs}


def _number(text: str) -> float:
    """A value that is missing where a job ended before it was first looked at."""
    return float("nan") if text in ("NA", "-") else float(text)


def table(found: Sequence[Use]) -> str:
    """The records as lines of text."""
    head = ("stage", "minutes", "of", "memory MB", "of", "cores", "of")
    rows = [
        (
            use.stage,
            f"{use.minutes:.1f}",
            f"{use.asked_minutes:.0f}",
            f"{use.memory:.0f}",
            f"{use.asked_memory:.0f}",
            f"{use.cores:.1f}",
            f"{use.asked_cores}",
        )
        for use in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for name, *values in (head, *rows):
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def main(root: Path) -> int:
    """Print the table; returns the exit code."""
    try:
        if not (found := uses(root)):
            raise UserError(
                "logs: no records of jobs that say what they asked for; run `snakemake --profile "
                "slurm` from the repository root first"
            )
    except WeirError as error:
        print(f"weir: {error}", file=sys.stderr)
        return error.exit_code
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
