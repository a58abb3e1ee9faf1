"""Scores of a forecaster over every window of a part, in one pass with bounded memory.

A forecaster is anything that answers as `Forecaster` says: a model, a student or a baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor

from weir.errors import WeirError
from weir.metrics.latency import clock, latency_ms
from weir.tasks.forecast.data.schema import Scaler
from weir.tasks.forecast.data.windows import WindowSet
from weir.tasks.forecast.evaluation.examples import Examples
from weir.tasks.forecast.evaluation.tally import Tally


class Forecaster(Protocol):
    """A probabilistic forecaster of many variables, on the standardised scale; an `nn.Module`."""

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The single best forecast `[batch, horizon, variable]`.

        Args:
            history: `[batch, lookback, variable]`.
            start: `[batch]` int64, absolute row at which the future begins.
        """
        ...

    def sample(
        self,
        history: Tensor,
        start: Tensor,
        samples: int,
        *,
        steps: int | None = None,
        solver: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws of the future, `[batch, samples, horizon, variable]`.

        Args:
            history: `[batch, lookback, variable]`.
            start: `[batch]` int64, absolute row at which the future begins.
            samples: draws of each item.
            steps: solver or student steps, for models that have them.
            solver: solver, for models that have one.
            generator: source of randomness, on the device of `history`.
        """
        ...

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """Network calls per sample; 0 for a forecaster without a network."""
        ...


CHUNK = 2**22
"""Sampled values scored at once: about 200 MiB at work."""


@dataclass(frozen=True)
class ForecastScores:
    """What an evaluation found.

    Attributes:
        scores: means over the windows; every key is described in `definitions.DEFINITIONS`.
        windows: windows scored.
        samples: draws of each window.
        nfe: network calls per sample.
        latency_ms: time of one window with all its samples, median of a few calls, milliseconds.
        seconds: time spent in sampling all windows.
        tables: data frames on the standardised scale.
            `horizon`: mean of each score by `step` (from 1);
            `variables`: by `variable`;
            `windows`: by window, `start` is the row at which its future begins;
            `pit`: `bin`, `share` of the truths in it (all alike if calibrated);
            `reliability`: `horizon` (range of steps), `nominal` and `observed` coverage of
            central intervals;
            `fans`: `window`, `variable`, `step` (up to 0 in the history), `kind` (`history`,
            `future`), `truth`, `point`, `q05`, `q25`, `q50`, `q75`, `q95` and paths `p0`, ...
    """

    scores: dict[str, float]
    windows: int
    samples: int
    nfe: int
    latency_ms: float
    seconds: float
    tables: dict[str, pd.DataFrame]


@torch.no_grad()
def evaluate(
    model: Forecaster,
    data: WindowSet,
    *,
    scaler: Scaler,
    columns: Sequence[str],
    samples: int = 100,
    steps: int | None = None,
    solver: str | None = None,
    seed: int = 0,
    day: int = 24,
    examples: int = 6,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> ForecastScores:
    """Score a forecaster on all windows of `data`.

    Args:
        model: forecaster in evaluation mode, on the device of `data`.
        data: windows, all of which are scored.
        scaler: takes standardised values to the raw scale.
        columns: names of the variables.
        samples: draws of each window, at least 2.
        steps: solver or student steps; None takes the model's own.
        solver: solver; None takes the model's own.
        seed: of the draws.
        day: rows of a day, for the score of day means.
        examples: windows, evenly spaced, whose fans are kept.
        chunk: sampled values held at once.
        progress: called with (windows done, windows in all).

    Raises:
        WeirError: a sample or a point forecast is NaN or infinite.
        ValueError: fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"scores need at least two samples, got {samples}")
    device = data.values.device
    generator = torch.Generator(device).manual_seed(seed)
    windows, variables = len(data), len(columns)
    together = max(1, chunk // (samples * data.horizon * variables))
    tally = Tally(data.horizon, variables, samples, scaler, day, seed, device)
    kept = Examples(windows, examples, columns)
    seconds = 0.0
    for items in torch.arange(windows).split(together):
        batch = data.batch(items)
        begun = clock(device)
        drawn = model.sample(
            batch.history, batch.start, samples, steps=steps, solver=solver, generator=generator
        )
        seconds += clock(device) - begun
        point = model.point(batch.history, batch.start)
        _check_finite(drawn, point, batch.start)
        tally.add(items, batch, drawn, point)
        kept.add(items, batch, drawn, point)
        if progress is not None:
            progress(int(items[-1]) + 1, windows)
    return ForecastScores(
        scores=tally.scores(),
        windows=windows,
        samples=samples,
        nfe=model.nfe(steps, solver),
        latency_ms=_latency(model, data, samples, steps, solver),
        seconds=seconds,
        tables=tally.tables(columns) | {"fans": kept.table()},
    )


def _check_finite(drawn: Tensor, point: Tensor, start: Tensor) -> None:
    # A sum is NaN or infinite if any term is, and costs one pass instead of three.
    for name, tensor in (("samples", drawn), ("point forecast", point)):
        bad = ~torch.isfinite(tensor.flatten(1).double().sum(dim=1))
        if bad.any():
            row = int(start[bad][0])
            raise WeirError(
                f"evaluation: the {name} of {int(bad.sum())} windows are NaN or infinite, first "
                f"of the one whose future begins at row {row}; the model has diverged"
            )


def _latency(
    model: Forecaster, data: WindowSet, samples: int, steps: int | None, solver: str | None
) -> float:
    device = data.values.device
    one = data.batch(torch.zeros(1, dtype=torch.int64))
    generator = torch.Generator(device).manual_seed(0)

    def call() -> None:
        model.sample(
            one.history, one.start, samples, steps=steps, solver=solver, generator=generator
        )

    return latency_ms(call, device)
