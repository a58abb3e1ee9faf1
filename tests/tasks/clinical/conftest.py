"""Made-up records: a folder of six subjects, and a processed one of 150."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clinical_meds import Meds, cohort, run_preprocess

from weir.tasks.clinical.data.load import ClinicalData, load


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., ClinicalData]:
    """Write a MEDS folder, let `change` alter its files, preprocess and load it."""
    runs = iter(range(1000))

    def run(
        meds: Meds, change: Callable[[Path], None] = lambda folder: None, **settings: Any
    ) -> ClinicalData:
        number = next(runs)
        raw = tmp_path / f"raw{number}"
        meds.write(raw)
        change(raw)
        return run_preprocess(raw, tmp_path / f"processed{number}", **settings)

    return run


@pytest.fixture
def meds() -> Meds:
    """Six subjects, two of each split, one with and one without the outcome.

    Subject n has A = n at hour 1, A = 10 n and B at hour 2, C = 1 at hour 5; it is predicted at
    hour 4, so that C is never seen. Its age is 40 + n, and odd ones are F.
    """
    made = Meds(shards=2)
    for number, split in enumerate(["train", "train", "tuning", "tuning", "held_out", "held_out"]):
        made.subject(
            number,
            [
                (None, "Age", 40.0 + number),
                (None, "SEX//F" if number % 2 else "SEX//M", None),
                (1.0, "A", float(number)),
                (2.0, "A", 10.0 * number),
                (2.0, "B", None),
                (5.0, "C", 1.0),
            ],
            [(4.0, number % 2 == 1)],
            split,
        )
    return made


@pytest.fixture(scope="session")
def clinical_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A processed folder of 150 made-up subjects, see `cohort`."""
    folder = tmp_path_factory.mktemp("clinical")
    cohort(150).write(folder / "raw")
    subgroups = {"sex": {"prefix": "SEX//"}, "age": {"code": "Age", "edges": [50, 65]}}
    run_preprocess(folder / "raw", folder / "tiny", subgroups=subgroups)
    return folder / "tiny"


@pytest.fixture(scope="session")
def tiny_clinical(clinical_folder: Path) -> ClinicalData:
    """The same, loaded."""
    return load(clinical_folder)
