"""The base of all generative models of pictures and of their objectives.

It holds classes, the first stage and guidance. `ImageModel` is what evaluation asks of anything
that makes pictures: a model, a student or a baseline.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from weir.errors import UserError
from weir.flows.model import FlowModel
from weir.flows.solvers import Solution
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.image.data.load import Images
    from weir.tasks.image.representation.code import ImageCode
    from weir.tasks.image.settings.scoring import ImageDistill

    pass


ImageSolver = Literal["heun", "euler", "ancestral", "direct", "midpoint", "dopri5"]
"""How samples are made: along the noise levels of EDM (`heun`, `euler`, `ancestral`), by the
density's own draw (`direct`), or in equal or adaptive steps of time (`midpoint`, `dopri5`)."""


class ImageModel(Protocol):
    """A law of pictures (or of a toy's points) given their class; an `nn.Module`.

    Attributes:
        code: between unit and event scale; None for a baseline that lives on the unit scale.
        guidable: whether `guidance` may be other than 0.
        guidance: weight of classifier-free guidance in `draw`; 0 for none. Set by the evaluation.
        direct_sigma: noise at which `direct` draws of several steps begin, event units.
            Set by the evaluation.
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


class ImageCondition(NamedTuple):
    """What the flow of a picture depends on.

    Attributes:
        label: `[condition]` int64 class; the number of classes stands for no class.
    """

    label: Tensor


class ImageFlow(FlowModel):
    """A flow of pictures given their class, from white noise (t = 0) to events of unit variance.

    The flow's own events, at t = 1, are those of the code divided by `SIGMA_DATA`. The code is part
    of the model, so that one folder holds all that sampling needs; it is frozen.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        drop_class: chance of hiding the class in training, which classifier-free guidance needs.
        guidance: weight w of `F(c) + w (F(c) - F(no class))` in sampling (Ho & Salimans 2022,
            "Classifier-Free Diffusion Guidance"); 0 for none.
        steps: default solver steps.
        solver: default solver.
    """

    has_density: bool = False
    has_denoiser: bool = False
    direct_sigma: float = 0.1
    solver: ImageSolver
    priors: Tensor

    def __init__(
        self,
        code: ImageCode,
        priors: Sequence[float],
        *,
        drop_class: float = 0.0,
        guidance: float = 0.0,
        steps: int = 18,
        solver: ImageSolver = "heun",
    ) -> None:
        super().__init__()
        self.code = code.requires_grad_(False)
        self.event = code.event
        self.classes = len(priors)
        self.register_buffer("priors", torch.tensor(list(priors)), persistent=False)
        self.drop_class = drop_class
        self.guidance = guidance
        self.steps, self.solver = steps, solver
        self.train(self.training)

    def train(self, mode: bool = True) -> ImageFlow:
        """As usual, but the frozen first stage stays in evaluation mode."""
        super().train(mode)
        self.code.eval()
        return self

    @property
    def guidable(self) -> bool:
        """Whether the model also knows no class; a student has its teacher's guidance."""
        return self.drop_class > 0 and not self.student

    def as_student(self, settings: ImageDistill | None = None) -> ImageFlow:
        """A student to be trained, with the same first stage.

        By default a copy with a step-size input that does nothing yet; guidance is what it learns
        from.

        Args:
            settings: of the node, which asks for no network of its own.

        Raises:
            UserError: the student's network is the model's.
        """
        if settings is not None and settings.student is not None:
            raise UserError(
                "student is for a teacher of model flow; other students have their teacher's "
                "network, so remove it"
            )
        student = copy.deepcopy(self)
        student.network.add_step()
        student.student, student.guidance, student.has_denoiser = True, 0.0, False
        return student.train(self.training)

    def condition(self, batch: Images) -> ImageCondition:
        """The classes of a batch."""
        return ImageCondition(batch.label)

    def colour(self, white: Tensor, condition: ImageCondition) -> Tensor:
        """White noise as it is."""
        return white

    def events(self, batch: Images) -> Tensor:
        """Events `[batch, *event]` of a batch's pictures, dequantised again."""
        with torch.no_grad():
            return self.code.encode(self.code.scale.dequantise(batch.raw))

    def decode(self, x: Tensor, condition: ImageCondition) -> Tensor:
        """Pictures `[condition, draw, *shape]` on the unit scale, not clipped."""
        flat = self.code.decode(x.flatten(0, 1) * SIGMA_DATA)
        return flat.unflatten(0, x.shape[:2])

    def shown(self, label: Tensor) -> Tensor:
        """Labels as training shows them: some hidden."""
        if not self.training or self.drop_class == 0:
            return label
        hidden = torch.rand(label.shape, device=label.device) < self.drop_class
        return label.masked_fill(hidden, self.classes)

    def unlabelled(self, like: Tensor) -> Tensor:
        """The label of no class, `[item]`, for as many items as `like` has.

        Raises:
            UserError: the model was never trained without the class.
        """
        if self.drop_class == 0:
            raise UserError(
                "stage2: this model always knew the class; train it with drop_class above 0 to "
                "guide it or to use it without a class"
            )
        return torch.full((len(like),), self.classes, device=like.device)

    def generate(
        self,
        condition: ImageCondition,
        draws: int,
        *,
        steps: int | None = None,
        solver: ImageSolver | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Fresh events `[condition, draw, *event]` of unit variance."""
        solver = self.solver if solver is None else solver
        if solver == "direct" and not self.student:
            return self.direct(condition, draws, 1 if steps is None else steps, generator)
        return super().generate(condition, draws, steps=steps, solver=solver, generator=generator)

    def transport(
        self, x: Tensor, condition: ImageCondition, *, solver: ImageSolver | None = None, **how: Any
    ) -> Solution:
        """As usual.

        Raises:
            UserError: the solver is one of EDM alone.
        """
        if solver == "ancestral" and not self.student:
            raise UserError(
                "evaluate: solver ancestral is for models under EDM (flow, denoiser); choose heun, "
                "euler or midpoint"
            )
        return super().transport(x, condition, solver=solver, **how)

    def direct(
        self, condition: ImageCondition, draws: int, steps: int, generator: Any = None
    ) -> Tensor:
        """Events drawn from the model's own density.

        Raises:
            UserError: the model has none.
        """
        raise UserError(
            "evaluate: solver direct draws from a model's density, which this one has not; choose "
            "heun, euler or ancestral"
        )


def flat(
    x: Tensor, t: Tensor, condition: ImageCondition, step: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Draws of conditions as items: `x`, `t`, `label` and `step` with one leading axis.

    Args:
        x: `[condition, draw, *event]`.
        t: `[]`, `[condition]` or `[condition, draw]`.
        condition: of the conditions.
        step: of t's shape, or None.
    """
    lead = x.shape[:2]

    def spread(value: Tensor) -> Tensor:
        value = value[:, None] if value.ndim == 1 else value
        return value.expand(lead).reshape(-1)

    label = condition.label[:, None].expand(lead).reshape(-1)
    return x.flatten(0, 1), spread(t), label, None if step is None else spread(step)


class ImageObjective(Objective):
    """A batch of pictures as events and shown labels; subclasses implement `losses`.

    Args:
        model: the flow to train.
    """

    def __init__(self, model: ImageFlow) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, batch: Images, progress: float) -> dict[str, Tensor]:
        """Means over items, among them `loss`."""
        return self.losses(self.model.events(batch), self.model.shown(batch.label))

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Losses of events `[item, *event]` with labels `[item]`."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay; biases, norms and the embeddings of classes do not."""
        spared = {
            id(p) for m in self.modules() if isinstance(m, nn.Embedding) for p in m.parameters()
        }
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim >= 2 and id(p) not in spared]
        free = [p for p in trained if p.ndim < 2 or id(p) in spared]
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
