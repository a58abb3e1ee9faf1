"""Where a training runs: read from the environment, since it is not a parameter of the result.

`WEIR_ACCELERATOR` (auto, cpu, cuda, mps), `WEIR_DEVICES` (processes per node), `WEIR_NODES` and
`WEIR_STRATEGY` (auto, ddp, ddp_find_unused_parameters_true). One device is the default.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.utils.deterministic

from weir.errors import UserError
from weir.processes import count, started_by_slurm

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def _choice(name: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(name, "auto")
    if value not in allowed:
        raise UserError(f"{name}={value}: choose one of {', '.join(allowed)}")
    return value


def default_device() -> torch.device:
    """The device on which this process computes outside a training."""
    accelerator = _choice("WEIR_ACCELERATOR", _ACCELERATORS)
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if accelerator in ("cuda", "gpu"):
        raise UserError(f"WEIR_ACCELERATOR={accelerator}: no GPU is visible here; unset it")
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    if accelerator == "mps":
        raise UserError("WEIR_ACCELERATOR=mps: not available here; unset it")
    return torch.device("cpu")


def open_fabric(precision: str) -> Fabric:
    """Lightning Fabric as the environment asks, its processes started.

    Args:
        precision: `fp32`, `bf16` or `fp16`, the latter two with weights kept in fp32.

    Raises:
        UserError: an environment variable is wrong, or the device cannot do it.
    """
    # cuBLAS reads it once, before its first product; without it torch refuses to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # greets every training
    devices, nodes = count("WEIR_DEVICES"), count("WEIR_NODES")
    device = default_device()
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision fp16 needs a GPU; choose bf16 or fp32 to train on a CPU")
    strategy = _choice("WEIR_STRATEGY", _STRATEGIES)
    if devices * nodes > 1 and strategy == "auto":
        # Some objectives have terms that not every part of a batch reaches, such as items with an
        # outcome; plain DDP, which is a little faster, would wait for their gradients forever.
        strategy = "ddp_find_unused_parameters_true"
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UserError(f"WEIR_DEVICES={devices}: {torch.cuda.device_count()} GPUs are visible")
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy if devices * nodes > 1 else "auto",
        precision=_PRECISIONS[precision],
        # Told, since Fabric takes every Slurm job for one whose processes srun has started.
        plugins=[SLURMEnvironment() if started_by_slurm() else LightningEnvironment()],
    )
    if devices * nodes > 1:
        fabric.launch()
    return fabric


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside, an operation that has no deterministic implementation is an error.

    Not a warning: Weir promises that a resumed training ends with the same bytes, the networks
    are Weir's own, and torch's message names the operation to replace. Without the strict form
    torch also picks a non-deterministic attention backward pass on GPUs.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # a property that annotations do not know
    fill = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        memory.fill_uninitialized_memory = fill
