"""Published data, where a mirror of it is at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from weir.artifacts.raw_folder import RawFolder
from weir.tasks.perturb.data.load import load
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.settings.dataset import PerturbDataset

MIRROR = os.environ.get("WEIR_DATA_MIRROR", "")

KANG: dict[str, Any] = {
    "obs": {
        "perturbation": "condition",
        "control": "ctrl",
        "cell_type": "cell_type",
        "batch": "donor",
    },
    "match": ["cell_type"],
    "held_out": {
        "design": "leave_group_out",
        "by": "cell_type",
        "groups": ["B cells", "CD14+ Monocytes"],
    },
}
GLIOBLASTOMA: dict[str, Any] = {
    "obs": {"perturbation": "condition", "control": "ctrl", "batch": "patient_id"},
    "genes": {"name": "symbol"},
    "held_out": {"design": "leave_group_out", "by": "batch", "groups": ["PW030"]},
}


@pytest.mark.parametrize(
    ("name", "node", "shape", "test"),
    [
        ("kang_muscat", KANG, (1556, 1267), 200),
        ("glioblastoma_lemur", GLIOBLASTOMA, (5000, 300), 500),
    ],
)
def test_real_cells(tmp_path: Path, name: str, node: dict[str, Any], shape, test):
    file = Path(MIRROR) / "perturb" / f"{name}.h5ad"
    if not MIRROR or not file.is_file():
        pytest.skip("WEIR_DATA_MIRROR does not hold it")
    shutil.copyfile(file, tmp_path / file.name)
    RawFolder.record(tmp_path, "mirror", [file.name])
    output = tmp_path / "processed"
    output.mkdir()
    config = PerturbDataset.model_validate(
        {"task": "perturb", "source": {"mirror": f"perturb/{file.name}", "sha256": "0" * 64}} | node
    )
    preprocess(config.fold(len(config.folds) - 1), tmp_path, output)
    data = load(output)
    assert (len(data.part), len(data.schema.genes)) == shape
    assert data.schema.repairs == ()
    (response,) = data.responses("test")
    assert len(response.truth) == len(data.split("test")) == test
    assert len(response.neighbours) == 4
