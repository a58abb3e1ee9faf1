"""One optimizer step, what is known about it afterwards, and the cause of numbers not finite in it.

A batch is cut into `accumulate` parts, whose mean loss, weighted by items, is minimised. Draws
depend on the part, not on the process that computes it, and so does all else: however many
processes share the parts, the result is the same but for the order in which floats are added.

NaN and infinity are errors. A loss or gradient that is not finite must not reach the weights, so
that the failing step can be repeated under observation, to tell where they came from. On a CPU the
host looks before the optimizer steps. For a GPU the host never waits in a step: losses stay there
until they are fetched, and a flag on the device keeps the optimizer from touching the weights from
the bad step on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from weir.errors import UserError, WeirError
from weir.settings.training import Training
from weir.training.distributed import Buffers, Exchange
from weir.training.objective import DataSet, Objective
from weir.training.optimizer import (
    MovingAverage,
    build_optimizer,
    learning_rate_factor,
    set_learning_rate,
)
from weir.training.order import Order, mix, seed_draws

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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


def find_cause(
    objective: Objective, run: Callable[[], Iterator[tuple[Tensor, Any, dict[str, Tensor]]]]
) -> str:
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


_FETCH_EVERY = 20
"""Steps between fetches of the losses where the host would wait for a GPU or other processes."""


class FailedStep(Exception):
    """The step of this index had a loss or gradient that is not finite."""

    def __init__(self, step: int, names: list[str]) -> None:
        super().__init__(step)
        self.step = step
        self.names = names


class _Part:
    """Part of a batch, opaque to Fabric, which would cast the data to half precision with it."""

    def __init__(self, batch: Any, progress: float) -> None:
        self.batch = batch
        self.progress = progress


class _Called(nn.Module):
    """The objective as Fabric and DDP call it."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, part: _Part) -> dict[str, Tensor]:
        losses = self.objective(part.batch, part.progress)
        # DDP looks for unused parameters from what is returned; only the loss has gradients.
        return {k: v if k == "loss" else v.detach() for k, v in losses.items()}


