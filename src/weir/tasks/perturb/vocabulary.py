"""What a flow must know of its data's schema, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Vocabulary:
    """Names of the schema as codes.

    Attributes:
        batches: number of batches; their codes run from 1.
        cell_types: number of cell types; likewise.
        niche: width of the spatial features.
        conditions: `[condition, perturbation]` doses; row 0 is the control.
        unit: `[perturbation]`, typical positive dose of each perturbation.
        contexts: `[batches + 1, cell_types + 1]` int64, number of the matched context of a batch
            and a cell type plus one; 0 for none.
        log_library: mean and standard deviation of the logarithm of a cell's total count.
    """

    batches: int
    cell_types: int
    niche: int
    conditions: Tensor
    unit: Tensor
    contexts: Tensor
    log_library: tuple[float, float]

    @classmethod
    def of(cls, schema: dict[str, Any]) -> Vocabulary:
        """The vocabulary of a model card's schema."""
        perturbations = list(schema["perturbations"])
        conditions = torch.zeros(len(schema["conditions"]), len(perturbations))
        for row, condition in enumerate(schema["conditions"]):
            for name, dose in condition["doses"].items():
                conditions[row, perturbations.index(name)] = dose
        unit = schema["dose_scale"]
        if isinstance(unit, dict):
            unit = [unit[name] for name in perturbations]
        batches, cell_types = list(schema["batches"]), list(schema["cell_types"])
        contexts = torch.zeros(len(batches) + 1, len(cell_types) + 1, dtype=torch.int64)
        for number, context in enumerate(schema["contexts"]):
            # A column that was not matched on has no name here, and every code belongs.
            batch, cell_type = context["batch"], context["cell_type"]
            rows = slice(None) if batch is None else batches.index(batch) + 1
            columns = slice(None) if cell_type is None else cell_types.index(cell_type) + 1
            contexts[rows, columns] = number + 1
        return cls(
            len(batches),
            len(cell_types),
            int(schema["niche"]),
            conditions,
            # A perturbation without a training dose has no typical one.
            torch.tensor([u if u > 0 else 1.0 for u in unit], dtype=torch.float32),
            contexts,
            (float(schema["library"]["mean"]), float(schema["library"]["sd"])),
        )
