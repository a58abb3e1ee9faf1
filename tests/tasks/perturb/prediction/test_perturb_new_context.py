"""What an anchored flow learns of a context that its training data does not have."""

import torch
from perturb_tiny_flow import CONDITIONS, cell_set, flow, stir

from weir.tasks.perturb.data.cells import Cells
from weir.tasks.perturb.flow import stage2
from weir.tasks.perturb.flow.anchor import AnchorSettings, GroupAnchor, ridge_response
from weir.tasks.perturb.prediction.predict_cells import enter, learn, ridge_elsewhere

GENES, CONTEXTS = 30, 6


def anchor_and_shares(**settings: float) -> tuple[GroupAnchor, torch.Tensor]:
    """Three conditions; the second was seen in contexts 1 to 4, the third in 3 alone."""
    torch.manual_seed(0)
    share = torch.rand(3, CONTEXTS + 1, GENES)
    share = share / share.sum(-1, keepdim=True)
    cells = torch.zeros(3, CONTEXTS + 1, dtype=torch.int64)
    cells[0, 1:] = 50
    cells[1, 1:5] = 50
    cells[2, 3] = 50
    anchor = GroupAnchor(3, CONTEXTS, GENES, AnchorSettings(**settings))
    anchor.fit(share.clone(), cells.clone())
    return anchor, share


def test_the_regression_is_found_again_where_its_contexts_are_known() -> None:
    """Also where it was not seen: it is the same as asking the regression itself."""
    anchor, _ = anchor_and_shares()
    for place in range(1, CONTEXTS + 1):
        found = ridge_elsewhere(anchor, anchor.control[place])
        torch.testing.assert_close(found[1:], anchor.response[1:, place], rtol=1e-4, atol=1e-4)


def test_a_new_level_is_answered_as_the_regression_would() -> None:
    anchor, share = anchor_and_shares(slope=0.7, penalty=0.3)
    new = anchor.level(torch.rand(GENES).softmax(0))
    level = anchor.level(share)
    for row, seen in ((1, slice(1, 5)), (2, slice(3, 4))):
        wanted = ridge_response(level[0, seen], level[row, seen], new[None], slope=0.7, penalty=0.3)
        found = ridge_elsewhere(anchor, new)[row]
        torch.testing.assert_close(found, wanted[0], rtol=1e-4, atol=1e-4)


def test_without_a_regression_there_is_no_opinion() -> None:
    anchor, _ = anchor_and_shares(response=0.0)
    assert ridge_elsewhere(anchor, anchor.control[1]).shape == (0, GENES)


def test_cells_of_a_new_context_come_out_at_the_regression_s_mean() -> None:
    """What is learnt of a context's controls is what fitting learns, although its name is not."""
    model = stir(flow(anchor=AnchorSettings(response=1.0, cells=40), keep_noise=False))
    data = cell_set(1200)
    stage2.fit(model.eval(), data)
    control = data.batch(((data.condition == 0) & (data.context == 1)).nonzero()[:, 0])
    share = (control.counts / control.library[:, None]).mean(0)
    few = Cells(*(field[:40] for field in control))
    several = Cells(*(field.repeat(20, *(1,) * (field.ndim - 1)) for field in control))
    nowhere = several._replace(
        batch=torch.zeros_like(several.batch), cell_type=torch.zeros_like(several.cell_type)
    )
    target = CONDITIONS[3:].expand(len(several.library), -1)

    def mean(cells: Cells) -> torch.Tensor:
        counts = model.respond(cells, target, generator=torch.Generator().manual_seed(0)).counts
        return (counts / counts.sum(1, keepdim=True)).mean(0)

    plain = mean(nowhere)
    enter(model, learn(model, share, few))
    torch.testing.assert_close(mean(nowhere), mean(several), rtol=0.1, atol=0)
    assert not torch.allclose(plain, mean(several), rtol=0.1, atol=0)
    enter(model, None)
    assert torch.equal(mean(nowhere), plain)
