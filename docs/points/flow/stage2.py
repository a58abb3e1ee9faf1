"""Stage 2: a flow of standardised points, trained by flow matching."""

from typing import Any

import torch
from torch import Tensor, nn

from weir.flows.model import FlowModel
from weir.flows.paths import Path, expand_time, sample_times
from weir.tasks.points.data.load import Points
from weir.tasks.points.representation.stage1 import Standardiser
from weir.training.objective import Objective


class PointFlow(FlowModel):
    """A velocity of place, time and, in a student, the size of the step."""

    event = (1,)
    path = Path("linear")

    def __init__(self, code: Standardiser, width: int) -> None:
        super().__init__()
        self.code = code
        inner = [nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)]
        self.network = nn.Sequential(nn.Linear(3, width), *inner)

    def velocity(self, x: Tensor, t: Tensor, condition: Any, step: Tensor | None = None) -> Tensor:
        times = (t, torch.zeros_like(t) if step is None else step)
        spread = [expand_time(time, x).expand_as(x) for time in times]
        return self.network(torch.cat([x, *spread], -1))

    def decode(self, x: Tensor, condition: Any) -> Tensor:
        return self.code.decode(x)


class Matching(Objective):
    """The squared error of the velocity."""

    def forward(self, batch: Points, progress: float) -> dict[str, Tensor]:
        data, path = self.model.code.encode(batch.value)[:, None], self.model.path
        noise, t = torch.randn_like(data), sample_times((len(data),), device=data.device)
        made = self.model.velocity(path.interpolate(noise, data, t), t, batch)
        return {"loss": nn.functional.mse_loss(made, path.target(noise, data, t))}


def build(config: Any, schema: Any, below: Standardiser) -> PointFlow:
    return PointFlow(below, config.width)


def prepare(model: PointFlow, config: Any, data: Any, below: Standardiser) -> None:
    model.code.load_state_dict(below.state_dict())


def objective(config: Any, model: PointFlow) -> Matching:
    return Matching(model)
