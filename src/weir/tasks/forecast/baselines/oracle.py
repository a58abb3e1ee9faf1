"""The simulator's own law: what no forecaster can beat."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from weir.tasks.forecast.data.schema import Scaler
from weir.tasks.forecast.simulation.simulate import WEEK, Law, Truth


class Oracle(nn.Module):
    """Draws from the exact conditional law of a simulated series.

    The law's parameters are buffers, so that the model folder is whole without the simulator's.

    Args:
        scaler: between the standardised and the raw scale.
        horizon: steps to forecast.
    """

    def __init__(self, scaler: Scaler, horizon: int) -> None:
        super().__init__()
        self.scaler, self.horizon = scaler, horizon
        for name, value in asdict(_blank(len(scaler.mean))).items():
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float64))

    def fit(self, law: Law) -> Oracle:
        """Take the law of a simulated series."""
        for name, value in asdict(law.truth).items():
            # No degrees of freedom stand for a normal law.
            value = float("inf") if value is None else value
            getattr(self, name).copy_(torch.as_tensor(value, dtype=torch.float64))
        return self

    def law(self) -> Law:
        """The law, as the simulator states it."""
        stated: dict[str, Any] = {name: value.tolist() for name, value in self.named_buffers()}
        if stated["degrees_of_freedom"] == float("inf"):
            stated["degrees_of_freedom"] = None
        return Law(Truth(**stated | {"jump_hour": int(stated["jump_hour"])}))

    def point(self, history: Tensor, start: Tensor) -> Tensor:
        """The exact conditional mean, `[batch, horizon, variable]`."""
        raw = self.scaler.restore(history.double()).cpu()
        mean = self.law().oracle_mean(raw, start.cpu(), self.horizon)
        return self.scaler.standardise(mean).to(history)

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
        """Draws `[batch, samples, horizon, variable]`; see `Forecaster.sample`."""
        raw = self.scaler.restore(history.double()).cpu()
        if generator is not None and generator.device.type != "cpu":
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            generator = torch.Generator().manual_seed(int(seed))
        drawn = self.law().oracle_sample(raw, start.cpu(), samples, self.horizon, generator)
        return self.scaler.standardise(drawn).to(history)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """No network is called."""
        return 0


def _blank(variables: int) -> Truth:
    """A law of the right shapes, to be overwritten."""
    row = [0.0] * variables
    return Truth(
        level=row,
        unit=row,
        slope=row,
        cycle=[row] * WEEK,
        transition=[row] * variables,
        factor=[row] * variables,
        direction=row,
        degrees_of_freedom=0.0,
        busy=0.0,
        stress=0.0,
        threshold=0.0,
        jump=0.0,
        jump_probability=0.0,
        jump_hour=0,
    )
