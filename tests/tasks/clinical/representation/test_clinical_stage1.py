"""Training of SeqSetVAE: its loss, schedules, gradients, selection, collapse."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path

import pytest
import torch
from clinical_models import (
    parameters_with_gradient,
    records_of,
    stage1_card,
    stage1_model,
    stage1_settings,
)
from pydantic import ValidationError

from weir.artifacts.model_folder import save_model
from weir.metrics.classification import auprc, auroc
from weir.signals import Interrupted
from weir.stages.restore import restore
from weir.tasks.clinical.representation.decoder import set_nll
from weir.tasks.clinical.representation.seqsetvae import code_counts
from weir.tasks.clinical.representation.stage1 import (
    beta,
    objective,
    risk_scores,
    without_some_events,
)
from weir.tasks.clinical.settings.models import ClinicalStage1, Prior
from weir.training.loop import train
from weir.training.stepper import Stepper


def some(data, count: int = 32):
    return data.split("train").batch(torch.arange(count))


def test_loss_is_the_weighed_sum_of_its_terms(tiny_clinical):
    config = stage1_settings(
        reconstruction=0.5,
        next_set=0.3,
        prior={"beta": 0.4, "warmup": 0.5, "free_bits": 0.0},
        outcome={"weight": 2.0},
    )
    found = objective(config, stage1_model(tiny_clinical, config)).eval()(some(tiny_clinical), 0.25)
    elbo = found["nll"] + 0.5 * 0.4 * found["kl"]
    expected = 0.5 * elbo + 0.3 * found["next_set"] + 2 * found["bce"]
    torch.testing.assert_close(found["loss"], expected)
    torch.testing.assert_close(found["nll"], found["nll_counts"] + found["nll_values"])
    assert found["risk"].shape == found["outcome"].shape == (32,)


def test_free_bits_are_per_latent(tiny_clinical):
    """Below its allowance a latent's divergence is not in the loss, above it in full."""
    config = stage1_settings(reconstruction=1.0, next_set=0.0, outcome={"weight": 0.0})
    model = stage1_model(tiny_clinical, config)
    batch = some(tiny_clinical)
    with torch.no_grad():
        by_latent = model.eval().encode(batch).kl().mean(0)
    allowance = by_latent.median().item()
    config = config.model_copy(
        update={"prior": Prior(beta=1.0, anneal="none", free_bits=allowance)}
    )
    found = objective(config, model).eval()(batch, 1.0)
    expected = torch.where(by_latent > allowance, by_latent, allowance).sum()
    torch.testing.assert_close(found["loss"] - found["nll"], expected)


def test_schedules_of_beta():
    linear = Prior(beta=2.0, anneal="linear", warmup=0.25)
    assert [beta(linear, p) for p in (0, 0.125, 0.25, 0.9, 1)] == [0, 1, 2, 2, 2]
    cyclical = Prior(beta=2.0, anneal="cyclical", warmup=0.5, cycles=2)
    places = (0, 0.125, 0.25, 0.49, 0.5, 0.625, 0.75, 1)
    assert [beta(cyclical, p) for p in places] == [0, 1, 2, 2, 0, 1, 2, 2]
    assert beta(Prior(beta=2.0, anneal="none"), 0.0) == 2


def test_wrong_settings_are_refused():
    with pytest.raises(ValidationError, match="nothing to learn"):
        stage1_settings(reconstruction=0, outcome={"weight": 0})
    with pytest.raises(ValidationError, match="heads must divide width"):
        stage1_settings({"width": 10, "heads": 4})
    with pytest.raises(ValidationError, match="even width"):
        stage1_settings({"width": 9, "heads": 3, "causal": False})


