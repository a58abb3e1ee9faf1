"""A convolutional variational autoencoder of pictures, as first stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weir.errors import UserError
from weir.networks.unet import enlarge
from weir.tasks.image.data.scale import SIGMA_DATA, Scale
from weir.tasks.image.representation.code import ImageCode
from weir.training.objective import Objective

if TYPE_CHECKING:
    from weir.tasks.image.data.load import Images, ImageSet


class ConvolutionalVAE(ImageCode):
    """Strided convolutions to a small picture of latents and back.

    Events are the latents' posterior means, standardised by channel; that is done by `fit`, once
    the autoencoder is trained. A density of latents is none of pictures: there is no volume.

    Args:
        shape: of an item: channels, height, width.
        scale: of the data.
        channels: of a latent.
        width: channels at full resolution.
        halvings: how often each side is halved, rounded up.

    Raises:
        UserError: the items are no pictures, or too small.

    References:
        Kingma & Welling 2014, "Auto-Encoding Variational Bayes"; Rombach et al. 2022,
        "High-Resolution Image Synthesis with Latent Diffusion Models".
    """

    log_volume = None
    center: Tensor
    spread: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        scale: Scale,
        *,
        channels: int = 4,
        width: int = 32,
        halvings: int = 2,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 2**halvings:
            raise UserError(
                f"stage1: a vae halves pictures {halvings} times, which items of shape "
                f"{list(shape)} do not allow; lower network.halvings or choose model pixels"
            )
        self.shape, self.scale = shape, scale
        self.sizes = [shape[1:]]
        for _ in range(halvings):
            height, wide = self.sizes[-1]
            self.sizes.append((-(-height // 2), -(-wide // 2)))
        self.event = (channels, *self.sizes[-1])
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1), nn.SiLU()]
        for _ in range(halvings):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.SiLU()]
            width *= 2
        self.encoder = nn.Sequential(*layers, nn.Conv2d(width, 2 * channels, 3, padding=1))
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.SiLU())
        self.enlarged = nn.ModuleList()
        for _ in range(halvings):
            self.enlarged.append(
                nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1), nn.SiLU())
            )
            width //= 2
        self.out = nn.Conv2d(width, shape[0], 3, padding=1)
        self.log_noise = nn.Parameter(torch.tensor(-1.0))
        self.register_buffer("center", torch.zeros(channels, 1, 1))
        self.register_buffer("spread", torch.ones(channels, 1, 1))

    def posterior(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `[item, *event]` of the latents of pictures."""
        mean, log_variance = self.encoder(self.scale.event(unit) / SIGMA_DATA).chunk(2, 1)
        return mean, log_variance.clamp(-20, 5)

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Pictures of latents, in standard deviations of the pixels."""
        hidden = self.enter(latent)
        for layer, size in zip(self.enlarged, reversed(self.sizes[:-1]), strict=True):
            hidden = layer(enlarge(hidden, size))
        return self.out(hidden)

    def encode(self, unit: Tensor) -> Tensor:
        """Events `[item, *event]`: standardised posterior means."""
        mean, _ = self.posterior(unit)
        return (mean - self.center) / self.spread * SIGMA_DATA

    def decode(self, event: Tensor) -> Tensor:
        """Pictures `[item, *shape]` on the unit scale."""
        latent = event * self.spread / SIGMA_DATA + self.center
        return self.scale.to_unit(self.reconstruct(latent) * SIGMA_DATA)

    @torch.no_grad()
    def fit(self, data: ImageSet) -> None:
        """Set mean and deviation of each latent channel by the training items."""
        sums = torch.zeros(3, len(self.center), dtype=torch.float64, device=self.center.device)
        for items in torch.arange(len(data)).split(512):
            unit = self.scale.unit(data.batch(items).raw.to(self.center.device))
            mean = self.posterior(unit)[0].double()
            sums[0] += mean.new_full((), mean[:, 0].numel())
            sums[1] += mean.sum((0, 2, 3))
            sums[2] += mean.square().sum((0, 2, 3))
        center = sums[1] / sums[0]
        variance = (sums[2] / sums[0] - center.square()).clamp(min=1e-8)
        self.center.copy_(center[:, None, None])
        self.spread.copy_(variance.sqrt()[:, None, None])


class VAEObjective(Objective):
    """Negative evidence bound of dequantised pixels, with a weighted divergence.

    Args:
        model: the autoencoder.
        beta: weight of the divergence from the standard normal.
    """

    model: ConvolutionalVAE

    def __init__(self, model: ConvolutionalVAE, beta: float) -> None:
        super().__init__()
        self.model, self.beta = model, beta

    def forward(self, batch: Images, progress: float) -> dict[str, Tensor]:
        """Per dimension of the picture: `loss`, `nll` (nats, in standard deviations of the
        pixels), `kl`; and `mse`, as a share of the pixels' variance."""
        model = self.model
        unit = model.scale.dequantise(batch.raw)
        mean, log_variance = model.posterior(unit)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = model.reconstruct(latent) - model.scale.event(unit) / SIGMA_DATA
        mse = error.square().mean()
        nll = 0.5 * mse * (-2 * model.log_noise).exp() + model.log_noise
        nll = nll + 0.5 * math.log(2 * math.pi)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean()
        kl = kl / math.prod(model.shape)
        return {"loss": nll + self.beta * kl, "nll": nll, "kl": kl, "mse": mse}
