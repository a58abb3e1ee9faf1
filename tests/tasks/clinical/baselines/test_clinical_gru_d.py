"""GRU-D: its inputs by the paper's recursion, where its state stops, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clinical_models import records_of
from hypothesis import given
from hypothesis import strategies as st

from weir.artifacts.model_folder import ModelCard, save_model
from weir.stages.restore import build_model, restore
from weir.tasks.clinical.baselines import GRUD, baseline
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.flow.grid import Grid
from weir.tasks.clinical.settings.baseline import ClinicalBaseline


def network(codes: int = 3, static: int = 0, bins: int = 6, hours: float = 12.0) -> GRUD:
    torch.manual_seed(0)
    model = GRUD(codes, static, Grid(bins, hours), 0.2, hidden=5, dropout=0.0)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_inputs_follow_the_papers_recursion(seed: int, share: float) -> None:
    """Che et al. 2018, equations 2 to 5, bin by bin; the training mean is zero."""
    model = network()
    generator = torch.Generator().manual_seed(seed)
    has = torch.rand(2, 6, 3, generator=generator) < share
    mean = torch.randn(2, 6, 3, generator=generator) * has
    model.input_pace.data = torch.tensor([0.3, 0.0, -1.0])
    model.input_start.data = torch.tensor([0.0, 0.1, 0.5])
    told, since = model.inputs(mean, has)
    width = model.grid.width
    gap, last = torch.zeros(2, 3), torch.zeros(2, 3)
    for place in range(6):
        if place:
            gap = width + torch.where(has[:, place - 1], 0.0, gap)
        near = torch.exp(-(model.input_pace * gap + model.input_start).clamp_min(0))
        expected = torch.where(has[:, place], mean[:, place], near * last)
        last = torch.where(has[:, place], mean[:, place], last)
        assert torch.allclose(since[:, place], gap, atol=1e-5)
        assert torch.allclose(told[:, place], expected, atol=1e-5)


def test_the_state_stays_after_a_records_end() -> None:
    model = network(codes=8, bins=10, hours=10.0)
    records = records_of([[2, 1, 3], [1] * 8], statics=0)  # ends at 4.5 and 9.5 hours
    states = model.states(records)
    assert states.shape == (2, 10, 5)
    assert torch.equal(states[0, 4], states[0, 9])
    assert not torch.equal(states[1, 4], states[1, 5])


def test_a_record_without_events_has_a_risk() -> None:
    model = network(codes=8, static=2)
    risk = model.risk(records_of([[], [2, 1]], statics=2))
    assert risk.shape == (2,) and risk.isfinite().all()


def test_it_learns_and_a_folder_holds_it(tiny_clinical: ClinicalData, tmp_path: Path) -> None:
    training = {"steps": 100, "batch_size": 32, "learning_rate": 0.01, "validate_every": 50}
    config = ClinicalBaseline.model_validate(
        {
            "method": "gru_d",
            "dataset": "tiny",
            "grid": {"bins": 12},
            "network": {"hidden": 8, "dropout": 0.0},
            "training": training,
        }
    )
    assert config.seeded
    settings = config.model_dump(mode="json")
    card = ModelCard("baseline", "it", 0, "clinical", "tiny", settings, tiny_clinical.card())
    torch.manual_seed(0)
    model = build_model(card)
    train = tiny_clinical.split("train")
    batch = train.batch(torch.arange(len(train)))
    prevalence = tiny_clinical.schema.prevalence
    untrained = model.eval().risk(batch).sigmoid()
    assert untrained.detach().numpy() == pytest.approx([prevalence] * len(train), abs=1e-6)
    history = baseline.fit(
        model,
        config,
        tiny_clinical,
        None,
        seed=0,
        checkpoints=tmp_path / "checkpoints",
        log=lambda values, step=None: None,
    )
    assert {"validation/auroc", "validation/loss"} <= {key for row in history for key in row}
    risk = model.risk(batch)
    ill = batch.outcome > 0
    assert risk[ill].mean() - risk[~ill].mean() > 1
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", model, card, history)
    loaded = restore(tmp_path / "model")
    assert torch.equal(loaded.risk(batch), risk)
