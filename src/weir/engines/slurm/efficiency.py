"""Efficiency of jobs on a cluster, from Snakemake's records: what they used of what they asked for.

    python -m weir.engines.slurm.efficiency

Slurm's own account (`seff`, `sacct`, the plugin's `--slurm-efficiency-report`) needs slurmdbd,
which not every site has. These records need nothing: with `benchmark-extended`, as the Slurm
profile sets it, `logs/<stage>/<run>.tsv` holds time, memory and processor time of the stage's
processes beside the resources that its job was given. Of several attempts it is the last.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from weir.errors import UserError


def uses(root: Path) -> pd.DataFrame:
    """Every job whose record tells what it asked for, least share of its memory first.

    Columns, with those asked for beside those used: minutes, memory (MB) and cores (mean number
    that worked). NaN where a job ended before it was first looked at.
    """
    files = {f"{f.parent.name}@{f.stem}": f for f in sorted(root.glob("logs/*/*.tsv"))}
    last = [
        pd.read_csv(f, sep="\t", na_values=["NA", "-"]).tail(1).assign(stage=stage)
        for stage, f in files.items()
    ]
    if not (last := [row for row in last if "resources" in row and len(row)]):
        return pd.DataFrame()
    rows = pd.concat(last).set_index("stage")
    asked = {
        k: rows["resources"].str.extract(rf"'{k}': ([\d.]+)")[0] for k in ("runtime", "mem_mb")
    }
    found = pd.DataFrame(
        {
            "minutes": rows["s"] / 60,
            "asked_minutes": asked["runtime"].astype(float),
            "memory": rows["max_rss"].astype(float),
            "asked_memory": asked["mem_mb"].astype(float),
            "cores": rows["cpu_time"] / rows["s"],
            "asked_cores": rows["threads"],
        }
    )
    share = (found["memory"] / found["asked_memory"]).fillna(0)
    return found.loc[share.sort_values(kind="stable").index]


def table(found: pd.DataFrame) -> str:
    """The records as lines of text."""
    names = ("minutes", "of", "memory MB", "of", "cores", "of")
    columns = [pd.Series(["stage", *found.index])]
    for name, digits, used in zip(names, (1, 0, 0, 0, 1, 0), found, strict=True):
        columns.append(pd.Series([name, *found[used].map(f"{{:.{digits}f}}".format)]))
    widths = [int(column.str.len().max()) for column in columns]
    first, *rest = zip(columns, widths, strict=True)
    padded = [column.str.rjust(width) for column, width in rest]
    return "\n".join(first[0].str.ljust(first[1]).str.cat(padded, sep="  "))


def main(root: Path) -> int:
    """Print the table; returns the exit code."""
    found = uses(root)
    if found.empty:
        error = UserError(
            "logs: no records of jobs that say what they asked for; run `snakemake --profile "
            "slurm` from the repository root first"
        )
        print(f"weir: {error}", file=sys.stderr)
        return error.exit_code
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
