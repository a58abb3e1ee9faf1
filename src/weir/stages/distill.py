"""Stage `distill`: a student that jumps from noise to sample, trained on what a teacher made.

    weir distill river-onestep

Fills `results/distill/<run>/` with the student's model folder.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from weir.artifacts.model_folder import read_card
from weir.artifacts.teacher_folder import load_pairs
from weir.distillation.consistency import ConsistencyObjective
from weir.distillation.distributional import EnergyObjective, MatchMeanObjective
from weir.distillation.meanflow import MeanFlowObjective
from weir.distillation.objective import StudentObjective
from weir.distillation.pairs import PairSet
from weir.distillation.regression import EndpointObjective, RegressionObjective
from weir.errors import UserError
from weir.flows.model import FlowModel
from weir.stages.restore import restore
from weir.stages.train import card_of, train_and_save
from weir.tasks import part

if TYPE_CHECKING:
    from weir.artifacts.stage_paths import StagePaths
    from weir.settings.nodes import Distill
    from weir.tracking.tracker import Tracker


def run(
    config: Distill, paths: StagePaths, tracker: Tracker, *, name: str, task: str, seed: int
) -> None:
    """Train a copy of the teacher with a step-size input; select it on held-out conditions."""
    folder = paths.inputs["upstream"]
    data = part(task, "data.load").load(paths.inputs["data"])
    teacher = restore(folder)
    queries = teacher.queries(data.split("train"))
    pairs, settings = load_pairs(paths.inputs["teacher"], queries)
    if config.draws > pairs.output.shape[1]:
        raise UserError(
            f"distill.{name}.draws: is {config.draws}, but the teacher stored "
            f"{pairs.output.shape[1]}; lower it or raise teacher.{config.teacher}.draws"
        )
    if needs_knots(config) and len(pairs.times) < 3:
        raise UserError(
            f"distill.{name}.method: {config.method} needs stored knots; set "
            f"teacher.{config.teacher}.knots"
        )
    torch.manual_seed(seed)
    student = teacher.as_student(config)
    training, held_out = divide(pairs, config)
    card = card_of(
        "distill",
        name,
        task,
        seed,
        config,
        data,
        upstream=asdict(read_card(folder)),
        chain={"teacher": settings},
    )
    train_and_save(
        objective(config, student, teacher),
        (training, held_out),
        config.training,
        card,
        paths,
        tracker,
    )


def divide(pairs: PairSet, config: Distill) -> tuple[PairSet, PairSet]:
    """Training pairs, and those of the last conditions, on which the student is selected."""
    count = max(1, round(len(pairs) * config.held_out))
    cut = len(pairs) - count

    def some(part: slice, draws: int | None) -> PairSet:
        return PairSet(
            pairs.data,
            pairs.items[part],
            pairs.output[part],
            pairs.knots[part],
            pairs.times,
            pairs.seed,
            draws,
        )

    return some(slice(0, cut), config.draws), some(slice(cut, None), None)


def needs_knots(config: Distill) -> bool:
    """Whether the method looks at points between noise and output."""
    stored = config.method == "consistency" and config.target == "teacher"
    return stored or config.method == "endpoint"


def objective(config: Distill, student: FlowModel, teacher: FlowModel) -> StudentObjective:
    """The node's distillation objective."""
    robust: Any = {"huber": config.huber, "energy_weight": config.energy_weight}
    match config.method:
        case "regression":
            return RegressionObjective(student, **robust)
        case "endpoint":
            return EndpointObjective(student, **robust)
        case "meanflow":
            return MeanFlowObjective(student, teacher, **robust)
        case "consistency":
            return ConsistencyObjective(student, target=config.target, **robust)
        case "energy":
            return EnergyObjective(student)
        case _:
            return MatchMeanObjective(student)
