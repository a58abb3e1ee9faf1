"""Modules whose state is fitted in one go instead of trained step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FittedModule(nn.Module):
    """A module whose buffers take their shapes from the data, or from saved weights."""

    def store(self, **tensors: Tensor) -> None:
        """Keep tensors as buffers, in place of those of the same names."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone().contiguous())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                self.register_buffer(name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
