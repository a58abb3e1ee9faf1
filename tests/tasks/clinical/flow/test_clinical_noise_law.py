"""The law of a bin's own noise against torch's distributions, and that it keeps rare clusters."""

from __future__ import annotations

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from weir.tasks.clinical.flow.bin_decoder import NoiseMixture, NoisePrior, divergence
from weir.tasks.clinical.representation.seqsetvae import SetPosterior


def mixture(*lead: int, components: int = 3, noise: int = 2) -> NoiseMixture:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*lead, *shape, generator=generator, dtype=torch.float64)

    return NoiseMixture(
        random(components), 2 * random(components, noise), random(components, noise)
    )


def reference(law: NoiseMixture) -> MixtureSameFamily:
    each = Normal(law.mean, (0.5 * law.log_variance).exp())
    return MixtureSameFamily(Categorical(logits=law.logits), Independent(each, 1))


def test_density_is_torchs() -> None:
    law = mixture(4, 5)
    noise = torch.randn(4, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(law.log_density(noise), reference(law).log_prob(noise))


def test_draws_have_the_mixtures_moments() -> None:
    law = mixture()
    many = NoiseMixture(*(part.expand(200_000, *part.shape) for part in law))
    draws = many.sample(torch.Generator().manual_seed(1))
    true = reference(law)
    error = true.variance.sqrt() / 200_000**0.5
    assert ((draws.mean(0) - true.mean).abs() < 5 * error).all()
    assert torch.allclose(draws.var(0), true.variance, rtol=0.03)
    assert torch.equal(draws, many.sample(torch.Generator().manual_seed(1)))


def test_divergence_of_one_gaussian_is_the_closed_form() -> None:
    law = mixture(components=1)
    posterior = SetPosterior(
        torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor([-1.0, 0.4]).double()
    )
    many = SetPosterior(*(part.expand(400_000, 2) for part in posterior))
    noise = many.sample(torch.Generator().manual_seed(2))
    found = divergence(many, law, noise)
    exact = kl_divergence(
        Normal(posterior.mean, (0.5 * posterior.log_variance).exp()),
        Normal(law.mean[0], (0.5 * law.log_variance[0]).exp()),
    ).sum()
    assert abs(float(found.mean() - exact)) < 5 * float(found.std()) / 400_000**0.5


def test_a_rare_cluster_keeps_its_share() -> None:
    """One bin in twelve lies apart. A single Gaussian puts five in a hundred there: of mean 0 and
    variance 1, it has that much above 1.6."""
    generator = torch.Generator().manual_seed(3)
    rare = torch.arange(4092) % 12 == 0
    low, high = -(11**-0.5), 11**0.5
    centre = torch.where(rare, high, low)[:, None]
    posterior = SetPosterior(centre, torch.full_like(centre, -6.0))
    shares = []
    for components in (1, 4):
        torch.manual_seed(0)
        prior = NoisePrior(1, 1, components)
        optimizer = torch.optim.Adam(prior.parameters(), 0.05)
        for _ in range(200):
            law = prior(torch.ones(4092, 1))
            optimizer.zero_grad()
            divergence(posterior, law, posterior.sample(generator)).mean().backward()
            optimizer.step()
        drawn = prior(torch.ones(100_000, 1)).sample(generator)
        shares.append(float((drawn > 1.6).float().mean()))
    assert abs(shares[0] - 0.055) < 0.005
    assert abs(shares[1] - 1 / 12) < 0.005
