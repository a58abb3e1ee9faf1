"""`WEIR_DEVICES=2 weir STAGE NAME` gives the model that one process gives, for each task.

The data is made once, by `weir` itself. Commands run as forks of one process that has their
imports, which take longer than these trainings.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

TOLERANCE = 1e-4
"""Of weights after ten steps; sums of floats have another order."""
REPOSITORY = Path(__file__).resolve().parents[2]
TRAININGS = {
    "forecast": ("river", ["stage1 river"]),
    "perturb": ("cells", ["stage1 cells"]),
    "perturb jointly": ("cells", ["joint cells"]),
    "clinical": ("ward", ["stage1 ward"]),
    # Its loss differentiates a gradient.
    "image": ("digits", ["stage1 pixels", "stage2 digits"]),
}
"""Dataset, and the stages that follow; the last one is the training."""
TRAINING = {"steps": 10, "batch_size": 20, "accumulate": 3, "validate_every": 5, "ema": 0.9}
CELLS = {
    "cells": 600,
    "genes": 40,
    "perturbations": 2,
    "doses": [1.0, 10.0],
    "combinations": 1,
    "batches": 2,
    "seed": 0,
}
PARAMS = {
    "seeds": [0],
    "datasets": {
        "river": {
            "task": "forecast",
            "source": {"simulator": {"rows": 600, "variables": 2, "seed": 0}},
            "frequency": "1h",
            "cycle": 12,
            "split": {"ratios": [0.6, 0.2, 0.2]},
            "lookback": 12,
            "horizon": 4,
        },
        "cells": {
            "task": "perturb",
            "source": {"simulator": CELLS},
            "obs": {"dose": "dose", "cell_type": "cell_type", "batch": "batch"},
            "match": ["cell_type"],
            "genes": {"highly_variable": None},
            "held_out": {"design": "leave_group_out", "by": "cell_type", "groups": ["type2"]},
        },
        "ward": {
            "task": "clinical",
            "source": {"simulator": {"patients": 200, "hours": 12, "seed": 0}},
            "outcome": "in_hospital_mortality",
        },
        "digits": {
            "task": "image",
            "source": {"bundled": "digits"},
            "judge": {"steps": 10, "width": 4},
        },
    },
    "stage1": {
        "river": {"dataset": "river", "training": TRAINING},
        "cells": {"dataset": "cells", "training": TRAINING},
        "ward": {"dataset": "ward", "training": TRAINING | {"monitor": "bce"}},
        "wrong": {"dataset": "river", "training": TRAINING | {"monitor": "nothing"}},
        "pixels": {"dataset": "digits"},
    },
    "stage2": {
        "digits": {
            "stage1": "pixels",
            "density": {"hidden": [16, 16], "components": 2, "dropout": 0.1},
            "drop_class": 0.1,
            "training": TRAINING,
        },
    },
    "joint": {"cells": {"dataset": "cells", "training": TRAINING}},
}

Weir = Callable[..., list[int]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository with params.yaml."""
    folder = tmp_path_factory.mktemp("devices")
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def weir(root: Path) -> Iterator[Weir]:
    """Runs a command of weir in several processes; returns the exit codes."""
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=root,
    )

    def weir(*arguments: str, processes: int = 1) -> list[int]:
        print(json.dumps([arguments, processes]), file=server.stdin, flush=True)
        return [int(code) for code in server.stdout.readline().split()]

    yield weir
    server.stdin.close()
    server.wait(10)


@pytest.mark.parametrize("what", TRAININGS)
def test_two_processes_give_the_model_of_one(root: Path, weir: Weir, what: str) -> None:
    name, stages = TRAININGS[what]
    for line in (f"fetch {name}", f"preprocess {name}", *stages):
        assert weir(*line.split()) == [0]
    section, node = stages[-1].split()
    output = root / f"results/{section}/{node}-s0"
    one, history = load_file(output / "model.safetensors"), _history(output)
    shutil.rmtree(output)
    assert weir(section, node, processes=2) == [0, 0]
    two = load_file(output / "model.safetensors")
    for tensor, value in one.items():
        torch.testing.assert_close(two[tensor], value, rtol=0, atol=TOLERANCE, msg=tensor)
    assert _history(output) == pytest.approx(history, rel=1e-3, abs=1e-5)
    assert not list(output.parent.glob(".*"))  # nothing half-written


def test_the_command_starts_its_processes_and_gives_one_answer(root: Path, weir: Weir) -> None:
    """Both processes find the same fault; one line says so."""
    weir("fetch", "river")
    weir("preprocess", "river")
    environment = os.environ | {
        "WEIR_DEVICES": "2",
        "WEIR_ACCELERATOR": "cpu",
        "WEIR_TRACKING": "off",
        "PYTHONPATH": str(REPOSITORY / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "weir.cli", "stage1", "wrong"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("weir: training")]
    assert len(said) == 1
    assert "training.monitor nothing: there is no such validation value" in said[0]
    assert not list(root.glob(".weir/together-*"))


def _history(folder: Path) -> list[float]:
    with (folder / "history.csv").open(newline="") as file:
        return [float(value) for row in csv.DictReader(file) for value in row.values() if value]


def serve() -> None:
    """Fork processes for every line `[arguments, processes]`; answer with their exit codes."""
    sys.path.insert(0, str(REPOSITORY / "tests/training"))
    import lightning_fabric  # noqa: F401
    from training_toy import together

    import weir.cli

    os.environ |= {"WEIR_TRACKING": "off", "WEIR_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    for line in sys.stdin:
        arguments, count = json.loads(line)
        children = []
        for variables in together(count):
            child = os.fork()
            if child == 0:
                os.environ |= variables
                os.dup2(2, 1)
                code = 0
                with suppress(SystemExit):  # as all processes but the first end
                    code = weir.cli.main(arguments)
                os._exit(code)
            children.append(child)
        print(*[os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children], flush=True)


if __name__ == "__main__":
    serve()
