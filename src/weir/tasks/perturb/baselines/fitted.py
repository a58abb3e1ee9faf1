"""What baselines share: a state that fitting sizes, and no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.perturb.cells import Cells
    from weir.tasks.perturb.data import PerturbData
    from weir.tasks.perturb.responder import Generated


class Fitted(nn.Module):
    """A baseline whose buffers take their shapes from the data, or from saved weights.

    Attributes:
        estimand: what its cells are: `edit`s of the sources, or cells of a `population`.
    """

    estimand: ClassVar[str] = "edit"

    def hold(self, **tensors: Tensor) -> None:
        """Keep tensors as buffers, in place of those of the same names."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone().contiguous())

    def fit(self, data: PerturbData) -> Self:
        """Take what is needed from the training cells."""
        raise NotImplementedError

    def answer(
        self, sources: Cells, target: Tensor, generator: torch.Generator | None = None
    ) -> Generated:
        """One cell for each source, of `estimand`; see `Responder.respond`."""
        raise NotImplementedError

    def respond(
        self,
        sources: Cells,
        target: Tensor,
        *,
        steps: int | None = None,
        solver: str | None = None,
        estimand: str | None = None,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """See `Responder.respond`; there are no steps, and the estimand is the baseline's own."""
        return self.answer(sources, target, generator)

    def nfe(self, steps: int | None = None, solver: str | None = None) -> int:
        """No network is called."""
        return 0

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                self.register_buffer(name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
