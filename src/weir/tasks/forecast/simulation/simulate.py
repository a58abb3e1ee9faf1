"""A series whose conditional law given its history is known exactly, and can be sampled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from weir.errors import UserError
from weir.tasks.forecast.data.schema import TRUTH
from weir.tasks.forecast.settings.simulator import Simulation

DAY, WEEK = 24, 168
BURN_IN = 50 * DAY
"""Hours simulated and thrown away, so that the residual starts from its stationary law."""


@dataclass(frozen=True)
class Truth:
    """The law of a simulated series `y[t]`, per variable (`k`) on its raw scale.

    `y[t] = level + unit * (slope * t + cycle[t % 168] + r[t])`, where the residual follows
    `r[t] = transition r[t-1] + scale(t, r[t-1]) * factor e[t] + jump * sign[t] * direction`.

    `e` has independent components of unit variance. `scale` is the product of `busy` (from 8 to
    20 o'clock) and `stress` (while `r[t-1]` along `direction` exceeds `threshold`). `sign` is -1
    or 1 with probability `jump_probability / 2` each at `jump_hour`, else 0. Innovations and
    jumps have mean zero given the past, so the conditional mean is that of a linear VAR(1).
    """

    level: list[float]
    unit: list[float]
    slope: list[float]
    cycle: list[list[float]]
    transition: list[list[float]]
    factor: list[list[float]]
    direction: list[float]
    degrees_of_freedom: float | None
    busy: float
    stress: float
    threshold: float
    jump: float
    jump_probability: float
    jump_hour: int


def draw_truth(settings: Simulation) -> Truth:
    """The law that the settings' seed picks."""
    random = np.random.default_rng(settings.seed)
    k = settings.variables
    sign = np.where(np.arange(k) % 3 == 2, -1.0, 1.0)
    hours = np.arange(WEEK)
    phase = random.uniform(0, 2 * np.pi, (2, k)) * 0.2 + np.array([[1.0], [2.5]])
    waves = [np.sin(2 * np.pi * n * hours[:, None] / DAY + phase[n - 1]) for n in (1, 2)]
    daily = (waves[0] + 0.5 * waves[1]) * np.sqrt(2 / 1.25) * sign
    days = random.standard_normal((7, k))
    days = (days - days.mean(0)) / days.std(0)
    mixing, _ = np.linalg.qr(random.standard_normal((k, k)))
    transition = settings.persistence * (
        (1 - settings.coupling) * np.eye(k) + settings.coupling * mixing
    )
    rho = settings.correlation
    factor = np.linalg.cholesky((1 - rho) * np.eye(k) + rho * np.outer(sign, sign))
    return Truth(
        level=random.uniform(10, 50, k).round(3).tolist(),
        unit=random.uniform(0.5, 5, k).round(3).tolist(),
        slope=(settings.trend / settings.rows * random.uniform(0.5, 1, k)).tolist(),
        cycle=(settings.daily * daily + settings.weekly * days[hours // DAY]).tolist(),
        transition=transition.tolist(),
        factor=factor.tolist(),
        direction=(sign * random.uniform(0.6, 1, k)).tolist(),
        degrees_of_freedom=settings.degrees_of_freedom,
        busy=settings.busy,
        stress=settings.stress,
        threshold=settings.threshold,
        jump=settings.jump,
        jump_probability=settings.jump_probability,
        jump_hour=settings.jump_hour,
    )


class Law:
    """The conditional law of a simulated series: its exact mean and samples of its futures."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self._level = _tensor(truth.level)
        self._unit = _tensor(truth.unit)
        self._slope = _tensor(truth.slope)
        self._cycle = _tensor(truth.cycle)
        self._transition = _tensor(truth.transition)
        self._factor = _tensor(truth.factor)
        self._direction = _tensor(truth.direction)

    @classmethod
    def load(cls, path: Path) -> Law:
        """The law stored in `truth.json`, a file or the folder that holds it.

        Raises:
            UserError: the file is missing or damaged.
        """
        path = path / TRUTH if path.is_dir() else path
        try:
            return cls(TypeAdapter(Truth).validate_json(path.read_bytes()))
        except FileNotFoundError:
            raise UserError(
                f"no {path}: the oracle is known only for a simulated dataset; "
                "remove the node or set `source: {simulator: {}}`"
            ) from None
        except ValidationError as error:
            raise UserError(
                f"{path} is damaged ({error.errors()[0]['msg']}); rerun weir preprocess"
            ) from None

    def save(self, folder: Path) -> None:
        """Write `truth.json` into a folder."""
        (folder / TRUTH).write_text(json.dumps(asdict(self.truth), indent=1) + "\n")

    def regular(self, rows: Tensor) -> Tensor:
        """Trend and cycles, `[..., variable]` in innovation SDs, at absolute rows `[...]`."""
        return rows[..., None] * self._slope + self._cycle[rows % WEEK]

    def residual(self, values: Tensor, rows: Tensor) -> Tensor:
        """The residual `[..., variable]` of raw values at absolute rows `[...]`."""
        return (values.double() - self._level) / self._unit - self.regular(rows)

    def oracle_mean(self, history: Tensor, start: Tensor, horizon: int) -> Tensor:
        """Exact conditional mean of the future.

        Args:
            history: `[batch, lookback, variable]`, raw scale; only the last row matters.
            start: `[batch]` int64, absolute row at which the future begins.
            horizon: rows to forecast.

        Returns:
            `[batch, horizon, variable]` on the raw scale, float64.
        """
        residual = self.residual(history[:, -1], start - 1)
        means = []
        for _ in range(horizon):
            residual = residual @ self._transition.T
            means.append(residual)
        return self._raw(torch.stack(means, -2), start[:, None] + torch.arange(horizon))

    def oracle_sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        horizon: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws from the exact conditional law of the future.

        Args:
            history: `[batch, lookback, variable]`, raw scale; only the last row matters.
            start: `[batch]` int64, absolute row at which the future begins.
            samples: draws of each item.
            horizon: rows to forecast.
            generator: source of randomness, on the CPU.

        Returns:
            `[batch, samples, horizon, variable]` on the raw scale, float64.
        """
        residual = self.residual(history[:, -1], start - 1)[:, None].expand(-1, samples, -1)
        path = []
        for lead in range(horizon):
            residual = self._step(residual, (start + lead)[:, None], generator)
            path.append(residual)
        return self._raw(
            torch.stack(path, -2), start[:, None, None] + torch.arange(horizon)[None, None]
        )

    def generate(self, rows: int, generator: torch.Generator) -> Tensor:
        """One series, `[row, variable]` float64 on the raw scale, from the stationary law."""
        residual = torch.zeros_like(self._level)
        path = []
        for row in range(-BURN_IN, rows):
            residual = self._step(residual, torch.tensor(row), generator)
            path.append(residual)
        return self._raw(torch.stack(path[BURN_IN:]), torch.arange(rows))

    def _raw(self, residual: Tensor, rows: Tensor) -> Tensor:
        return self._level + self._unit * (self.regular(rows) + residual)

    def _step(self, last: Tensor, row: Tensor, generator: torch.Generator | None) -> Tensor:
        """The residual at `row` (broadcasts against `[...]`) given the last, `[..., variable]`."""
        truth = self.truth
        hour = row % DAY
        along = last @ self._direction / self._direction.square().sum()
        scale = torch.where((hour >= 8) & (hour < 20), truth.busy, 1.0) * torch.where(
            along > truth.threshold, truth.stress, 1.0
        )
        uniform = torch.rand(along.shape, generator=generator, dtype=torch.float64)
        sign = torch.where(uniform < truth.jump_probability / 2, -1.0, 0.0)
        sign = torch.where(uniform > 1 - truth.jump_probability / 2, 1.0, sign)
        jump = torch.where(hour == truth.jump_hour, truth.jump * sign, 0.0)
        noise = unit_noise(last.shape, truth.degrees_of_freedom, generator) @ self._factor.T
        return (
            last @ self._transition.T + scale[..., None] * noise + jump[..., None] * self._direction
        )


class Simulator:
    """The law of the settings' seed, and the series drawn from it."""

    def __init__(self, settings: Simulation) -> None:
        self.settings = settings
        self.law = Law(draw_truth(settings))

    def generate(self) -> pd.DataFrame:
        """The series: column `date` (hourly from a Monday's midnight) and `x1`, `x2`, ..."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        values = self.law.generate(settings.rows, generator).numpy()
        frame = pd.DataFrame(values, columns=[f"x{i + 1}" for i in range(settings.variables)])
        frame.insert(0, "date", pd.date_range("2024-01-01", periods=settings.rows, freq="1h"))
        return frame


def simulate(settings: Simulation, folder: Path) -> list[str]:
    """Write a simulated table and its `truth.json` into a raw folder; returns the file names."""
    simulator = Simulator(settings)
    simulator.generate().to_csv(folder / "simulated.csv", index=False, lineterminator="\n")
    simulator.law.save(folder)
    return ["simulated.csv", TRUTH]


def unit_noise(
    shape: torch.Size, degrees_of_freedom: float | None, generator: torch.Generator | None
) -> Tensor:
    """Independent draws of unit variance: Gaussian, or Student-t by Bailey's polar method.

    Bailey, "Polar generation of random variates with the t-distribution" (1994): exact, and,
    unlike torch.distributions, it takes a generator.
    """
    if degrees_of_freedom is None:
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    nu = degrees_of_freedom
    # 1 - U lies in (0, 1], so the radius is finite.
    radius = 1 - torch.rand(shape, generator=generator, dtype=torch.float64)
    angle = 2 * torch.pi * torch.rand(shape, generator=generator, dtype=torch.float64)
    student = (nu * (radius ** (-2 / nu) - 1)).sqrt() * angle.cos()
    return student * ((nu - 2) / nu) ** 0.5


def _tensor(values: list[float] | list[list[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
