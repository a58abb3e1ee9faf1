"""What the processes of a training tell each other besides gradients.

Answers are small and on the host, so they go through Gloo also where gradients go through NCCL:
the host does not wait for a GPU, and the processes cannot come to different decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor

from weir.errors import WeirError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Parted(WeirError):
    """Another process of the training has ended before its time; it has said why, if it could."""


class Exchange:
    """Among the processes of a training; alone it gives back what it is given."""

    def __init__(self, fabric: Fabric) -> None:
        self.alone = fabric.world_size == 1
        self._group: Any = None
        if not self.alone and torch.distributed.get_backend() != "gloo":
            self._group = torch.distributed.new_group(backend="gloo")

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Which of the flags are set in any process."""
        if self.alone:
            return list(flags)
        told = torch.tensor([float(flag) for flag in flags])
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX, group=self._group)
        return [value > 0 for value in told.tolist()]

    def of_main(self, value: Any) -> Any:
        """The main process's value: numbers, text and None, alone or in tuples."""
        if self.alone:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, 0, group=self._group)
        return values[0]

    def take_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors, wherever they are, with those of the main process."""
        if not self.alone:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


def is_parting(error: BaseException) -> bool:
    """Whether an error is only the echo of another process's end."""
    if isinstance(error, (Parted, torch.distributed.DistError)):
        return True
    words = ("closed by peer", "reset by peer", "Broken pipe", "Connection refused", "Socket")
    text = str(error)
    return isinstance(error, RuntimeError) and any(word in text for word in words)
