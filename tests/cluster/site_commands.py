"""The commands of docs/site.md, which tests take from there, so that the page cannot say others."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "site.md"


def lines() -> list[str]:
    """Every line of the page's bash blocks, without remarks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)
    found = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in found if line]


def said(start: str, **names: object) -> str:
    """The one line that starts so, with the page's names replaced.

    Args:
        names: `site`, `group`, `server` and so on, for those in `NAMES`.
    """
    (line,) = (line for line in lines() if line.startswith(start))
    for name, value in names.items():
        assert NAMES[name] in line, f"{line}: does not name {NAMES[name]}"
        line = line.replace(NAMES[name], str(value))
    return line


NAMES = {
    "site": "/site/weir",
    "group": "my-group",
    "tracking": "http://login1:5000",
    "port": "--port 5000",
    "sqlite": "sqlite:////site/weir/mlflow/mlflow.db",
    "artifacts": "/site/weir/mlflow/artifacts",
    "postgres": "postgresql+pg8000://mlflow@login1:5432/mlflow",
    "store": "ssh://me@login1/site/weir/store",
    "key": "/home/me/.ssh/id_ed25519",
    "wait": "sleep 30 &",
    "srun": "srun ",
}
"""Names in the page that a site replaces, and here the tests."""
