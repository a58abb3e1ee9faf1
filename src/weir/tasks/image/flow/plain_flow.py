"""The plain flow of the task's first proposal, fixed: linear maps and one activation.

It knows no noise and is no score network; it is kept as the ablation that shows what activations
cost. Activations that are not onto (softplus, elu, tanh) or not increasing (swish) are mixed with
the identity, `f(x) = leak x + (1 - leak) act(x)`, and the log-determinant is what it should be.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weir.errors import UserError
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.density.univariate import bisect
from weir.tasks.image.flow.image_flow import ImageCondition, ImageFlow, ImageObjective, ImageSolver

if TYPE_CHECKING:
    from weir.tasks.image.representation.code import ImageCode
    from weir.tasks.image.settings.scoring import ImageDistill

PlainActivation = Literal["softplus", "leaky_relu", "elu", "tanh", "swish"]

LEAST_SLOPE: dict[str, float] = {
    "softplus": 0.0,
    "leaky_relu": 0.01,
    "elu": 0.0,
    "tanh": 0.0,
    "swish": -0.09984,
}
"""Lower bounds of the activations' slopes."""

LEAST_LEAK: dict[str, float] = {
    name: max(0.0, -slope / (1 - slope)) for name, slope in LEAST_SLOPE.items()
}
"""Leaks above which an activation is increasing and onto; .0908 for swish, else 0."""


class LeakyActivation(nn.Module):
    """`f(x) = leak x + (1 - leak) act(x)`, elementwise, with slope and inverse.

    Args:
        name: the activation.
        leak: share of the identity, above `LEAST_LEAK[name]` and at most 1.
    """

    def __init__(self, name: PlainActivation, leak: float) -> None:
        super().__init__()
        if not LEAST_LEAK[name] < leak <= 1:
            raise ValueError(f"leak must lie in ({LEAST_LEAK[name]:.4f}, 1] for {name}: {leak}")
        self.name, self.leak = name, leak
        self.least = leak + (1 - leak) * LEAST_SLOPE[name]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value and the log of the slope, each of x's shape."""
        value, slope = self._activation(x)
        leak = self.leak
        return leak * x + (1 - leak) * value, (leak + (1 - leak) * slope).log()

    def inverse(self, y: Tensor) -> Tensor:
        """The `x` with `f(x) = y`."""
        # All five lie within ln 2 of 0 at 0, from where the slope bounds the distance.
        reach = (y.abs() + math.log(2)) / self.least
        return bisect(lambda x: self(x)[0], y, -reach, reach)

    def _activation(self, x: Tensor) -> tuple[Tensor, Tensor]:
        match self.name:
            case "softplus":
                return functional.softplus(x), torch.sigmoid(x)
            case "leaky_relu":
                return functional.leaky_relu(x, 0.01), torch.full_like(x, 0.01).masked_fill(
                    x > 0, 1
                )
            case "elu":
                return functional.elu(x), x.clamp(max=0).exp()
            case "tanh":
                value = torch.tanh(x)
                return value, 1 - value.square()
            case _:
                gate = torch.sigmoid(x)
                return x * gate, gate * (1 + x * (1 - gate))


