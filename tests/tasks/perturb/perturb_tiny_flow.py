"""A flow small enough for tests, on cells whose latents obey a known law."""

from __future__ import annotations

import torch
from torch import Tensor

from weir.tasks.perturb.data.cells import Cells, CellSet, CellTable, SparseCounts
from weir.tasks.perturb.flow.cell_flow import CellFlow, Pairing
from weir.tasks.perturb.flow.context import Vocabulary
from weir.tasks.perturb.representation.nb_vae import NBVAE

GENES, LATENT, TECH = 12, 3, 2
CONDITIONS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])


def vocabulary() -> Vocabulary:
    """Two batches, two cell types, two perturbations; contexts are cell types."""
    contexts = torch.tensor([[0, 1, 2]] * 3)
    return Vocabulary(2, 2, 0, CONDITIONS, torch.tensor([1.0, 2.0]), contexts, (6.0, 0.3))


def vae() -> NBVAE:
    """An untrained autoencoder."""
    torch.manual_seed(0)
    return NBVAE(GENES, 2, 300.0, d_int=LATENT, d_tech=TECH, hidden=16, dropout=0.0)


def flow(**settings: object) -> CellFlow:
    """An untrained flow; `settings` are those of `CellFlow`."""
    shape = {"context": 8, "alpha": 8, "basis": 3, "width": 16, "layers": 2}
    shape |= {"pairing": Pairing(balance=0.0)} | settings
    torch.manual_seed(0)
    return CellFlow(vae(), vocabulary(), **shape)


def stir(model: CellFlow) -> CellFlow:
    """Move everything but the autoencoder away from its zero output."""
    torch.manual_seed(1)
    with torch.no_grad():
        for part in (model.network, model.adapter, model.effect, model.base):
            for parameter in part.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def cell_set(cells: int = 120) -> CellSet:
    """Cells of all conditions, types and batches with Poisson counts."""
    generator = torch.Generator().manual_seed(0)
    number = torch.arange(cells)
    condition, cell_type, batch = number % 4, number // 4 % 2 + 1, number // 8 % 2 + 1
    rate = 5 + 10 * torch.rand(GENES, generator=generator)
    rate = rate.repeat(cells, 1)
    rate[:, :4] *= 1 + condition[:, None]
    counts = torch.poisson(rate, generator=generator).clamp_min(1)
    sparse = SparseCounts(
        counts.flatten().to(torch.int16),
        torch.arange(GENES, dtype=torch.int16).repeat(cells),
        torch.arange(cells + 1) * GENES,
        GENES,
    )
    table = CellTable(
        counts=sparse,
        library=counts.sum(1),
        batch=batch,
        cell_type=cell_type,
        condition=condition,
        context=cell_type - 1,
        niche=torch.zeros(cells, 0),
        condition_doses=CONDITIONS,
    )
    return CellSet(table, number)


def cells(count: int = 6, doses: Tensor | None = None) -> Cells:
    """A batch of control cells, or of cells said to have had `doses`."""
    some = cell_set()
    batch = some.batch((some.condition == 0).nonzero()[:count, 0])
    return batch if doses is None else batch._replace(doses=doses.expand(count, -1))
