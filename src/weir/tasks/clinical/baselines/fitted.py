"""What baselines share: a risk, and a state that fitting sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from weir.tasks.clinical.data import ClinicalData
    from weir.tasks.clinical.records import Records


class Fitted(nn.Module):
    """A baseline whose buffers take their shapes from the data, or from saved weights."""

    def hold(self, **tensors: Tensor) -> None:
        """Keep tensors as buffers, in place of those of the same names."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone().contiguous())

    def fit(self, data: ClinicalData, seed: int) -> None:
        """Take what is needed from the training records."""
        raise NotImplementedError

    def risk(self, records: Records) -> Tensor:
        """Logit of the outcome's probability, `[record]` float32."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                self.register_buffer(name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
