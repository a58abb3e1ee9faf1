"""What evaluation asks of anything that makes pictures: a model, a student or a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from weir.tasks.image.data import Images
    from weir.tasks.image.image_code import ImageCode

ImageSolver = Literal["heun", "euler", "ancestral", "direct", "midpoint", "dopri5"]
"""How samples are made: along the noise levels of EDM (`heun`, `euler`, `ancestral`), by the
density's own draw (`direct`), or in equal or adaptive steps of time (`midpoint`, `dopri5`)."""


class ImageModel(Protocol):
    """A law of pictures (or of a toy's points) given their class; an `nn.Module`.

    Attributes:
        code: between unit and event scale; None for a baseline that lives on the unit scale.
        guidable: whether `guidance` may be other than 0.
        guidance: weight of classifier-free guidance in `draw`; 0 for none. Set by the evaluation.
        direct_sigma: noise at which `direct` draws of several steps begin, event units. Likewise.
        has_density: whether `log_prob` answers.
        has_denoiser: whether `denoise` answers.
    """

    code: ImageCode | None
    guidance: float

    @property
    def guidable(self) -> bool: ...

    direct_sigma: float
    has_density: bool
    has_denoiser: bool

    def draw(
        self,
        batch: Images,
        draws: int,
        *,
        steps: int | None = None,
        solver: ImageSolver | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples `[batch, draw, *shape]` of the batch's classes, unit scale.

        Args:
            batch: only its labels are read.
            draws: samples of each item.
            steps: solver or student steps; the model's own number by default.
            solver: the model's own by default.
            generator: source of randomness, on the labels' device.
        """
        ...

    def nfe(self, steps: int | None = None, solver: ImageSolver | None = None) -> int:
        """Network calls per sample; 0 for a model without a network."""
        ...

    def log_prob(self, unit: Tensor, label: Tensor | None = None) -> Tensor:
        """Natural log of the density `[item]` at `unit`, `[item, *shape]`.

        With `label`, `[item]`, given the class, else of the mixture over classes by their shares in
        the training items.
        """
        ...

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """`E[y | x]`, `[item, *event]`, of noisy events `x`, `[item, *event]`.

        Args:
            event: events plus noise.
            sigma: `[item]`, standard deviation of the noise, event units.
            label: `[item]`, their classes; None where they are not known.
        """
        ...
