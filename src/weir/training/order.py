"""The order of the data and the draws of a step: functions of (seed, step) and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

_WORD = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """One well-scrambled 63-bit number out of several (the finaliser of SplitMix64, chained).

    Neighbouring steps get unrelated seeds, which `seed + step` would not give:
    `mix(0, 1) != mix(1, 0)`.

    Reference: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    state = 0
    for number in numbers:
        state = (state + (number & _WORD) + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state >> 1


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of `device`.

    `torch.manual_seed` does the same for every kind of device; where CUDA is not initialised it
    formats a stack trace per call, which is too dear for every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


class Order:
    """The items of every step: permutations of all items, one per epoch, laid end to end.

    Step `s` takes the positions `s * batch_size` to `(s + 1) * batch_size` of that stream, so
    no item is dropped, every batch is full, and step `s` needs no memory of the steps before.

    Args:
        length: number of items, at least 1.
        batch_size: items per step, over all devices.
        seed: of the permutations.
        device: where the item numbers are wanted.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        if length < 1:
            raise ValueError("a data set without items cannot be trained on")
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def items(self, step: int) -> Tensor:
        """Item numbers of step `step`, counted from 0: `[batch_size]` int64."""
        epoch, offset = divmod(step * self.batch_size, self.length)
        wanted = self.batch_size
        pieces = []
        while wanted:
            piece = self._permuted(epoch)[offset : offset + wanted]
            pieces.append(piece)
            wanted -= len(piece)
            epoch, offset = epoch + 1, 0
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _permuted(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # A generator on the CPU, so that every device sees the same order.
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            permutation = torch.randperm(self.length, generator=generator)
            if torch.device(self.device).type == "cuda":
                permutation = permutation.pin_memory()  # the host need not wait for the copy
            self._permutation = permutation.to(self.device, non_blocking=True)
            self._epoch = epoch
        return self._permutation