@pytest.mark.parametrize(
    ("network", "changes", "idle"),
    [
        ({}, {}, ()),
        ({"set_encoder": "attention", "sequence": "transformer"}, {}, ()),
        ({}, {"outcome": {"weight": 0.0}}, ("score.", "norm.")),
        ({"causal": False}, {}, ()),
        (
            {"causal": False},
            {"outcome": {"weight": 0.0}},
            ("score.", "norm.", "state_in.", "sequence."),
        ),
        ({}, {"next_set": 0.0, "reconstruction": 0.0}, ("next_set.", "decoder.")),
    ],
)
def test_every_part_learns_or_is_left_out(tiny_clinical, network, changes, idle):
    config = stage1_settings(network, **changes)
    model = stage1_model(tiny_clinical, config)
    found = objective(config, model).train()(some(tiny_clinical), 1.0)
    found["loss"].backward()
    names = [name for name, _ in model.named_parameters()]
    assert parameters_with_gradient(model) == {n for n in names if not n.startswith(idle)}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert parameters_with_gradient(model) == trained


def test_without_outcome_the_head_is_not_there(tiny_clinical):
    config = stage1_settings(outcome={"weight": 0.0})
    model = stage1_model(tiny_clinical, config)
    found = objective(config, model).eval()(some(tiny_clinical), 1.0)
    assert "bce" not in found and "risk" not in found


def test_batches_without_sets_have_a_finite_loss(tiny_clinical):
    config = stage1_settings()
    model = stage1_model(tiny_clinical, config)
    batch = records_of([[], []], len(tiny_clinical.schema.static))
    found = objective(config, model).train()(batch, 1.0)
    assert all(value.isfinite().all() for value in found.values())
    found["loss"].backward()


def test_event_dropout_leaves_the_counts_that_the_head_is_told(tiny_clinical):
    config = stage1_settings(summary=False, event_dropout=0.5)
    model = stage1_model(tiny_clinical, config)
    told = []
    model.head.register_forward_hook(lambda module, given, out: told.append(given[0]))
    batch = some(tiny_clinical)
    objective(config, model).train()(batch, 0.5)
    counts = (2 * told[0][:, -model.codes :]).expm1()
    torch.testing.assert_close(counts, code_counts(batch, model.codes))


