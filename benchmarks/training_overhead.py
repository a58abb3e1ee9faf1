"""What the training loop costs beside a bare torch loop that does the same arithmetic.

    python benchmarks/training_overhead.py [--steps 400] [--threads 1]

Both train the same small transformer with the same fused AdamW, clipping and batches. They take
turns step by step (the bare step runs inside the objective of `weir.training.loop.train`, its time
taken out), so that a busy machine hurts both alike; times are of the processor, not of the wall.
Printed as JSON: milliseconds per step, their ratio, and the cost of single parts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from weir.settings.training import Training
from weir.training.loop import train
from weir.training.objective import Objective
from weir.training.order import Order, mix, seed_draws

ITEMS, BATCH, TOKENS, WIDTH = 1000, 16, 32, 64
WARM = 20
"""First steps, left out."""


class Sequences:
    """`x [item, token, width]`, resident."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Sequences:
        return Sequences(self.x.to(device))

    def batch(self, items: Tensor) -> Tensor:
        return self.x[items]


class Denoise(Objective):
    """Removes noise; calls `between()` first, when training."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.between: Callable[[], None] = lambda: None

    def forward(self, batch: Tensor, progress: float) -> dict[str, Tensor]:
        self.between()
        noisy = batch + torch.randn_like(batch)
        return {"loss": (self.model(noisy) - batch).square().mean()}


def transformer() -> nn.Module:
    """About 5 ms a step on one free core."""
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def matrix() -> nn.Module:
    """The step is all overhead."""
    return nn.Linear(WIDTH, WIDTH)


def bare_step(objective: Objective, data: Sequences) -> Callable[[], None]:
    """A step of the shortest loop one would write by hand."""
    parameters = list(objective.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def step() -> None:
        objective(data.batch(torch.randint(ITEMS, (BATCH,))), 0.0)["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def compare(build: Callable[[], nn.Module], steps: int, **settings: object) -> dict[str, float]:
    """Both loops in turns: milliseconds of the processor per step, and how they relate."""
    data = Sequences(torch.randn(ITEMS, TOKENS, WIDTH))
    step = bare_step(Denoise(build()), data)
    bare: list[float] = []
    weir: list[float] = []
    left = time.process_time()

    def between() -> None:
        nonlocal left
        entered = time.process_time()
        weir.append(entered - left)
        torch.use_deterministic_algorithms(False)
        step()
        torch.use_deterministic_algorithms(True)
        left = time.process_time()
        bare.append(left - entered)

    objective = Denoise(build())
    objective.between = between
    values = {"steps": steps, "batch_size": BATCH, "checkpoint_every": 10**9, **settings}
    with tempfile.TemporaryDirectory() as folder:
        train(
            objective,
            data,
            None,
            Training.model_validate(values),
            seed=0,
            checkpoints=Path(folder),
            log=lambda values, step: None,
        )
    theirs, ours = statistics.median(bare[WARM:]), statistics.median(weir[WARM:])
    return {
        "bare_ms": round(1e3 * theirs, 3),
        "weir_ms": round(1e3 * ours, 3),
        "ratio": round(ours / theirs, 4),
        "added_us": round(1e6 * (ours - theirs), 1),
    }


def microseconds(call: Callable[[int], object], repeats: int = 2000) -> float:
    """Median time of one call."""
    times = []
    for number in range(repeats):
        begin = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - begin)
    return round(1e6 * statistics.median(times), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    order, device = Order(ITEMS, BATCH, 0), torch.device("cpu")
    report = {
        "threads": options.threads,
        "transformer": compare(transformer, options.steps),
        "transformer, ema": compare(transformer, options.steps, ema=0.99),
        "one matrix": compare(matrix, 5 * options.steps),
        "parts_us": {
            "seed_draws": microseconds(lambda s: seed_draws(mix(0, s, 0), device)),
            "torch.manual_seed": microseconds(torch.manual_seed, 200),
            "order": microseconds(order.items),
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
