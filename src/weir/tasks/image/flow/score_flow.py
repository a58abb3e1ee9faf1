"""A normalising flow as score network: the gradient of its log density denoises under EDM.

One model of `log p_sigma(x | class)` at all noises gives the score `grad log p_sigma`, by Tweedie's
formula the denoiser `D = x + sigma^2 grad log p_sigma`, samples by EDM's samplers, direct draws,
the data's own likelihood, and the posterior of the class. Its score is the gradient of a function,
as the true one is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from weir.errors import UserError
from weir.flows import edm
from weir.flows.paths import expand_time
from weir.tasks.image.data.scale import SIGMA_DATA
from weir.tasks.image.flow.denoiser import Denoiser
from weir.tasks.image.flow.edm_flow import EdmFlow
from weir.tasks.image.flow.image_flow import ImageCondition, ImageObjective

if TYPE_CHECKING:
    from weir.tasks.image.representation.code import ImageCode
    from weir.tasks.image.settings.scoring import ImageDistill

_TOGETHER = 400_000
"""Values of events whose densities are computed together when nothing is trained."""


class ConditionalDensity(Protocol):
    """What a score flow needs of its density; `weir.tasks.image.density.density.Density` is one.

    Attributes:
        learnt_below: noise, event scale, below which it is trained.
    """

    learnt_below: float

    def log_prob(self, u: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """Log density `[item]` of `u`, `[item, *event]`, at `sigma` and `label`, `[item]`."""
        ...

    def sample(
        self, sigma: Tensor, label: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw `[item, *event]` for each item."""
        ...


def log_prob_and_score(
    density: ConditionalDensity, u: Tensor, sigma: Tensor, label: Tensor, *, train: bool = False
) -> tuple[Tensor, Tensor]:
    """Log density `[item]` and its gradient in `u`, `[item, *event]`, also under `no_grad`.

    Args:
        density: the conditional density.
        u: `[item, *event]`; no gradient flows to it.
        sigma: `[item]`.
        label: `[item]`.
        train: keep the graph, so that losses of the score have gradients in the weights.
    """
    # In full precision whatever the loop's: a score is a difference of densities.
    with torch.enable_grad(), torch.autocast(u.device.type, enabled=False):
        u = u.detach().requires_grad_()
        log = density.log_prob(u, sigma, label)
        (score,) = torch.autograd.grad(log.sum(), u, create_graph=train)
    return (log, score) if train else (log.detach(), score)