@pytest.mark.parametrize("kind", ["pooling", "attention"])
def test_half_precision_is_close(tiny_clinical, kind: str):
    config = stage1_settings({"set_encoder": kind, "sequence": "transformer"})
    found = objective(config, stage1_model(tiny_clinical, config)).eval()
    batch = some(tiny_clinical)
    losses = []
    for halved in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            losses.append(found(batch, 1.0))
    for name in ("loss", "nll", "kl", "bce"):
        torch.testing.assert_close(losses[1][name], losses[0][name], rtol=0.03, atol=0.01)
    losses[1]["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in found.parameters())


def test_dropped_events_leave_their_sets():
    records = records_of([[200, 1], [300]], 1)
    torch.manual_seed(0)
    left = without_some_events(records, 0.25)
    share = len(left.code) / len(records.code)
    assert 0.68 < share < 0.82 and len(left.time) == 3
    assert left.event_set.diff().min() >= 0 and left.value.shape == left.measured.shape


def test_validation_scores_all_records(tiny_clinical, tmp_path: Path):
    """AUROC over the split, not a mean over batches, selects the weights."""
    training = {"steps": 4, "batch_size": 16, "validate_every": 2, "monitor": "auroc"}
    config = stage1_settings(training=training)
    found = objective(config, stage1_model(tiny_clinical, config))
    parts = tiny_clinical.split("train"), tiny_clinical.split("validation")
    result = train(found, *parts, config.training, seed=0, checkpoints=tmp_path)
    validation = parts[1].batch(torch.arange(len(parts[1])))
    with torch.no_grad():
        risk = found.model.risk(validation)
    best = max(result.history, key=lambda entry: entry["validation/auroc"])
    assert result.best_step == best["step"]
    expected = float(auroc(risk, validation.outcome))
    assert best["validation/auroc"] == pytest.approx(expected, abs=1e-3)
    expected = float(auprc(risk, validation.outcome))
    assert best["validation/auprc"] == pytest.approx(expected, abs=1e-3)
    assert risk_scores({"risk": risk[:2], "outcome": torch.ones(2)}) == {}


def test_an_interrupted_training_ends_with_the_same_bytes(tiny_clinical, tmp_path: Path):
    """With all dropouts, and with what the watch over the latents knows."""
    training = {"steps": 8, "batch_size": 16, "validate_every": 4, "checkpoint_every": 3}
    config = stage1_settings(
        {"dropout": 0.2},
        event_dropout=0.3,
        monitor={"every": 3, "grace": 0.0, "patience": 1, "least_active": 1.0},
        training=training,
        outcome={"dropout": 0.3, "input_dropout": 0.3},
    )
    parts = tiny_clinical.split("train"), tiny_clinical.split("validation")

    def run(folder: str, stop_at: int | None = None):
        found = objective(config, stage1_model(tiny_clinical, config))
        agree, steps = Stepper.agree, count(1)
        if stop_at is not None:
            Stepper.agree = lambda self, stop: agree(self, next(steps) == stop_at)
        try:
            settings = config.training
            result = train(found, *parts, settings, seed=3, checkpoints=tmp_path / folder)
        finally:
            Stepper.agree = agree
        return found.state_dict(), result.history

    whole, history = run("whole")
    with pytest.raises(Interrupted):
        run("parts", stop_at=5)
    resumed, again = run("parts")
    assert history == again
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(("weight", "collapses"), [(0.01, False), (1.0, True), (4.0, True)])
def test_alarm_of_collapse(tiny_clinical, tmp_path: Path, caplog, weight: float, collapses: bool):
    """Nets that differ in beta alone: no alarm at .01, one from 1 on, within the steps stated."""
    steps, every, patience, grace = 110, 10, 2, 0.2
    config = ClinicalStage1.model_validate(
        {
            "dataset": "tiny",
            "network": {"width": 16, "d_latent": 8, "dropout": 0.0},
            "summary": False,
            "reconstruction": 1.0,
            "next_set": 0.0,
            "outcome": {"weight": 0.0},
            "prior": {"beta": weight, "anneal": "none", "free_bits": 0.0},
            "monitor": {"every": every, "patience": patience, "grace": grace, "sets": 256},
            "training": {
                "steps": steps,
                "batch_size": 16,
                "learning_rate": 0.01,
                "validate_every": 40,
            },
        }
    )
    model = stage1_model(tiny_clinical, config)
    found = objective(config, model)
    parts = tiny_clinical.split("train"), tiny_clinical.split("validation")
    with caplog.at_level(logging.WARNING):
        result = train(found, *parts, config.training, seed=0, checkpoints=tmp_path)
    alarms = [record.getMessage() for record in caplog.records if "collapsed" in record.msg]
    last = result.history[-1]
    if collapses:
        (alarm,) = alarms
        assert "lower prior.beta" in alarm and "free_bits" in alarm and "warmup" in alarm
        percent = int(alarm.split("at ")[1].split(" %")[0])
        assert percent <= 100 * (0.5 + every * patience / steps)
        assert last["train/mutual_information"] < 0.5 and last["train/collapsed"] > 0.5
    else:
        assert not alarms
        assert last["train/mutual_information"] > 1.5 and last["train/active_units"] > 0.7
        assert last["train/reconstruction_gain"] > 0.5


def test_gain_over_no_latent(tiny_clinical):
    config = stage1_settings(reconstruction=1.0)
    model = stage1_model(tiny_clinical, config)
    batch = some(tiny_clinical)
    gain = objective(config, model)._gain(batch, torch.tensor(1.5))
    sets = len(batch.time)
    with torch.no_grad():
        blank = set_nll(model.decode(torch.zeros(sets, model.d_latent)), batch)
    torch.testing.assert_close(gain, (blank.counts + blank.values).mean() - 1.5)


def test_model_folder(tiny_clinical, tmp_path: Path):
    """Weights, knots and scales come back."""
    config = stage1_settings({"set_encoder": "attention"})
    model = stage1_model(tiny_clinical, config).eval()
    save_model(tmp_path, model, stage1_card(tiny_clinical, config))
    loaded = restore(tmp_path)
    batch = some(tiny_clinical)
    assert torch.equal(loaded.risk(batch), model.risk(batch))
