"""Evaluation of a model of cells by `weir evaluate`: scores, definitions, tables and cells."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from weir.artifacts.evaluation import Scored
from weir.errors import UserError
from weir.progress import Progress
from weir.tasks.perturb.baselines.ceilings import Oracle, SplitHalf
from weir.tasks.perturb.evaluation.definitions import HEADLINE, defined, ordered
from weir.tasks.perturb.evaluation.doses import dose_curves
from weir.tasks.perturb.evaluation.generation import Made, TwinError, generate, measured, simulated
from weir.tasks.perturb.evaluation.scores import (
    POINTS,
    Examiner,
    Question,
    Summary,
    pool,
    score,
    summarise,
)
from weir.tasks.perturb.evaluation.tables import Export, Tables, curve
from weir.tasks.perturb.flow.responder import estimand_of
from weir.tasks.perturb.simulation.law import Law

if TYPE_CHECKING:
    from weir.tasks.perturb.data.load import PerturbData, Response
    from weir.tasks.perturb.settings.scoring import PerturbEvaluate

CURVE = ("pearson_delta", "energy_distance", "mmd")
"""Scores of the curve of quality against cost."""
DOSE_CELLS = 200
"""Cells generated for each point of a dose curve."""


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: PerturbData,
    config: PerturbEvaluate,
    *,
    seed: int,
    label: str,
) -> Scored:
    """Score `model` on every response of the split.

    Args:
        model: a `Responder`, or a stage-1 model, which is scored by its latents.
        data: on the device of the model.
        config: the evaluate node.
        seed: of the generated cells.
        label: names the progress line.

    Raises:
        UserError: the split has no perturbed cells.
        WeirError: a generated cell is NaN or infinite.
    """
    if config.model.startswith("stage1/"):
        # With scikit-learn, which takes seconds to import.
        from weir.tasks.perturb.evaluation.latents import evaluate_latents

        return evaluate_latents(model, data, config, seed=seed)
    return _Evaluation(model, data, config, seed).run(label)


class _Evaluation:
    """One pass over the responses of a split, a response at a time."""

    def __init__(
        self, model: nn.Module, data: PerturbData, config: PerturbEvaluate, seed: int
    ) -> None:
        self.model, self.data, self.config, self.seed = model, data, config, seed
        self.estimand = estimand_of(model, config.estimand)
        self.steps = [config.steps, *(config.quality_steps if config.stepped else [])]

    def run(self, label: str) -> Scored:
        """Score, and describe what was found."""
        data, config = self.data, self.config
        responses = self._responses()
        about = {
            "model": config.model,
            "estimand": self.estimand,
            "seed": self.seed,
            "dataset": data.name,
        }
        export = Export(data, len(responses), about)
        tables = Tables(data.schema, len(responses), config.embedding, self.seed)
        examiner = Examiner(data, config.split)
        scores: list[list[dict[str, float]]] = [[] for _ in self.steps]
        seconds: list[list[float]] = [[] for _ in self.steps]
        questions = []
        edits = data.schema.simulated and self.estimand == "edit"
        twins = TwinError(data, self.law) if edits else None
        progress = Progress(label, len(responses), noun="response")
        for number, response in enumerate(responses):
            question, answers = self._ask(examiner, response, number)
            for k, (made, summary) in enumerate(answers):
                scores[k].append(score(question, summary))
                seconds[k].append(made.seconds)
                if k == 0:
                    if twins:
                        scores[0][-1] |= twins.add(made, self._target(response.condition))
                    tables.add(question, summary, scores[0][-1])
                    export.add(
                        data.schema.conditions[response.condition].name,
                        data.schema.contexts[response.context].name,
                        made,
                        self._target(response.condition),
                    )
            questions.append(_without_cells(question))
            progress.update(number + 1)
        progress.close()
        frames = tables.frames()
        frames["doses"] = self._doses(examiner, questions)
        points = [self._point(*each) for each in zip(self.steps, scores, seconds, strict=True)]
        metrics = pool(scores[0])
        if twins:
            metrics |= twins.total()
        return Scored(
            headline=HEADLINE,
            metrics=ordered(metrics),
            definitions=defined(metrics),
            protocol=self._protocol(responses),
            nfe=points[0]["nfe"],
            latency_ms=points[0]["latency_ms"],
            seconds=points[0]["seconds"],
            curve=curve(frames["genes"]),
            quality_curve=sorted(points, key=lambda p: p["nfe"]) if self.config.stepped else [],
            tables={name: frame for name, frame in frames.items() if len(frame)},
            files={"cells.h5ad": export.write},
        )

    def _ask(
        self, examiner: Examiner, response: Response, number: int
    ) -> tuple[Question, list[tuple[Made, Summary]]]:
        """A response's question, and the model's answer with each number of steps."""
        data = self.data
        if isinstance(self.model, SplitHalf):
            half, rest = self.model.halve(response.truth, self.seed + number)
            made = measured(half, data.schema.scale)
            return examiner.question(response, rest), [(made, self._summary(made))]
        answers = []
        for steps in self.steps:
            made = self._make(response, self._target(response.condition), steps, number)
            answers.append((made, self._summary(made)))
        return examiner.question(response), answers

    def _make(
        self,
        response: Response,
        target: Tensor,
        steps: int,
        number: int,
        samples: int | None = None,
    ) -> Made:
        """Cells of the model in a response's context."""
        count = samples or self.config.samples
        device = self.data.table.library.device
        # Of its own for each response, so that one's cells do not depend on the others.
        generator = torch.Generator(device).manual_seed(1_000_003 * self.seed + number)
        if isinstance(self.model, Oracle):
            law, scale = self.law, self.data.schema.scale
            return simulated(self.model, law, response.sources, target, count, generator, scale)
        return generate(
            self.model,
            response.sources,
            target,
            count,
            generator,
            steps=steps,
            solver=self.config.solver,
            estimand=self.config.estimand,
            name=response.name,
        )

    @cached_property
    def law(self) -> Law:
        """Of simulated data."""
        return Law.load(self.data.folder)

    def _summary(self, made: Made) -> Summary:
        expression = made.cells.expression
        return summarise([expression], len(expression), self.data.pca, made.origin)

    def _target(self, condition: int) -> Tensor:
        return self.data.table.condition_doses[condition]

    def _doses(self, examiner: Examiner, questions: list[Question]) -> pd.DataFrame:
        """Curves of response against dose; none for the ceiling that only has true cells."""

        def predict(question: Question, condition: int) -> Tensor:
            target = self._target(condition)
            made = self._make(question.response, target, self.steps[0], condition, DOSE_CELLS)
            return made.cells.expression.double().mean(dim=0)

        asked = [] if isinstance(self.model, SplitHalf) else questions
        known = [examiner.train, examiner.asked]
        return dose_curves(asked, self.data.schema, known, predict)

    def _responses(self) -> list[Response]:
        """What is asked: the split's responses; a ceiling of two halves needs two true cells."""
        found = self.data.responses(self.config.split)
        if isinstance(self.model, SplitHalf):
            found = [response for response in found if len(response.truth) > 1]
        if not found:
            raise UserError(
                f"evaluate: the {self.config.split} split of {self.data.name} has no perturbed "
                "cells to compare with; choose the other split, or hold out more cells"
            )
        return found

    def _protocol(self, responses: list[Response]) -> dict[str, Any]:
        schema, config = self.data.schema, self.config
        return {
            "split": config.split,
            "fold": schema.fold,
            "responses": len(responses),
            "cells": sum(len(response.truth) for response in responses),
            "samples": config.samples,
            "steps": config.steps,
            "solver": config.solver,
            "estimand": self.estimand,
            "scale": f"log1p(counts / library * {schema.scale:g})",
            "genes": len(schema.genes),
            "components": len(self.data.pca.components),
            "cells_in_distances": f"at most {POINTS} a side",
        }

    def _point(
        self, steps: int, scores: list[dict[str, float]], seconds: list[float]
    ) -> dict[str, float]:
        """One point of the curve of quality against cost."""
        pooled = pool(scores)
        return {
            "steps": steps,
            "nfe": self.model.nfe(steps, self.config.solver),
            "seconds": sum(seconds),
            "latency_ms": 1000 * sorted(seconds)[len(seconds) // 2],
            **{name: pooled[name] for name in CURVE if name in pooled},
        }


def _without_cells(question: Question) -> Question:
    """A question without its cells, of which there may be many."""
    few = {
        name: summary._replace(points=summary.points[:0], shown=summary.shown[:0])
        for name, summary in (("truth", question.truth), ("control", question.control))
    }
    return replace(question, **few)
