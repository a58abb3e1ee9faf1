"""The autoencoder's laws in closed form."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.representation.cell_code import normal_draw, normal_kl
from weir.tasks.perturb.representation.nb_vae import NBVAE

GENES, BATCHES = 12, 3


def cells_like(count: int = 9, batches: int = BATCHES) -> Cells:
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(4 * torch.rand(count, GENES, generator=generator), generator=generator)
    return Cells(
        counts,
        counts.sum(1),
        torch.arange(count) % (batches + 1),
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, 1),
        torch.zeros(count, 0),
    )


def build(batches: int = BATCHES, **settings) -> NBVAE:
    torch.manual_seed(0)
    shape = {"d_int": 5, "d_tech": 2, "hidden": 16}
    model = NBVAE(GENES, batches, 30.0, **shape | settings)
    with torch.no_grad():  # away from the small values of the initialisation
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.eval()


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 2}, {"decoder": "linear"}, {"decoder": "mlp"}, {"d_tech": 0}]
)
def test_rates_are_positive_and_add_up_to_the_library(settings):
    model, cells = build(**settings), cells_like()
    posterior = model.encode(cells)
    assert posterior.mean.shape == posterior.log_variance.shape == (9, 5)
    assert posterior.tech_mean.shape == posterior.tech_log_variance.shape == (9, model.d_tech)
    z_int, z_tech = posterior.sample()
    rate = model.rate(z_int, z_tech, cells.batch, cells.library)
    assert (rate > 0).all()
    torch.testing.assert_close(rate.sum(-1), cells.library)


def test_leading_axes_broadcast():
    model, cells = build(), cells_like()
    posterior = model.encode(cells)
    z_int = torch.randn(9, 4, 5)
    batch, library = cells.batch[:, None], cells.library[:, None]
    rate = model.rate(z_int, posterior.tech_mean[:, None], batch, library)
    assert rate.shape == (9, 4, GENES)
    alone = model.rate(z_int[:, 2], posterior.tech_mean, cells.batch, cells.library)
    torch.testing.assert_close(rate[:, 2], alone)


def test_the_batch_matters_to_encoder_decoder_and_prior():
    model, cells = build(), cells_like()
    other = cells._replace(batch=(cells.batch + 1) % (BATCHES + 1))
    posterior = model.encode(cells)
    assert not torch.allclose(posterior.mean, model.encode(other).mean)
    latents = posterior.mean, posterior.tech_mean
    rates = [model.rate(*latents, c.batch, cells.library) for c in (cells, other)]
    assert not torch.allclose(*rates)
    assert not torch.allclose(*(model.prior_tech(c.batch)[0] for c in (cells, other)))


def test_without_the_covariate_only_the_prior_knows_the_batch():
    model, cells = build(batch_covariate=False), cells_like()
    other = cells._replace(batch=(cells.batch + 1) % (BATCHES + 1))
    posterior = model.encode(cells)
    torch.testing.assert_close(posterior.mean, model.encode(other).mean)
    latents = posterior.mean, posterior.tech_mean
    rates = [model.rate(*latents, c.batch, cells.library) for c in (cells, other)]
    torch.testing.assert_close(*rates)
    assert not torch.allclose(*(model.prior_tech(c.batch)[0] for c in (cells, other)))


def test_log_variances_are_clamped():
    model, cells = build(), cells_like()
    with torch.no_grad():
        model.posterior.bias.fill_(1e3)
        assert (model.encode(cells).log_variance == 10).all()
        assert (model.encode(cells).tech_log_variance == 10).all()
        model.posterior.bias.fill_(-1e3)
        assert (model.encode(cells).log_variance == -10).all()


def test_an_unknown_batch_has_the_moments_of_the_mixture():
    model = build()
    model.batch_share.copy_(torch.tensor([0.5, 0.3, 0.2]))
    mean, log_variance = model.prior_tech(torch.arange(4))
    component = torch.multinomial(model.batch_share, 200_000, replacement=True) + 1
    draws = normal_draw(mean[component], log_variance[component])
    torch.testing.assert_close(draws.mean(0), mean[0], atol=0.02, rtol=0.02)
    torch.testing.assert_close(draws.var(0), log_variance[0].exp(), atol=0.03, rtol=0.03)


def test_without_batches_the_prior_is_standard_normal():
    model, cells = build(batches=0), cells_like(batches=0)
    mean, log_variance = model.prior_tech(cells.batch)
    assert (mean == 0).all() and (log_variance == 0).all()
    assert mean.shape == (9, 2)
    assert model.encode(cells).mean.shape == (9, 5)


def test_divergence_is_that_of_two_normal_laws():
    mean, other = torch.randn(20), torch.randn(20)
    log_variance, other_log_variance = torch.randn(20), torch.randn(20)
    truth = kl_divergence(
        Normal(mean, (0.5 * log_variance).exp()), Normal(other, (0.5 * other_log_variance).exp())
    )
    found = normal_kl(mean, log_variance, other, other_log_variance)
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5)
    assert (normal_kl(mean, log_variance, mean, log_variance) == 0).all()


def test_posterior_draws_have_its_mean_and_variance():
    model, cells = build(), cells_like(2)
    posterior = model.encode(cells)
    generator = torch.Generator().manual_seed(1)
    draws = torch.stack([posterior.sample(generator)[0] for _ in range(4000)])
    spread = (0.5 * posterior.log_variance).exp()
    assert ((draws.mean(0) - posterior.mean).abs() < 0.08 * spread).all()
    torch.testing.assert_close(draws.std(0), spread, rtol=0.06, atol=0)


@pytest.mark.parametrize("theta", [0.3, 5.0, 1e6])
def test_drawn_counts_have_mean_and_variance_of_the_law(theta):
    model = NBVAE(4, 0, 1.0, d_int=2, d_tech=1, hidden=4)
    with torch.no_grad():
        low, high = torch.tensor(1e-3).log(), torch.tensor(1e6).log()
        level = ((torch.tensor(theta).log() - low) / (high - low)).clamp(0.0, 1 - 1e-6)
        model.theta_logit.copy_(level.logit())
    mean = torch.tensor([0.05, 1.0, 7.0, 60.0])
    generator = torch.Generator().manual_seed(0)
    counts = model.draw(mean.expand(400_000, 4), generator)
    assert torch.equal(counts, counts.round()) and (counts >= 0).all()
    variance = mean + mean.square() / model.theta.detach()
    error = (variance / len(counts)).sqrt()
    assert ((counts.mean(0) - mean).abs() < 5 * error).all()
    torch.testing.assert_close(counts.var(0), variance, rtol=0.06, atol=0)
    again = model.draw(mean.expand(400_000, 4), torch.Generator().manual_seed(0))
    assert torch.equal(counts, again)


def test_a_shift_of_the_latent_is_a_factor_on_each_gene_with_a_linear_decoder():
    model, cells = build(decoder="linear"), cells_like()
    posterior, shift = model.encode(cells), torch.randn(5)
    here, there = (
        model.logits(posterior.mean + by, posterior.tech_mean, cells.batch) for by in (0, shift)
    )
    torch.testing.assert_close(there - here, (there - here)[:1].expand(9, -1))
    assert (there - here).std() > 0.1
    # An unknown batch lies amid the known ones.
    by_batch = model.logits(posterior.mean[:1], posterior.tech_mean[:1], torch.arange(4))
    torch.testing.assert_close(by_batch[0], by_batch[1:].mean(0))
