"""Stage 2 of the image task: which generative model a node asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weir.errors import UserError
from weir.flows.edm import NoiseRange
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.density.coarse_law import CoarseToFine
from weir.tasks.image.density.density import Density
from weir.tasks.image.density.mixture_law import Cells, frequent_levels
from weir.tasks.image.flow.denoiser import Denoiser, DenoiserObjective
from weir.tasks.image.flow.matching import MatchingFlow, MatchingObjective
from weir.tasks.image.flow.plain_flow import PlainFlow, PlainObjective
from weir.tasks.image.flow.score_flow import ScoreFlow, ScoreObjective
from weir.tasks.image.representation.code import PixelCode

if TYPE_CHECKING:
    from weir.tasks.image.data.load import ImageSet
    from weir.tasks.image.data.schema import Schema
    from weir.tasks.image.flow.image_flow import ImageFlow, ImageObjective
    from weir.tasks.image.representation.code import ImageCode
    from weir.tasks.image.settings.models import ImageStage2


STARTED_WITH = 2000
"""Most items by which a density is told where to begin."""


def build(config: ImageStage2, schema: Schema, code: ImageCode) -> ImageFlow:
    """An untrained model of the kind and shape that a node states, on its first stage."""
    priors = schema.priors
    classes: dict[str, Any] = {"drop_class": config.drop_class, "guidance": config.guidance}
    noise = NoiseRange(**config.noise.model_dump())
    match config.model:
        case "flow":
            settings = config.density.model_dump(exclude={"coarse"})
            density: Any = Density(code.event, len(priors), noise=noise, **settings)
            if (coarse := config.density.coarse) is not None:
                density = CoarseToFine(density, priors, **coarse.model_dump())
            return ScoreFlow(code, priors, density, noise=noise, **classes)
        case "denoiser":
            network = config.network.model_dump()
            return Denoiser(code, priors, network, noise=noise, **classes)
        case "matching":
            return MatchingFlow(code, priors, config.network.model_dump(), **classes)
        case "plain":
            return PlainFlow(code, priors, **config.plain.model_dump())


def prepare(model: ImageFlow, config: ImageStage2, data: ImageSet, code: ImageCode) -> None:
    """Put in the trained first stage, set the unit of its events, and begin at the data."""
    model.code.load_state_dict(code.state_dict())
    model.code.fit(data)
    match config.model:
        case "flow":
            _begin_at_data(model.density, model, config, data, code)


def _begin_at_data(
    density: Any, model: ImageFlow, config: ImageStage2, data: ImageSet, code: ImageCode
) -> None:
    if isinstance(density, CoarseToFine):
        parts = torch.arange(len(data)).split(STARTED_WITH)
        events = torch.cat([model.events(data.batch(some)).flatten(1) for some in parts])
        density.fit(events, data.label, code.scale.least_variance)
        density = density.fine
    if config.density.convolved:
        some = torch.arange(len(data))[:: max(1, len(data) // STARTED_WITH)][:STARTED_WITH]
        batch = data.batch(some)
        events = model.events(batch).flatten(1) / SIGMA_DATA
        cells = _cells(batch.raw, config.density.levels, code) if config.density.levels else None
        density.start_at(events, cells)


def _cells(raw: Tensor, count: int, code: ImageCode) -> Cells:
    """The `count` most frequent grey levels as cells of events of unit variance.

    Raises:
        UserError: items are points, not pictures, or have fewer levels.
    """
    if not isinstance(code, PixelCode) or code.scale.levels is None:
        raise UserError("density.levels: points have no grey levels; leave it out")
    levels = frequent_levels(raw, count)
    if len(levels) < count:
        raise UserError(
            f"density.levels: the training pictures have {len(levels)} grey levels, fewer than "
            f"{count}; lower it"
        )
    middle = code.encode(code.scale.unit(levels)) / SIGMA_DATA
    return Cells(middle, torch.tensor(1 / (code.scale.levels * code.scale.spread)))


def objective(config: ImageStage2, model: ImageFlow) -> ImageObjective:
    """What stage 2 minimises."""
    match config.model:
        case "flow":
            return ScoreObjective(model, **config.weights.model_dump())
        case "denoiser":
            return DenoiserObjective(model, draws=config.draws)
        case "matching":
            return MatchingObjective(model, times=config.time_sampling, draws=config.draws)
        case "plain":
            return PlainObjective(model)
