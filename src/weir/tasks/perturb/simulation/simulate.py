"""Perturbed cells whose law is known, with each cell's exact counts under other conditions."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from weir.tasks.perturb.settings.simulator import Simulation
from weir.tasks.perturb.simulation.law import Law, Names, Parameters

RAW = "simulated.h5ad"
CHUNK = 1000
"""Cells drawn at a time."""

WAVES = 3
"""Plane waves that a spatial field is made of."""


def simulate(settings: Simulation, folder: Path) -> list[str]:
    """Write a simulated `.h5ad` and its law into a raw folder; returns the file names."""
    law, obs, positions = draw_law(settings)
    doses = dose_table(obs, law.names.perturbations)
    pieces = [
        sparse.csr_matrix(law.twins_of(rows, doses[rows]).astype("float32"))
        for rows in np.split(np.arange(len(obs)), range(CHUNK, len(obs), CHUNK))
    ]
    table = anndata.AnnData(
        sparse.vstack(pieces, format="csr"), obs, pd.DataFrame(index=list(law.names.genes))
    )
    if positions is not None:
        table.obsm["spatial"] = positions
    table.write_h5ad(folder / RAW)
    return [RAW, *law.save(folder)]


def draw_law(settings: Simulation) -> tuple[Law, pd.DataFrame, np.ndarray | None]:
    """The law that the settings' seed picks, the cells' `obs`, and their positions, if any."""
    random = np.random.default_rng(settings.seed)
    names = _names(settings)
    obs, positions = _cells(settings, names, random)
    kind = obs["cell_type"].cat.codes.to_numpy("int64")
    batch = obs["batch"].cat.codes.to_numpy("int64")
    genes, programmes = settings.genes, settings.programmes
    kinds = settings.type_effect * random.standard_normal((settings.cell_types, programmes))
    noise = random.standard_normal((settings.cells, programmes))
    field = np.zeros(settings.cells)
    if positions is not None:
        field = _field(positions, random)
    parameters = Parameters(
        base=random.standard_normal(genes),
        loadings=random.standard_normal((programmes, genes)) / math.sqrt(programmes),
        batch=settings.batch_effect * random.standard_normal((settings.batches, genes)),
        tissue=settings.spatial * random.standard_normal(genes),
        place_factor=_place_factor(settings),
        effect=_sparse(settings, settings.effect, settings.perturbations, random),
        interaction=_sparse(settings, settings.interaction, len(names.pairs), random),
        half_dose=np.exp(0.4 * random.standard_normal(settings.perturbations)),
        type_factor=np.exp(
            settings.type_dependence
            * random.standard_normal((settings.perturbations, settings.cell_types))
        ),
        theta=_theta(settings, random),
        activity=kinds[kind] + settings.state * noise,
        depth=settings.depth * np.exp(settings.depth_sd * random.standard_normal(settings.cells)),
        field=field,
        cell_type=kind,
        cell_batch=batch,
    )
    law = Law(parameters, names, settings.hill, settings.seed)
    return _with_zeros(law, settings.zeros), obs, positions


def dose_table(obs: pd.DataFrame, perturbations: tuple[str, ...]) -> np.ndarray:
    """Dose of each perturbation in each cell, `[cell, perturbation]` float32."""
    doses = np.zeros((len(obs), len(perturbations)), "float32")
    given = obs["perturbation"].astype(str).to_numpy()
    for number, name in enumerate(perturbations):
        has = np.array([name in parts.split("+") for parts in given])
        doses[has, number] = obs["dose"].to_numpy()[has]
    return doses


def _names(settings: Simulation) -> Names:
    digits = len(str(settings.genes))
    perturbations = tuple(chr(ord("A") + i) for i in range(settings.perturbations))
    return Names(
        genes=tuple(f"g{i + 1:0{digits}d}" for i in range(settings.genes)),
        perturbations=perturbations,
        pairs=tuple(combinations(range(settings.perturbations), 2)),
        combinations=tuple(combinations(perturbations, 2))[: settings.combinations],
    )


def _cells(
    settings: Simulation, names: Names, random: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Type, batch, condition and, with a spatial field, position of each cell."""
    count = settings.cells
    batch = random.integers(settings.batches, size=count)
    placed = settings.spatial or settings.spatial_response
    positions = random.uniform(0, 1000, (count, 2)) if placed else None
    preference = np.tile(-0.2 * np.arange(settings.cell_types), (count, 1))
    if positions is not None:
        # Types live in regions, so that a neighbourhood says something.
        for kind in range(settings.cell_types):
            preference[:, kind] += 1.5 * _field(positions, random)
    kind = (preference + random.gumbel(size=preference.shape)).argmax(1)
    given = [
        (name, dose, number)
        for number, name in enumerate(names.perturbations)
        for dose in settings.doses
    ] + [
        ("+".join(pair), settings.doses[-1], names.perturbations.index(pair[0]))
        for pair in names.combinations
    ]
    home = np.array([number % settings.batches for *_, number in given])
    at_home = home == batch[:, None]
    weight = (1 - settings.confounding) + settings.confounding * len(given) * at_home
    control = random.random(count) < settings.control_share
    control |= weight.sum(1) == 0  # a batch that no perturbation prefers
    pick = (np.log(np.maximum(weight, 1e-300)) + random.gumbel(size=weight.shape)).argmax(1)
    obs = pd.DataFrame(
        {
            "perturbation": [
                "control" if c else given[i][0] for c, i in zip(control, pick, strict=True)
            ],
            "dose": [0.0 if c else given[i][1] for c, i in zip(control, pick, strict=True)],
            "cell_type": pd.Categorical.from_codes(
                kind, [f"type{i + 1}" for i in range(settings.cell_types)]
            ),
            "batch": pd.Categorical.from_codes(
                batch, [f"batch{i + 1}" for i in range(settings.batches)]
            ),
        },
        index=[f"cell{i}" for i in range(count)],
    )
    obs["perturbation"] = pd.Categorical(obs["perturbation"])
    return obs, positions


