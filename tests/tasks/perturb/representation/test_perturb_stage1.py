"""Training of the autoencoder: its losses, its start, and what the separating terms do."""

import math
from types import SimpleNamespace

import pytest
import torch

from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.representation.independence import BatchAdversary, biology, conditional_hsic
from weir.tasks.perturb.representation.likelihood import nb_log_prob
from weir.tasks.perturb.representation.stage1 import build, objective, prepare
from weir.tasks.perturb.settings.models import PerturbStage1

SMALL = {"d_int": 4, "d_tech": 2, "hidden": 32, "dropout": 0.0}


def settings(**changes) -> PerturbStage1:
    return PerturbStage1.model_validate({"dataset": "tiny", "network": SMALL} | changes)


def model_for(data, config):
    torch.manual_seed(0)
    model = build(config, data.schema)
    prepare(model, config, data.split("train"))
    return model


def some(data, count: int = 64) -> Cells:
    return data.split("train").batch(torch.arange(count))


def gaussian_batch_effect(shift: float, count: int = 400) -> tuple[torch.Tensor, ...]:
    """Latents of two types in two batches, of which type 0 is mostly in batch 1."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(count) % 2
    batch = 1 + (torch.rand(count, generator=generator) < torch.where(kind == 1, 0.7, 0.2)).long()
    z = torch.randn(count, 3, generator=generator)
    z[:, 0] += 3 * kind
    z[:, 1] += shift * batch
    return z, batch, kind


def test_start_is_the_moments_of_the_training_cells(tiny_perturb):
    model = model_for(tiny_perturb, settings())
    cells = tiny_perturb.split("train")
    batch = cells.batch(torch.arange(len(cells)))
    share = model.output.bias.softmax(-1)
    torch.testing.assert_close(share, batch.counts.sum(0) / batch.counts.sum(), rtol=0.01, atol=0)
    # Theta: the law's variance, summed over cells, is the observed one.
    mean = share * batch.library[:, None]
    observed = (batch.counts - mean).square().sum(0)
    law = (mean + mean.square() / model.theta).sum(0)
    inner = model.theta < 100
    assert inner.sum() > 30
    torch.testing.assert_close(law[inner], observed[inner], rtol=0.03, atol=0)
    known = torch.bincount(batch.batch, minlength=3)[1:]
    torch.testing.assert_close(model.batch_share, known / known.sum())
    hidden = model.encoder.input(model.expression(batch))
    torch.testing.assert_close(hidden.mean(0), torch.zeros(32), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["none", "hsic", "adversary"])
def test_loss_is_the_sum_of_its_terms(tiny_perturb, method):
    terms = {"method": method, "weight": 7.0, "technical_weight": 3.0}
    config = settings(independence=terms, prior={"beta": 0.5, "warmup": 0.4, "free_bits": 0.0})
    found = objective(config, model_for(tiny_perturb, config)).eval()
    torch.manual_seed(1)
    losses = found(some(tiny_perturb), 0.1)
    divergence = 0.5 * 0.25 * (losses["kl_int"] + losses["kl_tech"])
    expected = losses["nll"] + divergence + 3 * losses["hsic_tech"]
    if method != "none":
        expected = expected + 7 * losses["adversary" if method == "adversary" else "hsic"]
    torch.testing.assert_close(losses["loss"], expected)
    torch.testing.assert_close(losses["nll_per_gene"] * 40, losses["nll"])


def test_free_bits_cost_nothing(tiny_perturb):
    config = settings(prior={"free_bits": 50.0, "warmup": 0.0}, independence={"method": "none"})
    model = model_for(tiny_perturb, config)
    losses = objective(config, model).eval()(some(tiny_perturb), 1.0)
    assert losses["kl_int"] < 50
    rest = losses["nll"] + losses["kl_tech"] + 100 * losses["hsic_tech"]
    torch.testing.assert_close(losses["loss"], rest + 4 * 50)


@pytest.mark.parametrize("method", ["hsic", "adversary"])
def test_gradients_reach_every_parameter(tiny_perturb, method):
    config = settings(independence={"method": method})
    trained = objective(config, model_for(tiny_perturb, config)).train()
    train = tiny_perturb.split("train")
    trained(train.batch(torch.arange(len(train))), 0.5)["loss"].backward()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name
    groups = trained.parameter_groups()
    assert sum(len(group["params"]) for group in groups) == len(list(trained.parameters()))


def test_it_learns_more_than_the_genes_own_law(tiny_perturb):
    config = settings(independence={"method": "none"})
    model = model_for(tiny_perturb, config)
    cells = some(tiny_perturb, 150)
    with torch.no_grad():
        mean = model.output.bias.softmax(-1) * cells.library[:, None]
        floor = -nb_log_prob(cells.counts, mean, model.theta).sum(-1).mean()
    trained = objective(config, model).train()
    optimizer = torch.optim.Adam(trained.parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        losses = trained(cells, 0.0)
        losses["loss"].backward()
        optimizer.step()
    assert losses["nll"] < floor - 4


def test_hsic_is_unbiased_and_sees_only_what_is_left_within_strata():
    everywhere = torch.ones(400, dtype=torch.bool)
    z, batch, kind = gaussian_batch_effect(0.0)
    alone = torch.zeros_like(kind)
    independent = conditional_hsic(z, batch, kind, everywhere)
    assert independent.abs() < 1e-3
    # Outright, the types' different batches look like a batch effect.
    assert conditional_hsic(z, batch, alone, everywhere) > 10 * independent.abs()
    shifted, _, _ = gaussian_batch_effect(2.0)
    assert conditional_hsic(shifted, batch, kind, everywhere) > 0.01
    # Unknown batches and a label that is the stratum itself ask for nothing.
    assert conditional_hsic(shifted, batch, kind, ~everywhere) == 0
    assert conditional_hsic(shifted, batch, batch, everywhere).abs() < 1e-6
    # The mean over small samples is the value of a large one.
    small = [conditional_hsic(shifted[i], batch[i], kind[i], everywhere[i]) for i in _parts(400)]
    whole = conditional_hsic(shifted, batch, kind, everywhere)
    assert torch.stack(small).mean().item() == pytest.approx(whole.item(), rel=0.15)


def _parts(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randperm(count, generator=generator)[:24] for _ in range(300)]


def test_hsic_is_the_textbook_estimate():
    torch.manual_seed(0)
    z, label = torch.randn(7, 2).double(), torch.tensor([0, 0, 1, 1, 1, 0, 1])
    found = conditional_hsic(z, label, torch.zeros_like(label), torch.ones(7, dtype=torch.bool))
    distance = torch.cdist(z, z).square()
    kernel = sum((-distance / (s * distance.mean())).exp() for s in (0.25, 1, 4)) / 3
    equal = (label[:, None] == label).double()
    kernel.fill_diagonal_(0)
    equal.fill_diagonal_(0)
    n, one = 7, torch.ones(7).double()
    totals = one @ kernel @ one * (one @ equal @ one)
    cross = one @ kernel @ equal @ one
    terms = (kernel @ equal).trace() + totals / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)
    expected = terms / (n * (n - 3))
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_biology_numbers_type_and_doses_together():
    doses = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0], [0.0, 1.0]])
    kind = torch.tensor([1, 1, 1, 2])
    none = torch.zeros(4)
    found = biology(Cells(none[:, None], none, kind, kind, doses, none[:, None]))
    assert found[0] == found[1]
    assert len(found.unique()) == 3


def test_the_adversary_learns_and_turns_the_gradient():
    z, batch, kind = gaussian_batch_effect(3.0)
    nothing = torch.zeros(400, 1)
    cells = Cells(nothing, nothing[:, 0], batch, kind, nothing, nothing)
    torch.manual_seed(0)
    adversary = BatchAdversary(3, 2, 2, 1, hidden=16)
    optimizer = torch.optim.Adam(adversary.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = adversary(z, cells)
        loss.backward()
        optimizer.step()
    assert loss < 0.4 < math.log(2)
    moved = z.clone().requires_grad_()
    adversary(moved, cells).backward()
    with torch.no_grad():
        assert adversary(z - 100 * moved.grad, cells) > loss  # descent makes it harder
    unknown = cells._replace(batch=torch.zeros_like(batch))
    assert adversary(z, unknown) == 0


def test_the_latent_loses_the_batch():
    """A batch that shifts half of the genes is in `z_int` unless a term keeps it out."""
    assert _batch_accuracy("none") > 0.9
    assert _batch_accuracy("hsic") < 0.6


def _batch_accuracy(method: str) -> float:
    """Accuracy of the best cut along the batches' mean difference, after a short training."""
    generator = torch.Generator().manual_seed(0)
    count, genes = 200, 20
    batch = 1 + torch.arange(count) % 2
    state = torch.randn(count, 1, generator=generator)
    logits = 0.5 * state * torch.linspace(-1, 1, genes)
    logits[:, ::2] += 0.4 * (2 * batch[:, None] - 3)
    counts = torch.poisson(300 * logits.softmax(-1), generator=generator)
    nothing = torch.zeros(count, dtype=torch.int64)
    cells = Cells(
        counts, counts.sum(1), batch, nothing, torch.zeros(count, 1), torch.zeros(count, 0)
    )
    # An encoder that is not told the batch, so that only the term can keep it out.
    config = settings(
        independence={"method": method, "weight": 300.0, "technical_weight": 0.0},
        network=SMALL | {"d_tech": 0},
        prior={"batch_dropout": 1.0},
    )
    schema = SimpleNamespace(
        genes=range(genes), batches=("a", "b"), cell_types=(), perturbations=("p",), scale=300.0
    )
    torch.manual_seed(0)
    model = build(config, schema)
    trained = objective(config, model).train()
    optimizer = torch.optim.Adam(trained.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        trained(cells, 1.0)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        z = model.encode(cells._replace(batch=nothing)).mean
    one, two = z[batch == 1], z[batch == 2]
    direction = (two.mean(0) - one.mean(0)) / z.var(0).clamp(min=1e-6)
    score = z @ direction
    return ((score > score.median()) == (batch == 2)).float().mean().item()
