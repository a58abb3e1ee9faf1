"""Scores against the law of simulated cells, and the ceilings that know the truth."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from weir.artifacts.raw_folder import RawFolder
from weir.errors import UserError
from weir.tasks.perturb.baselines import Oracle, SplitHalf, build
from weir.tasks.perturb.data.load import PerturbData, load
from weir.tasks.perturb.evaluation.evaluate import evaluate
from weir.tasks.perturb.evaluation.generation import CELLS, MEAN, Made, TwinError
from weir.tasks.perturb.flow.responder import Generated
from weir.tasks.perturb.preprocessing.preprocess import preprocess
from weir.tasks.perturb.representation.cell_code import log_normalise
from weir.tasks.perturb.settings.dataset import PerturbDataset
from weir.tasks.perturb.settings.scoring import PerturbEvaluate
from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.law import Law
from weir.tasks.perturb.simulation.simulate import simulate


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> PerturbData:
    """400 cells x 60 genes of two types under A, B and A+B, some of each held out."""
    settings = {
        "cells": 400,
        "genes": 60,
        "cell_types": 2,
        "batches": 1,
        "perturbations": 2,
        "doses": [3.0],
        "combinations": 1,
        "targets": 0.3,
        "zeros": 0.4,
    }
    folder = tmp_path_factory.mktemp("simulated")
    raw, output = folder / "raw", folder / "tiny"
    raw.mkdir()
    output.mkdir()
    RawFolder.record(raw, "simulator", simulate(Simulation.model_validate(settings), raw))
    config = {
        "task": "perturb",
        "source": {"simulator": settings},
        "obs": {
            "perturbation": "perturbation",
            "dose": "dose",
            "cell_type": "cell_type",
            "batch": "batch",
        },
        "components": 10,
    }
    preprocess(PerturbDataset.model_validate(config), raw, output)
    return load(output)


def ask(method: str, data: PerturbData, folder: Path) -> dict[str, float]:
    model = build(method, data.schema.scale).fit(data)
    config = PerturbEvaluate(model="baseline/x", samples=200)
    return evaluate(model, data, config, seed=0, label="test").metrics


def test_exact_twins_have_no_error_and_unchanged_cells_have_one(simulated: PerturbData) -> None:
    law = Law.load(simulated.folder)
    found = TwinError(simulated, law)
    for response in simulated.responses("test"):
        rows = response.sources.rows
        doses = simulated.table.condition_doses[response.condition]
        twins = law.twins(rows, doses.expand(len(rows), -1))
        ratios = found.add(made(simulated, twins, rows), doses)
        assert list(ratios.values()) == pytest.approx([0, 0], abs=1e-6)
    assert list(found.total().values()) == pytest.approx([0, 0], abs=1e-6)
    found = TwinError(simulated, law)
    own = simulated.table.counts.rows(rows)
    assert list(found.add(made(simulated, own, rows), doses).values()) == pytest.approx([1, 1])
    shuffled = own[torch.randperm(len(own), generator=torch.Generator().manual_seed(0))]
    assert found.add(made(simulated, shuffled, rows), doses)[CELLS] > 1.1
    assert found.total()[MEAN] == pytest.approx(1)


def made(data: PerturbData, counts: Tensor, rows: Tensor) -> Made:
    expression = log_normalise(counts, counts.sum(1).clamp(min=1), data.schema.scale)
    return Made(Generated(expression, counts), rows, rows, 0.0)


def test_the_oracle_is_a_ceiling(simulated: PerturbData, tmp_path: Path) -> None:
    oracle, additive, nothing = (
        ask(name, simulated, tmp_path) for name in ("oracle", "additive", "no_change")
    )
    error = "counterfactual_error"
    assert oracle[error] == pytest.approx(0, abs=1e-6)
    assert additive[error] < nothing[error] == pytest.approx(1)
    assert oracle["energy_distance"] < additive["energy_distance"] < nothing["energy_distance"]


def test_an_oracle_needs_simulated_data(tiny_perturb: PerturbData) -> None:
    with pytest.raises(UserError, match="known only of a simulated dataset"):
        Oracle().fit(tiny_perturb)


def test_two_halves_make_the_whole(tiny_perturb: PerturbData) -> None:
    truth = tiny_perturb.responses("test")[0].truth
    first, second = SplitHalf().halve(truth, 0)
    assert sorted([*first.rows.tolist(), *second.rows.tolist()]) == truth.rows.tolist()
    assert abs(len(first) - len(second)) <= 1
    assert SplitHalf().halve(truth, 1)[0].rows.tolist() != first.rows.tolist()
    with pytest.raises(TypeError, match="SplitHalf is a ceiling"):
        SplitHalf().respond(truth.batch(torch.arange(2)), torch.zeros(2, 2))