class ScoreFlow(EdmFlow):
    """A density of noisy pictures at every noise, used as EDM's field.

    Args:
        code: the first stage.
        priors: share of each class among the training items.
        density: of `u` given noise and class; an `nn.Module`.
        settings: those of `EdmFlow`.
    """

    def __init__(
        self,
        code: ImageCode,
        priors: Any,
        density: Any,
        **settings: Any,
    ) -> None:
        super().__init__(code, priors, **settings)
        self.density = density
        self.has_density = code.log_volume is not None

    def as_student(self, settings: ImageDistill | None = None) -> Denoiser:
        """A student with a network of its own, untrained: a gradient field makes no jumps.

        Args:
            settings: of the node, which states the network.

        Raises:
            ValueError: there are none.
        """
        if settings is None:
            raise ValueError("a score flow lends no network; pass the settings of its student")
        model = Denoiser(
            self.code,
            self.priors.tolist(),
            settings.network.model_dump(),
            noise=self.noise,
            steps=self.steps,
            student=True,
        )
        return model.to(self.priors.device).train(self.training)

    def field(self, u: Tensor, sigma: Tensor, label: Tensor, step: Tensor | None = None) -> Tensor:
        """`F = (sigma / sigma_data) (u + grad log q(u))`, finite as noise grows if q tends to
        the standard normal."""
        ratio = expand_time(sigma / SIGMA_DATA, u)
        if self.training:
            _, score = log_prob_and_score(self.density, u, sigma, label, train=True)
            return ratio * (u + score)
        parts = zip(*(x.split(self._rows) for x in (u, sigma, label)), strict=True)
        score = torch.cat([log_prob_and_score(self.density, *part)[1] for part in parts])
        return ratio * (u + score)

    def denoise(self, event: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """See `ImageModel.denoise`; without a class, of the mixture over classes."""
        if label is not None:
            return super().denoise(event, sigma, label)
        classes = range(self.classes)
        log = torch.stack([self.log_density(event, sigma, self._all(event, c)) for c in classes], 1)
        share = (log + self.priors.log()).softmax(1)
        mean = torch.zeros_like(event)
        for c in classes:
            clean = super().denoise(event, sigma, self._all(event, c))
            mean = mean + expand_time(share[:, c], event) * clean
        return mean

    def log_density(self, event: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """`log p_sigma(x | class)` `[item]` of noisy events `[item, *event]`, event units."""
        total = sigma.square() + SIGMA_DATA**2
        u = event * expand_time(total.rsqrt(), event)
        parts = zip(*(x.split(self._rows) for x in (u, sigma, label)), strict=True)
        with torch.no_grad():
            log = torch.cat([self.density.log_prob(*part) for part in parts])
        return log - self._size * total.log() / 2

    def log_prob(self, unit: Tensor, label: Tensor | None = None) -> Tensor:
        """See `ImageModel.log_prob`; at no noise.

        Raises:
            UserError: the first stage is not one to one.
        """
        if label is None:
            return torch.logsumexp(self._by_class(unit) + self.priors.log(), 1)
        if self.code.log_volume is None:
            raise UserError("stage2: on this stage1 a density of latents is none of pictures")
        event = self.code.encode(unit)
        log = self.log_density(event, event.new_zeros(len(event)), label)
        return log + self._size * self.code.log_volume

    def classify(self, unit: Tensor) -> Tensor:
        """Log of the posterior of each class, `[item, class]`, of pictures `[item, *shape]`."""
        return (self._by_class(unit) + self.priors.log()).log_softmax(1)

    def direct(
        self, condition: ImageCondition, draws: int, steps: int, generator: Any = None
    ) -> Tensor:
        """Events drawn from the density: at no noise, or at some, which is then taken off.

        Args:
            condition: `[condition]`.
            draws: of each.
            steps: 1 draws at no noise; more draw at noise `direct_sigma` and take it off in one
                step fewer of Euler's method; 2 thus apply Tweedie's formula once.
            generator: source of randomness.
        """
        label = condition.label.repeat_interleave(draws)
        sigma = 0.0 if steps == 1 else self.direct_sigma
        noise = torch.full(label.shape, sigma, device=label.device)
        u = self.density.sample(noise, label, generator).unflatten(0, (-1, draws))
        if steps == 1:
            return u
        low = min(self.noise.sigma_min, sigma / 2)
        sigmas = edm.karras_sigmas(steps - 1, low, sigma, self.noise.rho).to(u)
        x = u * math.hypot(sigma, SIGMA_DATA)
        return self.follow(x, condition, sigmas, "euler").final / SIGMA_DATA

    @property
    def _size(self) -> int:
        return math.prod(self.event)

    @property
    def _rows(self) -> int:
        return max(1, _TOGETHER // self._size)

    def _by_class(self, unit: Tensor) -> Tensor:
        return torch.stack(
            [self.log_prob(unit, self._all(unit, c)) for c in range(self.classes)], 1
        )

    @staticmethod
    def _all(like: Tensor, label: int) -> Tensor:
        return torch.full((len(like),), label, device=like.device)


class ScoreObjective(ImageObjective):
    """Likelihood at all noises plus denoising score matching with EDM's weights.

    The likelihood tells the flow where the data is, the matching how its density bends: without the
    second the score is useless, without the first the density is.

    Args:
        model: the flow.
        likelihood: weight of the negative log-likelihood, in nats per dimension of `u`.
        matching: weight of the squared error of F, per dimension.
        clean: share of a batch's items, the first, that are shown without noise, to learn the
            data's own density.
    """

    def __init__(
        self,
        model: ScoreFlow,
        *,
        likelihood: float = 1.0,
        matching: float = 1.0,
        clean: float = 0.2,
    ) -> None:
        super().__init__(model)
        self.likelihood, self.matching, self.clean = likelihood, matching, clean

    def losses(self, event: Tensor, label: Tensor) -> dict[str, Tensor]:
        """`loss`, `nll` (nats per dimension of u), `matching` unless its weight is zero.

        When evaluating also `nll_clean`, that of the data without noise.
        """
        model = cast("ScoreFlow", self.model)
        noise, size = model.noise, event[0].numel()
        # The likelihood alone costs half as much as with a score that can be differentiated.
        bare = int(self.clean * len(event))
        clear, noisy = event[:bare], event[bare:]
        sigma = edm.sample_sigma(
            (len(noisy),),
            noise.p_mean,
            noise.p_std,
            below=model.density.learnt_below,
            device=event.device,
        )
        sigma = sigma.clamp(noise.sigma_min, noise.sigma_max)
        white = torch.randn_like(noisy)
        total = expand_time((sigma.square() + SIGMA_DATA**2).sqrt(), noisy)
        u = edm.noisy(noisy, sigma, white) / total
        found = {}
        if self.matching:
            log, score = log_prob_and_score(
                model.density, u, sigma, label[bare:], train=model.training
            )
            # F's target is (cos a) y / sigma_data - (sin a) n, see `EdmFlow`.
            ratio = expand_time(sigma / SIGMA_DATA, u)
            error = ratio * (u + score) - (ratio * noisy - SIGMA_DATA * white) / total
            found["matching"] = error.square().mean()
        else:
            log = model.density.log_prob(u, sigma, label[bare:])
        if bare:
            none = clear.new_zeros(bare)
            log_clear = model.density.log_prob(clear / SIGMA_DATA, none, label[:bare])
            log = torch.cat([log_clear, log])
        found["nll"] = -log.mean() / size
        found["loss"] = self.likelihood * found["nll"]
        if self.matching:
            found["loss"] = found["loss"] + self.matching * found["matching"]
        if not model.training:
            zero = event.new_zeros(len(event))
            found["nll_clean"] = -model.log_density(event, zero, label).mean() / size
        return found
