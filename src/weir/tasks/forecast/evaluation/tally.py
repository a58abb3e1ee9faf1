"""Running sums of a forecaster's scores: chunks of windows go in, means and tables come out."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from weir.metrics.calibration import covered, histogram, pit
from weir.metrics.ensembles import order, quantiles
from weir.metrics.scores import VENTILES, crps, energy_score, quantile_loss, variogram_score
from weir.tasks.forecast.data.schema import Scaler
from weir.tasks.forecast.data.windows import Windows

LAGS = (1, 2, 4, 8, 16)
"""Steps between the values of one variable that the variogram score compares, beside one day."""

_PIT_BINS, _SHOWN_BINS = 100, 20

_RANGES = 4
"""Most parts of the horizon whose reliability is told apart."""


class Tally:
    """Sums over windows, in double precision.

    Args:
        horizon: steps of a forecast.
        variables: number of variables.
        samples: draws of each window.
        scaler: takes standardised values to the raw scale.
        day: rows of a day.
        seed: of the randomised PIT.
        device: of the windows.
    """

    def __init__(
        self,
        horizon: int,
        variables: int,
        samples: int,
        scaler: Scaler,
        day: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.horizon, self.samples, self.scaler = horizon, samples, scaler
        self.day = min(day, horizon)
        self.pairs = variogram_pairs(horizon, variables, (*LAGS, day)).to(device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.grid: dict[str, Tensor] = {}
        self.windows: dict[str, list[Tensor]] = {"start": []}
        self.pit = torch.zeros(_PIT_BINS, dtype=torch.float64, device=device)
        self.ranges = torch.arange(horizon).chunk(min(_RANGES, max(1, horizon // self.day)))
        self.central = torch.zeros(
            len(self.ranges), _SHOWN_BINS, dtype=torch.float64, device=device
        )
        self.moments = torch.zeros(4, dtype=torch.float64, device=device)
        self.quantile_loss = torch.zeros(2, 2, dtype=torch.float64, device=device)

    def add(self, items: Tensor, batch: Windows, drawn: Tensor, point: Tensor) -> None:
        """Score some windows.

        Args:
            items: `[batch]`, their numbers.
            batch: the windows.
            drawn: `[batch, draw, horizon, variable]`, samples.
            point: `[batch, horizon, variable]`, point forecasts.
        """
        truth = batch.future
        ordered = order(drawn.movedim(1, -1))
        mean, variance = drawn.mean(dim=1), drawn.var(dim=1)
        median = quantiles(ordered, [0.5])[..., 0]
        values = {
            "crps": crps(ordered, truth, ordered=True),
            "mse": (point - truth).square(),
            "mae": (point - truth).abs(),
            "mse_sample_mean": (mean - truth).square(),
            "mae_sample_median": (median - truth).abs(),
            "coverage_50": covered(ordered, truth, 0.5),
            "coverage_90": covered(ordered, truth, 0.9),
            "variance": variance,
        }
        for name, value in values.items():
            value = value.double()
            self.grid[name] = self.grid.get(name, 0.0) + value.sum(dim=0)
            self.windows.setdefault(name, []).append(value.mean(dim=(1, 2)))
        paths, path = drawn.flatten(2), truth.flatten(1)
        days, changes = day_means(drawn, self.day), drawn.diff(dim=2)
        joint = {
            "energy_score": energy_score(paths, path),
            "variogram_score": variogram_score(paths, path, pairs=self.pairs),
            "crps_day_mean": crps(
                days.movedim(1, -1), day_means(truth[:, None], self.day)[:, 0]
            ).mean(dim=(1, 2)),
            "crps_increment": crps(changes.movedim(1, -1), truth.diff(dim=1)).mean(dim=(1, 2)),
        }
        for name, value in joint.items():
            self.windows.setdefault(name, []).append(value.double())
        self.windows["start"].append(batch.start)
        rank = pit(ordered, truth, self.generator, ordered=True)
        self.pit += histogram(rank, _PIT_BINS)
        # A truth lies in the central interval of probability p where |2 rank - 1| <= p.
        off_centre = (2 * rank - 1).abs()
        for number, steps in enumerate(self.ranges):
            self.central[number] += histogram(off_centre[:, steps], _SHOWN_BINS)
        mean, variance, observed = mean.double(), variance.double(), truth.double()
        # The sum of squares of the samples follows from their mean and variance.
        squares = mean.square() + variance * (self.samples - 1) / self.samples
        self.moments += torch.stack(
            [mean.sum(), squares.sum(), observed.sum(), observed.square().sum()]
        )
        apart = (items % self.horizon == 0).to(drawn.device)
        if apart.any():
            self._add_quantile_loss(drawn[apart], truth[apart])

    def scores(self) -> dict[str, float]:
        """Means over all windows, in the order of `definitions.DEFINITIONS`."""
        mean = {name: float(value.mean()) for name, value in self._by_window().items()}
        cells = self.pit.sum()
        mean_drawn, squares_drawn, mean_true, squares_true = (self.moments / cells).tolist()
        levels = torch.arange(1, _PIT_BINS, device=self.pit.device) / _PIT_BINS
        shares = self.pit.cumsum(0)[:-1] / cells
        loss, total = self.quantile_loss.unbind(dim=1)
        spread_skill = mean["variance"] * (self.samples + 1) / self.samples
        return {
            "mse": mean["mse"],
            "mae": mean["mae"],
            "mse_sample_mean": mean["mse_sample_mean"],
            "mae_sample_median": mean["mae_sample_median"],
            "crps": mean["crps"],
            "energy_score": mean["energy_score"],
            "variogram_score": mean["variogram_score"],
            "crps_day_mean": mean["crps_day_mean"],
            "crps_increment": mean["crps_increment"],
            "weighted_quantile_loss": float(loss[0] / total[0]),
            "weighted_quantile_loss_sum": float(loss[1] / total[1]),
            "coverage_50": mean["coverage_50"],
            "coverage_90": mean["coverage_90"],
            "calibration_error": float((shares - levels).abs().mean()),
            "spread": mean["variance"] ** 0.5,
            "spread_ratio": ((squares_drawn - mean_drawn**2) / (squares_true - mean_true**2))
            ** 0.5,
            "spread_skill": (spread_skill / mean["mse_sample_mean"]) ** 0.5,
        }

    def tables(self, columns: list[str] | tuple[str, ...]) -> dict[str, pd.DataFrame]:
        """`horizon`, `variables`, `windows`, `pit` and `reliability`."""
        count = sum(map(len, self.windows["start"]))
        grid = {name: (value / count).cpu() for name, value in self.grid.items()}

        def along(dim: int) -> dict[str, Tensor]:
            means = {name: value.mean(dim=dim) for name, value in grid.items()}
            means["spread"] = means.pop("variance").sqrt()
            return means

        windows = {name: value.cpu() for name, value in self._by_window().items()}
        windows["spread"] = windows.pop("variance").sqrt()
        shown = self.pit.cpu().reshape(_SHOWN_BINS, -1).sum(dim=1)
        return {
            "horizon": pd.DataFrame({"step": range(1, self.horizon + 1)} | along(1)),
            "variables": pd.DataFrame({"variable": list(columns)} | along(0)),
            "windows": pd.DataFrame({"start": torch.cat(self.windows["start"]).cpu()} | windows),
            "pit": pd.DataFrame({"bin": range(_SHOWN_BINS), "share": shown / shown.sum()}),
            "reliability": pd.concat(map(self._reliability, range(len(self.ranges)))),
        }

    def _reliability(self, number: int) -> pd.DataFrame:
        steps, counts = self.ranges[number], self.central[number].cpu()
        return pd.DataFrame(
            {
                "horizon": f"{int(steps[0]) + 1}-{int(steps[-1]) + 1}",
                "nominal": torch.arange(1, _SHOWN_BINS + 1, dtype=torch.float64) / _SHOWN_BINS,
                "observed": counts.cumsum(0) / counts.sum(),
            }
        )

    def _by_window(self) -> dict[str, Tensor]:
        return {name: torch.cat(parts) for name, parts in self.windows.items() if name != "start"}

    def _add_quantile_loss(self, drawn: Tensor, truth: Tensor) -> None:
        raw, observed = self.scaler.restore(drawn.double()), self.scaler.restore(truth.double())
        for row, (samples, y) in enumerate(
            ((raw, observed), (raw.sum(dim=-1), observed.sum(dim=-1)))
        ):
            loss = quantile_loss(order(samples.movedim(1, -1)), y, VENTILES).mean(dim=-1).sum()
            self.quantile_loss[row] += torch.stack([loss, y.abs().sum()])


def day_means(values: Tensor, day: int) -> Tensor:
    """Means of whole days, `[batch, draw, day, variable]`, of `[batch, draw, step, variable]`."""
    days = values.shape[2] // day
    return values[:, :, : days * day].unflatten(2, (days, day)).mean(dim=3)


def variogram_pairs(horizon: int, variables: int, lags: tuple[int, ...]) -> Tensor:
    """Coordinates of a flattened path that the variogram score compares, `[2, pair]`.

    All pairs of 672 coordinates would cost 37 times as much, most of it on pairs that hardly
    depend on one another.
    """
    place = torch.arange(horizon * variables).reshape(horizon, variables)
    parts = [
        torch.stack([place[:-lag].flatten(), place[lag:].flatten()])
        for lag in sorted(set(lags))
        if lag < horizon
    ]
    i, j = torch.triu_indices(variables, variables, 1)
    parts.append(torch.stack([place[:, i].flatten(), place[:, j].flatten()]))
    return torch.cat(parts, dim=1)
