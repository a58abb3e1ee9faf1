"""Scores of filled-in bins, against closed forms and against themselves."""

from __future__ import annotations

import pytest
import torch
from clinical_records import records
from torch import nn

from weir.errors import UserError, WeirError
from weir.metrics.scores import energy_score
from weir.tasks.clinical.baselines.filling import MeanByHour
from weir.tasks.clinical.data.load import ClinicalData
from weir.tasks.clinical.data.records import Records
from weir.tasks.clinical.evaluation.filling import Pooled, evaluate_fill, fill_errors, hidden_cells
from weir.tasks.clinical.flow.filling import Imputation
from weir.tasks.clinical.flow.grid import Grid, merge, tally
from weir.tasks.clinical.flow.items import by_code
from weir.tasks.clinical.settings.scoring import ClinicalEvaluate

CONFIG = ClinicalEvaluate(model="stage2/any", samples=8)


def test_errors_of_one_record_by_hand():
    grid = Grid(2, 8.0)
    made = records([(0, 0.0, 1, 1.0), (0, 5.0, 1, 2.0), (0, 6.0, 1, 4.0), (0, 6.0, 2, -1.0)], 2)
    truth = tally(merge(made, grid), grid, 3)
    samples = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([[2.5, 0.0, 9.0], [9.0, 9.0, 9.0]])
    asked = torch.ones(2, 3, dtype=torch.bool)
    record, place = torch.tensor([0, 1]), torch.tensor([1, 1])
    filled = Imputation(record, place, asked, mean, samples, torch.ones(2, 3))
    errors = fill_errors(filled, truth)
    # The mean of both values of code 1 is 3; the second record has nothing to compare with.
    assert errors.code.tolist() == [0, 1]
    assert errors.square.tolist() == [0.25, 1.0]
    wanted = energy_score(samples[0, :, :2], torch.tensor([3.0, -1.0]))
    torch.testing.assert_close(errors.energy, wanted.reshape(1), atol=1e-5, rtol=1e-4)
    assert errors.count.tolist() == [2]
    pooled = Pooled()
    pooled.add(errors)
    assert pooled.scores()["rmse"] == pytest.approx(0.625**0.5)
    assert pooled.by_code(3)["values"].tolist() == [1, 1, 0]
    # What was not hidden is no one's merit.
    asked[0, 0] = False
    assert fill_errors(filled, truth).code.tolist() == [1]


class Clairvoyant(nn.Module):
    """Fills in what is there; `wrong` is added to some of it."""

    def __init__(self, grid: Grid, codes: int, wrong: float = 0.0) -> None:
        super().__init__()
        self.grid, self.codes, self.wrong = grid, codes, wrong

    def fill(self, records: Records, hidden: torch.Tensor, samples: int, **_: object) -> Imputation:
        events = tally(merge(records, self.grid), self.grid, self.codes)
        hidden = by_code(hidden, self.codes + 1)[..., 1:]
        hidden = hidden & self.grid.inside(records.end)[..., None]
        record, place = hidden.any(-1).nonzero(as_tuple=True)
        mean = events.mean[record, place] + self.wrong
        draws = mean[:, None].repeat(1, samples, 1)
        count = events.count[record, place]
        return Imputation(record, place, hidden[record, place], mean, draws, count)


def test_who_knows_everything_makes_no_error(tiny_clinical: ClinicalData):
    grid, codes = Grid(8, 24.0), len(tiny_clinical.schema.codes)
    found = evaluate_fill(Clairvoyant(grid, codes), tiny_clinical, CONFIG, seed=0)
    assert all(abs(v) < 1e-5 for k, v in found.metrics.items() if k != "fill_coverage")
    found = evaluate_fill(Clairvoyant(grid, codes, 0.5), tiny_clinical, CONFIG, seed=0)
    for name in ("forecast_rmse", "impute_rmse", "single_rmse", "fill_crps", "impute_crps"):
        assert found.metrics[name] == pytest.approx(0.5, abs=1e-5)
    assert not found.quality_curve
    table = found.tables["filled"]
    # What is drawn is in clinical units: values of codes are about 50 with deviation 10.
    true = table[table["kind"] == "true"].sort_values(["record", "code", "hour"])
    middle = table[table["kind"] == "middle"].merge(true, on=["record", "code", "hour"])
    sd = [code.sd for code in tiny_clinical.schema.codes if code.values]
    off = (middle["value_x"] - middle["value_y"]) / 0.5
    assert len(off) and off.between(0.99 * min(sd), 1.01 * max(sd)).all()


def test_means_by_hour_are_scored_against_what_they_miss(
    tiny_clinical: ClinicalData,
):
    model = MeanByHour(len(tiny_clinical.schema.codes), 8)
    model.fit(tiny_clinical, 0)
    found = evaluate_fill(model, tiny_clinical, CONFIG, seed=0)
    # Standardised values of deviation 1, hardly foreseen.
    assert 0.8 < found.metrics["forecast_rmse"] < 1.3
    assert 0.45 < found.metrics["fill_crps"] < 0.75
    again = evaluate_fill(model, tiny_clinical, CONFIG, seed=0)
    assert again.metrics == found.metrics


def test_what_is_hidden_depends_on_the_seed_alone():
    grid = Grid(8, 24.0)
    first = hidden_cells("imputation", 500, grid, 4, 3)
    assert torch.equal(first, hidden_cells("imputation", 500, grid, 4, 3))
    assert abs(float(first.float().mean()) - 0.2) < 0.02
    single = hidden_cells("single values", 500, grid, 4, 3)
    assert single.shape == (500, 8, 5) and abs(float(single.float().mean()) - 0.2) < 0.02
    assert hidden_cells("forecast", 2, grid, 4, 3).tolist() == [[False] * 6 + [True] * 2] * 2


def test_a_grid_longer_than_the_records_is_told(tiny_clinical: ClinicalData):
    model = Clairvoyant(Grid(4, 400.0), len(tiny_clinical.schema.codes))
    with pytest.raises(UserError, match=r"grid\.hours"):
        evaluate_fill(model, tiny_clinical, CONFIG, seed=0)


def test_values_that_are_not_finite_are_an_error(tiny_clinical: ClinicalData):
    model = Clairvoyant(Grid(8, 24.0), len(tiny_clinical.schema.codes), float("nan"))
    with pytest.raises(WeirError, match="NaN"):
        evaluate_fill(model, tiny_clinical, CONFIG, seed=0)
