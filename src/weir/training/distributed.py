"""What the processes of a training share besides gradients: answers and buffers.

Answers are small and on the host, so they go through Gloo also where gradients go through NCCL:
the host does not wait for a GPU, and the processes cannot come to different decisions.

Buffers are those that an objective changes in training, such as running moments. Parts of a batch
may be computed one after the other or at once, each on its own device. So that this makes no
difference, each begins with the buffers as they were before the step, and what the first part makes
of them stands afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from weir.errors import WeirError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    pass


class PeerLost(WeirError):
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
    if isinstance(error, (PeerLost, torch.distributed.DistError)):
        return True
    words = ("closed by peer", "reset by peer", "Broken pipe", "Connection refused", "Socket")
    text = str(error)
    return isinstance(error, RuntimeError) and any(word in text for word in words)


class Buffers:
    """The buffers of a module over the parts of a step."""

    def __init__(self, module: nn.Module, exchange: Exchange) -> None:
        self._places = [
            (owner, name)
            for owner in module.modules()
            for name, _ in owner.named_buffers("", False)
        ]
        # torch writes running statistics without counting it as a change.
        self._silent = [isinstance(owner, _NormBase) for owner, _ in self._places]
        self._exchange = exchange
        self._before: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._versions: list[int] = []
        self._after: dict[int, Tensor] = {}

    def begin(self) -> None:
        """Remember the buffers as they are; called before the first part of a step."""
        buffers = self._now()
        if not self._before:
            self._before = buffers
            self._copies = [b.detach().clone() for b in buffers]
        else:
            for index in self._changed():
                self._copies[index] = buffers[index].detach().clone()
            self._before = buffers
        self._versions = [b._version for b in buffers]

    @torch.no_grad()
    def end_part(self, number: int) -> None:
        """Undo what part `number` of the step has changed, having noted it of the first."""
        buffers = self._now()
        for index in self._changed():
            if number == 0:
                self._after[index] = buffers[index].detach().clone()
            owner, name = self._places[index]
            owner._buffers[name] = self._before[index].copy_(self._copies[index])
            self._versions[index] = self._before[index]._version

    def changed(self) -> list[bool]:
        """Which buffers the first part has changed; all no where another process computed it."""
        return [index in self._after for index in range(len(self._before))]

    @torch.no_grad()
    def end(self, changed: list[bool]) -> None:
        """Let what the first part has made of the buffers stand, in all processes.

        Args:
            changed: which buffers have changed, anywhere.
        """
        for index, given in enumerate(changed):
            if given:
                self._before[index].copy_(self._after.get(index, self._before[index]))
        self._exchange.take_from_main([b for b, c in zip(self._before, changed, strict=True) if c])
        self._after = {}

    def _now(self) -> list[Tensor]:
        # Places are of tensors, where torch allows for None.
        return [owner._buffers[name] for owner, name in self._places]  # type: ignore[misc]

    def _changed(self) -> list[int]:
        """Which buffers are others, or have been written to, since `begin` or `end_part`."""
        return [
            index
            for index, (now, before, version) in enumerate(
                zip(self._now(), self._before, self._versions, strict=True)
            )
            if now is not before
            or now._version != version
            or (self._silent[index] and not torch.equal(now, self._copies[index]))
        ]