class ClassedLinear(nn.Module):
    """`z = L U x + b(class)` with triangular factors, whose determinant is a product.

    Args:
        size: of the vectors.
        classes: number of classes.
    """

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.randn(size, size) * 0.1 / size**0.5)
        self.upper = nn.Parameter(torch.randn(size, size) * 0.1 / size**0.5)
        self.log_diagonal = nn.Parameter(torch.zeros(size))
        self.bias = nn.Embedding(classes + 1, size)
        nn.init.zeros_(self.bias.weight)

    def _factors(self) -> tuple[Tensor, Tensor]:
        one = torch.eye(len(self.log_diagonal), device=self.log_diagonal.device)
        return self.lower.tril(-1) + one, self.upper.triu(1) + self.log_diagonal.exp().diag()

    def forward(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """`z` of x's shape, `[item, size]`, and the log-determinant, `[]`."""
        lower, upper = self._factors()
        return x @ upper.T @ lower.T + self.bias(label), self.log_diagonal.sum()

    def inverse(self, z: Tensor, label: Tensor) -> Tensor:
        """`[item, size]`."""
        lower, upper = self._factors()
        moved = (z - self.bias(label)).T
        half = torch.linalg.solve_triangular(lower, moved, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, half, upper=True).T


class PlainFlow(ImageFlow):
    """Linear maps with one activation between them, to a standard normal; no noise levels.

    It has a density and draws from it in one pass; it is no field, so that it cannot be a teacher.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        activation: between the linear maps.
        leak: share of the identity in it.
        layers: activations; there is one linear map more.
        conditional: tell the linear maps the class.
        settings: those of `ImageFlow`.
    """

    def __init__(
        self,
        code: ImageCode,
        priors: Any,
        *,
        activation: PlainActivation = "leaky_relu",
        leak: float = 0.2,
        layers: int = 3,
        conditional: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(code, priors, **{**settings, "solver": "direct", "steps": 1})
        self.size = math.prod(self.event)
        self.conditional = conditional
        self.linear = nn.ModuleList(
            ClassedLinear(self.size, self.classes) for _ in range(layers + 1)
        )
        self.activation = LeakyActivation(activation, leak)
        self.has_density = code.log_volume is not None

    def as_student(self, settings: ImageDistill | None = None) -> ImageFlow:
        """There is none.

        Raises:
            UserError: always.
        """
        raise _no_field()

    def velocity(
        self, x: Tensor, t: Tensor, condition: ImageCondition, step: Tensor | None = None
    ) -> Tensor:
        """There is none.

        Raises:
            UserError: always.
        """
        raise _no_field()

    def log_density(self, u: Tensor, label: Tensor) -> Tensor:
        """Log density `[item]` of events of unit variance, `[item, *event]`."""
        label = label if self.conditional else torch.full_like(label, self.classes)
        z, total = u.flatten(1), u.new_zeros(len(u))
        for i, linear in enumerate(self.linear):
            z, log_slope = linear(z, label)
            total = total + log_slope
            if i + 1 < len(self.linear):
                z, log_slopes = self.activation(z)
                total = total + log_slopes.sum(1)
        return total - 0.5 * z.square().sum(1) - 0.5 * self.size * math.log(2 * math.pi)

    @torch.no_grad()
    def log_prob(self, unit: Tensor, label: Tensor | None = None) -> Tensor:
        """See `ImageModel.log_prob`.

        Raises:
            UserError: the first stage is not one to one.
        """
        if self.code.log_volume is None:
            raise UserError("stage2: on this stage1 a density of latents is none of pictures")
        u = self.code.encode(unit) / SIGMA_DATA
        if label is None:
            log = torch.logsumexp(self._by_class(u) + self.priors.log(), 1)
        else:
            log = self.log_density(u, label)
        return log + self.size * (self.code.log_volume - math.log(SIGMA_DATA))

    @torch.no_grad()
    def classify(self, unit: Tensor) -> Tensor:
        """Log of the posterior of each class, `[item, class]`, of pictures `[item, *shape]`."""
        u = self.code.encode(unit) / SIGMA_DATA
        return (self._by_class(u) + self.priors.log()).log_softmax(1)

    def direct(
        self, condition: ImageCondition, draws: int, steps: int, generator: Any = None
    ) -> Tensor:
        """Events `[condition, draw, *event]` drawn in one pass, whatever the steps."""
        label = condition.label.repeat_interleave(draws)
        label = label if self.conditional else torch.full_like(label, self.classes)
        z = torch.randn(len(label), self.size, generator=generator, device=label.device)
        for i, linear in reversed(list(enumerate(self.linear))):
            z = linear.inverse(self.activation.inverse(z) if i + 1 < len(self.linear) else z, label)
        return z.reshape(-1, draws, *self.event)

    def generate(
        self, condition: ImageCondition, draws: int, *, generator: Any = None, **how: Any
    ) -> Tensor:
        """As `direct`: there is no other way, whatever solver is asked for."""
        return self.direct(condition, draws, 1, generator)

    def nfe(self, steps: int | None = None, solver: ImageSolver | None = None) -> int:
        """One pass per sample."""
        return 1

    def _by_class(self, u: Tensor) -> Tensor:
        labels = (torch.full((len(u),), c, device=u.device) for c in range(self.classes))
        return torch.stack([self.log_density(u, label) for label in labels], 1)


def _no_field() -> UserError:
    return UserError(
        "stage2: a model plain has no velocity to follow or to distil; use flow, denoiser or "
        "matching"
    )


class PlainObjective(ImageObjective):
    """Negative log-likelihood.

    Args:
        model: the flow.
    """

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """`loss`, nats per dimension of events of unit variance."""
        model = cast("PlainFlow", self.model)
        return {"loss": -model.log_density(event / SIGMA_DATA, label).mean() / model.size}