def _place_factor(settings: Simulation) -> np.ndarray:
    """Log factors `[perturbation]` of responses by one unit of the field: some rise, some fall.

    Their signs have a generator of their own, so that the rest of the law is the same without.
    """
    random = np.random.default_rng([settings.seed, 1])
    return settings.spatial_response * random.choice([-1.0, 1.0], settings.perturbations)


def _field(positions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A smooth random field of unit variance at positions `[cell, 2]` of 0 to 1000."""
    total = np.zeros(len(positions))
    for _ in range(WAVES):
        direction = random.uniform(0, 2 * np.pi)
        along = positions @ np.array([np.cos(direction), np.sin(direction)]) / 1000
        total += np.cos(2 * np.pi * (random.uniform(0.5, 1.0) * along + random.random()))
    return total * math.sqrt(2 / WAVES)


def _sparse(
    settings: Simulation, size: float, count: int, random: np.random.Generator
) -> np.ndarray:
    """Log shifts `[count, gene]` of a share of the genes."""
    hit = random.random((count, settings.genes)) < settings.targets
    return size * hit * random.standard_normal((count, settings.genes))


def _theta(settings: Simulation, random: np.random.Generator) -> np.ndarray:
    """Inverse dispersions `[gene]` with the asked quantiles, and nearly Poisson genes above."""
    low, *_, high = settings.theta_quantiles
    places = [0.0, 0.05, 0.25, 0.5, 0.75, 1 - settings.poisson]
    values = [low / 2, *settings.theta_quantiles, 5 * high]
    rank = (random.permutation(settings.genes) + 0.5) / settings.genes
    theta = np.exp(np.interp(rank, places, np.log(values)))
    return np.where(rank > 1 - settings.poisson, 1e4, theta)


def _with_zeros(law: Law, share: float) -> Law:
    """The law whose genes differ as much as gives the asked share of zeros among controls."""
    rows = np.arange(min(len(law.parameters.depth), 500))
    doses = np.zeros((len(rows), len(law.names.perturbations)), "float32")
    low, high = 0.0, 6.0
    for _ in range(20):
        spread = (low + high) / 2
        wider = law.spread(spread)
        rate, theta = wider.rates_of(rows, doses), law.parameters.theta
        zeros = np.exp(-theta * np.log1p(rate / theta)).mean()
        low, high = (spread, high) if zeros < share else (low, spread)
    return law.spread((low + high) / 2)
