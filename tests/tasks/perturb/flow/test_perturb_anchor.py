"""Anchors: the ridge over groups, what is moved, and where nothing is known."""

from __future__ import annotations

import pytest
import torch
from perturb_tiny_flow import CONDITIONS, GENES, cell_set, cells, flow, stir

from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.flow.anchor import AnchorSettings, GroupAnchor, group_shares, ridge_response


def fitted(**settings: float) -> GroupAnchor:
    """Two contexts, of which only the first shows condition 1; condition 2 is seen nowhere."""
    anchor = GroupAnchor(3, 2, 3, AnchorSettings(**settings))
    share = torch.zeros(3, 3, 3)
    share[0, 1:] = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    share[1, 1] = torch.tensor([0.2, 0.6, 0.2])
    number = torch.tensor([[0, 9, 9], [0, 9, 0], [0, 0, 0]])
    anchor.fit(share, number)
    return anchor


def test_ridge_without_penalty_passes_through_what_was_seen() -> None:
    torch.manual_seed(0)
    control, perturbed = torch.randn(2, 4, 30)
    found = ridge_response(control, perturbed, control, slope=0.7, penalty=1e-9)
    torch.testing.assert_close(found, perturbed, atol=1e-4, rtol=0)


def test_ridge_with_a_large_penalty_is_slope_and_mean() -> None:
    torch.manual_seed(0)
    control, perturbed, every = torch.randn(3, 4, 30)
    found = ridge_response(control, perturbed, every, slope=0.7, penalty=1e9)
    expected = 0.7 * every + (perturbed - 0.7 * control).mean(0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_ridge_is_sklearn_s() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    torch.manual_seed(0)
    control, perturbed, every = torch.randn(3, 5, 40)
    size = (control - control.mean(0)).square().sum(1).mean().item()
    model = sklearn.Ridge(0.3 * size).fit(control.numpy(), (perturbed - 0.85 * control).numpy())
    expected = torch.from_numpy(model.predict(every.numpy())) + 0.85 * every
    found = ridge_response(control, perturbed, every, slope=0.85, penalty=0.3)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-4)


def test_one_context_alone_gives_its_shift() -> None:
    control, perturbed = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    every = torch.ones(2, 2)
    found = ridge_response(control, perturbed, every, slope=1.0, penalty=0.1)
    torch.testing.assert_close(found, every + torch.tensor([2.0, 0.0]))


def test_control_cells_are_moved_to_what_was_observed() -> None:
    anchor = fitted()
    decoded = torch.tensor([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]])
    first, second = anchor.shifts(decoded.mean(0), decoded.mean(0), 1, 0)
    assert torch.equal(first, second)
    moved = anchor.move(1000 * decoded, first)
    # Exact but for each cell's sum, which is kept.
    observed = 1000 * torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(moved.mean(0), observed, rtol=0.05, atol=0)
    torch.testing.assert_close(moved.sum(1), torch.full((2,), 1000.0))


def test_new_cells_without_a_perturbation_have_the_mean_that_was_observed() -> None:
    anchor = fitted(control=0.6)
    before, after = torch.tensor([0.4, 0.3, 0.3]), torch.tensor([0.1, 0.1, 0.8])
    first, second = anchor.shifts(before, after, 1, 0)
    observed = torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(anchor.level(before) + first, anchor.level(observed))
    torch.testing.assert_close(anchor.level(after) + second, anchor.level(observed))


@pytest.mark.parametrize("response", [0.0, 0.5, 1.0])
def test_generated_means_lie_between_flow_and_ridge(response: float) -> None:
    anchor = fitted(response=response, control=0.6)
    before, after = torch.tensor([0.4, 0.3, 0.3]), torch.tensor([0.1, 0.1, 0.8])
    _, shift = anchor.shifts(before, after, 1, 1)
    flow_level = anchor.level(after) + 0.6 * (anchor.control[1] - anchor.level(before))
    ridge_level = torch.tensor([0.2, 0.6, 0.2])
    expected = torch.lerp(flow_level, anchor.level(ridge_level), response)
    torch.testing.assert_close(anchor.level(after) + shift, expected)