class Stepper:
    """Objective, optimizer, average and data of a training, on their device.

    Attributes:
        objective: as the caller gave it; its weights are the ones trained.
        called: the objective, compiled if so wished.
        optimizer: AdamW.
        average: the averaged weights, or None.
        exchange: with the other processes of the training.
        fetch_every: steps after which `fetch` shall be called at the latest.
    """

    def __init__(
        self, objective: Objective, data: DataSet, settings: Training, seed: int, fabric: Fabric
    ) -> None:
        self._count = min(settings.accumulate, settings.batch_size)
        if self._count < fabric.world_size:
            raise UserError(
                f"training.accumulate: a batch is cut into {self._count} parts (of batch_size "
                f"{settings.batch_size}), which {fabric.world_size} processes cannot share; set it "
                f"to a multiple of {fabric.world_size}, or WEIR_DEVICES lower"
            )
        self.objective, self.settings, self.seed, self.fabric = objective, settings, seed, fabric
        self.device = fabric.device
        self.exchange = Exchange(fabric)
        compiled = torch.compile(objective) if settings.compile else objective
        self.called = cast(Objective, compiled)
        self.optimizer = build_optimizer(objective, settings)
        self._module, self._wrapped = fabric.setup(_Called(self.called), self.optimizer)
        trained = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        self._trained = list(trained.values())
        self.average = None if settings.ema is None else MovingAverage(trained, settings.ema)
        self._data = data.to(self.device)
        self._order = Order(len(data), settings.batch_size, seed, self.device)
        self._looks_at_once = looking_is_free(fabric)
        self.fetch_every = 1 if self._looks_at_once else _FETCH_EVERY
        self._scaled = settings.precision == "fp16"
        self._bad = torch.zeros((), device=self.device)
        self._pending: list[tuple[int, list[Tensor]]] = []
        self._names: list[str] = []
        self._buffers = Buffers(objective, self.exchange) if self._count > 1 else None
        # Networks that came frozen and in evaluation mode stay so when the rest trains.
        self._frozen = [m for m in objective.modules() if not m.training and _is_frozen(m)]

    def train_mode(self) -> None:
        """Put all but the frozen networks into training mode."""
        self.objective.train()
        for module in self._frozen:
            module.eval()

    def learning_rate(self, step: int) -> float:
        """Peak learning rate times the schedule at step `step`, counted from 0."""
        s = self.settings
        return s.learning_rate * learning_rate_factor(
            step, s.steps, s.warmup, s.final_learning_rate
        )

    def step(self, step: int) -> None:
        """Do step `step`, counted from 0.

        Raises:
            FailedStep: on a CPU, see `fetch`.
        """
        own = self._own_parts(step)
        if self._buffers is not None:
            self._buffers.begin()
        total: list[Tensor] = []
        for number, items in own:
            seed_draws(mix(self.seed, step, number), self.device)
            waiting = number != own[-1][0]
            with self._without_exchange() if waiting else nullcontext():
                losses = self._losses(self._data.batch(items), step / self.settings.steps)
                loss, values = losses["loss"], [v.detach() for v in losses.values()]
                if self._count > 1:
                    share = len(items) / self.settings.batch_size
                    # Of the processes' gradients the mean is taken, of their losses the sum.
                    loss, values = (
                        loss * (share * self.fabric.world_size),
                        [v * share for v in values],
                    )
                if not self.exchange.alone:
                    # What is not finite here shall be no gradient in any process.
                    loss = loss * (1 + 0 * _row(values).sum())
                self.fabric.backward(loss)
            total = values if not total else [a + b for a, b in zip(total, values, strict=True)]
            if self._buffers is not None:
                self._buffers.end_part(number)
        self._names = list(losses)
        norm = self._clip()
        self._pending.append((step, [*total, norm]))
        if self._looks_at_once:
            self._require_finite(step, [value.item() for value in self._pending[-1][1]])
        elif not self._scaled:
            # The fused kernel's own switch, made for gradient scalers: read on the device.
            bad = 1.0 - torch.isfinite(_row(self._pending[-1][1])).all().float()
            self._bad = torch.maximum(self._bad, bad)
            self.optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # as scalers do
        set_learning_rate(self.optimizer, self.learning_rate(step))
        (self._wrapped if self._scaled else self.optimizer).step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)

    def agree(self, stop: bool) -> bool:
        """Come to one mind after a step: the same buffers, and whether any process is to stop."""
        if self._buffers is None:
            return self.exchange.any([stop])[0]
        told = self.exchange.any([stop, *self._buffers.changed()])
        self._buffers.end(told[1:])
        return told[0]

    def fetch(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Losses and `gradient_norm` of the steps since the last fetch, with their indices.

        Raises:
            FailedStep: one of them is not finite; the weights are those from before that step.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        if self._looks_at_once:
            rows = [[value.item() for value in values] for _, values in pending]
        else:
            table = torch.stack([_row(values) for _, values in pending])
            if self.fabric.world_size > 1:
                table[:, -1] /= self.fabric.world_size  # the same everywhere
                table = cast(Tensor, self.fabric.all_reduce(table, reduce_op="sum"))
            rows = table.tolist()
        for (step, _), row in zip(pending, rows, strict=True):
            self._require_finite(step, row)
            yield step, dict(zip([*self._names, "gradient_norm"], row, strict=True))

    def items(self, step: int) -> list[int]:
        """Item numbers of a step, over all devices."""
        return self._order.items(step).tolist()

    def explain(self, step: int) -> str:
        """Repeat a failed step, with the weights from before it, and say where it went wrong."""

        def run() -> Iterator[tuple[Tensor, Any, dict[str, Tensor]]]:
            for number, items in enumerate(self._parts(step)):
                seed_draws(mix(self.seed, step, number), self.device)
                batch = self._data.batch(items)
                with self.fabric.autocast():
                    losses = self.objective(batch, step / self.settings.steps)
                yield items, batch, losses

        return find_cause(self.objective, run)

    def _losses(self, batch: Any, progress: float) -> dict[str, Tensor]:
        losses: dict[str, Tensor]
        if self.fabric.world_size > 1:
            losses = self._module(_Part(batch, progress))
            return losses
        # What Fabric's wrapper does for a single process, less 30 us of looking at its inputs.
        with self.fabric.autocast():
            losses = self.called(batch, progress)
        return losses

    def _parts(self, step: int) -> list[Tensor]:
        """The items of a step, cut into `accumulate` parts."""
        items = self._order.items(step)
        return [items] if self._count == 1 else list(items.tensor_split(self._count))

    def _own_parts(self, step: int) -> list[tuple[int, Tensor]]:
        """Number and items of the parts that this process computes."""
        return list(enumerate(self._parts(step)))[self.fabric.global_rank :: self.fabric.world_size]

    def _without_exchange(self) -> Any:
        return self.fabric.no_backward_sync(self._module)

    def _clip(self) -> Tensor:
        """Limit the gradients' norm and return it as it was, `[]`."""
        limit = math.inf if self.settings.clip is None else self.settings.clip
        if self._scaled:
            norm = self.fabric.clip_gradients(
                self._module, self._wrapped, max_norm=limit, error_if_nonfinite=False
            )
            assert norm is not None
            return norm
        if self.settings.clip is None:
            gradients = [p.grad for p in self._trained if p.grad is not None]
            return nn.utils.get_total_norm(gradients)
        return nn.utils.clip_grad_norm_(self._trained, limit)

    def _require_finite(self, step: int, row: list[float]) -> None:
        names = [*self._names, "gradient_norm"]
        bad = [name for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
        if self._scaled and bad == ["gradient_norm"]:
            return  # a scaled gradient may overflow: the scaler skips the step and scales less
        if bad:
            raise FailedStep(step, bad)


def looking_is_free(fabric: Fabric) -> bool:
    """Whether the host can read a result without waiting for a GPU or for other processes."""
    return fabric.device.type == "cpu" and fabric.world_size == 1


def _row(values: list[Tensor]) -> Tensor:
    return torch.stack([value.float() for value in values])


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)
