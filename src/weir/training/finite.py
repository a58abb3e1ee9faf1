"""NaN and infinity are errors: where did they come from?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from weir.errors import WeirError
from weir.training.objective import Objective

_SHOWN = 8


class NonFinite(WeirError):
    """A loss or a gradient became NaN or infinite; the message names step, items and tensors."""


def named_tensors(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested tuples, named tuples, data classes and dicts, with dotted names."""
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from named_tensors(item, f"{prefix}.{key}")
    elif hasattr(value, "_fields"):
        for name in value._fields:
            yield from named_tensors(getattr(value, name), f"{prefix}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from named_tensors(item, f"{prefix}[{number}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from named_tensors(getattr(value, field.name), f"{prefix}.{field.name}")


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def listing(names: list[Any]) -> str:
    """Names separated by commas, the tail of a long list counted only."""
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def find_cause(objective: Objective, run: Callable[[], Iterator[tuple[Tensor, Any, dict]]]) -> str:
    """Repeat a failed step under observation and say in half a line where it went wrong.

    Args:
        objective: with the weights from before the step; its gradients are overwritten.
        run: computes the losses of the parts of the batch again, one by one, yielding item
            numbers `[items]`, the batch and the losses.
    """
    found: list[str] = []
    inputs: list[str] = []
    outputs: list[str] = []
    losses_at_fault: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            outputs.extend(n for n, t in named_tensors(output, name) if not is_finite(t))

        return hook

    hooks = [m.register_forward_hook(watch(n)) for n, m in objective.named_modules() if n]
    objective.zero_grad(set_to_none=True)
    try:
        for items, batch, losses in run():
            for name, tensor in named_tensors(batch, "batch"):
                if not is_finite(tensor):
                    inputs.append(f"{name}{_rows(tensor, items)}")
            losses_at_fault += [k for k, v in losses.items() if not is_finite(v)]
            if losses["loss"].requires_grad:
                losses["loss"].backward()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = [
        name
        for name, parameter in objective.named_parameters()
        if parameter.grad is not None and not is_finite(parameter.grad)
    ]
    objective.zero_grad(set_to_none=True)
    if inputs:
        found.append(f"in the data: {listing(inputs)}")
    if outputs:
        found.append(f"first output: {outputs[0]}")
    if losses_at_fault:
        found.append(f"losses: {listing(list(dict.fromkeys(losses_at_fault)))}")
    if gradients:
        found.append(f"gradients: {listing(gradients)}")
    return "; ".join(found)


def _rows(tensor: Tensor, items: Tensor) -> str:
    if tensor.ndim == 0 or len(tensor) != len(items):
        return ""
    bad = ~torch.isfinite(tensor).reshape(len(items), -1).all(1)
    return f" of items {listing(items.to(bad.device)[bad].tolist())}"