def test_a_condition_that_was_never_seen_has_the_flow_s_opinion_alone() -> None:
    anchor = fitted(response=1.0, control=0.0)
    share = torch.tensor([0.4, 0.3, 0.3])
    for condition in (2, None):
        assert anchor.shifts(share, share, 1, condition)[1].eq(0).all()
    # One seen elsewhere has the ridge's.
    assert anchor.shifts(share, share, 2, 1)[1].ne(0).any()


def test_an_unknown_context_is_left_alone() -> None:
    share = torch.tensor([0.4, 0.3, 0.3])
    assert all(shift.eq(0).all() for shift in fitted().shifts(share, share, 0, 1))


def test_rare_genes_of_control_cells_do_not_multiply_induced_ones() -> None:
    for offset, low, high in ((1e-6, 9.0, 11.0), (1.0, 1.0, 1.1)):
        anchor = GroupAnchor(1, 1, 2, AnchorSettings(offset=offset, control=1.0))
        share = torch.zeros(1, 2, 2)
        share[0, 1] = torch.tensor([1 - 2e-5, 2e-5])
        anchor.fit(share, torch.tensor([[0, 5]]))
        first, _ = anchor.shifts(torch.tensor([1 - 2e-6, 2e-6]), torch.ones(2) / 2, 1, 0)
        moved = anchor.move(torch.tensor([[0.99, 0.01]]), first)
        assert low < moved[0, 1] / 0.01 < high


def test_shares_are_means_over_a_group_s_cells() -> None:
    data, model = cell_set(), flow()
    place = model.contexts[data.batch_code, data.cell_type_code]
    share, number = group_shares(data, place, len(CONDITIONS), 2)
    mine = ((data.condition == 2) & (place == 1)).nonzero()[:, 0]
    some = data.batch(mine)
    torch.testing.assert_close(share[2, 1], (some.counts / some.library[:, None]).mean(0))
    assert number[2, 1] == len(mine) and number.sum() == len(data)


def anchored(**settings: float) -> object:
    model = stir(flow(anchor=AnchorSettings(**settings), keep_noise=False)).eval()
    stage2.fit(model, cell_set())
    return model.eval()


def test_reference_cells_are_controls_of_their_context_and_always_the_same() -> None:
    data, model = cell_set(), anchored(cells=5)
    kept = model.reference.of(1)
    assert kept.counts.shape == (5, GENES) and kept.doses.eq(0).all()
    assert (model.contexts[kept.batch, kept.cell_type] == 1).all()
    controls = data.batch((data.condition == 0).nonzero()[:, 0]).counts
    assert all((row == controls).all(1).any() for row in kept.counts)
    assert torch.equal(kept.counts, anchored(cells=5).reference.of(1).counts)


def test_generated_means_come_out_at_the_ridge_s_whatever_the_flow() -> None:
    model = anchored(response=1.0, cells=40)
    data = cell_set(1200)
    stage2.fit(model, data)
    control = data.batch(((data.condition == 0) & (data.context == 1)).nonzero()[:, 0])
    several = type(control)(*(field.repeat(20, *(1,) * (field.ndim - 1)) for field in control))
    made = model.respond(several, CONDITIONS[3:].expand(len(several.library), -1))
    share = (made.counts / made.counts.sum(1, keepdim=True)).mean(0)
    expected = model.anchor.response[3, 2].exp() - model.anchor.least
    torch.testing.assert_close(share, expected / expected.sum(), rtol=0.1, atol=0)


def test_no_perturbation_returns_the_very_counts_of_an_anchored_cell() -> None:
    model, some = anchored(), cells(6)
    model.keep_noise = True
    assert torch.equal(model.respond(some, torch.zeros(6, 2)).counts, some.counts)
    alone = type(some)(*(field[:1] for field in some))
    assert model.respond(alone, CONDITIONS[3:]).counts.shape == (1, GENES)


def test_weights_of_an_anchored_model_are_saved() -> None:
    model = anchored()
    other = flow(anchor=AnchorSettings())
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.anchor.response, model.anchor.response)
    assert torch.equal(other.reference.of(2).counts, model.reference.of(2).counts)
