"""Request of `weir predict --cells`: a user's words on a new file, and the settings to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from weir.errors import UserError, suggest
from weir.tasks.perturb.data.schema import Schema
from weir.tasks.perturb.settings.dataset import PerturbDataset

WORDS = (
    (r" or unset `obs\.spatial`", ""),
    (r"set `obs\.control`", "pass --obs control=VALUE, or --all-cells"),
    (r"set `obs\.(\w+)`", r"pass --obs \1=NAME, or \1= if there is none"),
    (r"set `genes\.name`", "pass --gene-names COLUMN"),
    (r"set `layer`", "pass --layer"),
    (r"set `(missing|empty_cells): drop`", r"pass --drop \1"),
)
"""How to fix, in words of a dataset node and in those of the command."""


@dataclass(frozen=True)
class Request:
    """What a user says of a new file, beside what the model knows of its own.

    Attributes:
        obs: settings of `obs` in place of the model's; an empty text for what the file lacks.
        layer: place of the counts in place of the model's; `X` for X.
        gene_names: column of `var` in place of the model's.
        fill_missing: count genes that the file lacks as zero.
        all_cells: take every cell as one without perturbation.
        drop: of `missing` and `empty_cells`, what to leave out instead of refusing.
    """

    obs: dict[str, str]
    layer: str | None = None
    gene_names: str | None = None
    fill_missing: bool = False
    all_cells: bool = False
    drop: tuple[str, ...] = ()


def dataset_of(file: Path, sha256: str, schema: Schema, request: Request) -> PerturbDataset:
    """The dataset node that describes a new file: the model's, but for what the user says.

    Raises:
        UserError: there is no such setting, or the model does not say; one line.
    """
    reading = schema.reading
    if reading is None:
        raise UserError(
            "--cells: the model is of an earlier version, which did not save how its data was "
            "read; train it again"
        )
    for role in request.obs:
        if role not in reading.obs:
            raise UserError(
                f"--obs {role}=...: no such setting; {suggest(role, list(reading.obs))}"
            )
    given = {role: name or None for role, name in request.obs.items()}
    # A source is not read under its doses: what it was given does not matter.
    obs = {**reading.obs, **given, "dose": None}
    # The first is settled by `_labels`; the settings want a name.
    obs |= {role: obs[role] or reading.obs[role] for role in ("perturbation", "control")}
    if not schema.niche:
        obs |= {"spatial": None, "section": None}
    elif obs["spatial"] is None:
        raise UserError("--obs spatial=: the model needs the cells' positions in the tissue")
    layer = reading.layer if request.layer is None else request.layer
    try:
        return PerturbDataset.model_validate(
            {
                "task": "perturb",
                "source": {"path": str(file), "sha256": sha256},
                "layer": None if layer in ("X", "null") else layer,
                "obs": obs,
                "genes": {"name": request.gene_names or reading.gene_names},
                "neighbours": reading.neighbours,
                **dict.fromkeys(request.drop, "drop"),
            }
        )
    except ValidationError as error:
        raise UserError(f"--obs: {error.errors()[0]['msg']}; fix it") from None


@contextmanager
def in_words_of_the_command() -> Iterator[None]:
    """Errors in how to read a file say what to pass, not what to write into params.yaml."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for pattern, said in WORDS:
            text = re.sub(pattern, said, text)
        raise UserError(text) from None
