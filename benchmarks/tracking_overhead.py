"""What tracking costs a training loop, and what it costs a stage.

    python benchmarks/tracking_overhead.py [--steps 400] [--blocks 10]

Prints JSON. `loop_overhead` is the ratio, minus one, of the processor time of loops with and
without a tracker, taken in turns in one process: a step is 5 ms of arithmetic, and every step logs
five scores, more than training does. The shipper works beside it, on another core if there is one.
`stage_*_extra_s` is the extra wall time of a process that does nothing but open a run, log and
close it: the first in an empty repository (MLflow's import and fifty migrations), and the next ones
while the shipper of the first is still there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from weir.tracking.run import open_stage
from weir.tracking.tracker import Tracker

STAGE = """
import sys
from pathlib import Path
from weir.tracking.run import open_stage
with open_stage(Path(sys.argv[1]), section="stage1", key="toy-s0", name="toy", seed=0,
                task="forecast", dataset="toy") as tracker:
    tracker.log_params({"width": 64})
    tracker.log_metrics({"loss": 1.0})
"""


def open_tracker(root: Path) -> Tracker:
    """A run of a toy stage."""
    return open_stage(
        root, section="stage1", key="toy-s0", name="toy", seed=0, task="forecast", dataset="toy"
    )


def work(units: int) -> float:
    """A fixed amount of arithmetic, about 50 microseconds a unit."""
    total = 0.0
    for _ in range(units):
        total += sum(range(4000))
    return total


def units_of(seconds: float) -> int:
    """How many units take that long on this core."""
    started = time.thread_time()
    work(400)
    return max(1, round(seconds * 400 / (time.thread_time() - started)))


def loop_overhead(root: Path, steps: int, blocks: int) -> dict[str, float]:
    """Cost per step with and without a tracker.

    Processor time of the training process, which a busy machine does not distort, wall time, and
    what the shipper used beside it.
    """
    tracker = open_tracker(root)
    units = units_of(0.005)
    wall: dict[bool, list[float]] = {True: [], False: []}
    processor: dict[bool, list[float]] = {True: [], False: []}
    before = shipper_seconds(root)
    for block in range(blocks):
        for tracked in (False, True) if block % 2 else (True, False):
            started, used = time.perf_counter(), time.process_time()
            for index in range(steps):
                work(units)
                if tracked:
                    scores = {f"metric{i}": index * 0.1 for i in range(5)}
                    tracker.log_metrics(scores, step=block * steps + index)
            wall[tracked].append((time.perf_counter() - started) / steps)
            processor[tracked].append((time.process_time() - used) / steps)
    shipped = shipper_seconds(root) - before
    tracker.close()
    off, on = statistics.median(processor[False]), statistics.median(processor[True])
    return {
        "step_ms": round(off * 1e3, 3),
        "loop_overhead": round(on / off - 1, 4),
        "loop_overhead_wall": round(
            statistics.median(wall[True]) / statistics.median(wall[False]) - 1, 4
        ),
        "call_us": round((on - off) * 1e6, 1),
        "shipper_ms_per_step": round(shipped / (steps * blocks) * 1e3, 3),
    }


def shipper_seconds(root: Path) -> float:
    """Processor time that the shipper of `root` has used."""
    command = [sys.executable, "-m", "weir.tracking.shipper", str(root)]
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        if process.info["cmdline"] == command:
            return process.info["cpu_times"].user + process.info["cpu_times"].system
    return 0.0


def stage_seconds(root: Path, switch: str) -> float:
    """Wall time of a process that records one small run."""
    started = time.perf_counter()
    environment = {**os.environ, "WEIR_TRACKING": switch}
    subprocess.run([sys.executable, "-c", STAGE, str(root)], env=environment, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--blocks", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        off = statistics.median(stage_seconds(root, "off") for _ in range(3))
        first = stage_seconds(root, "on")
        next_ones = statistics.median(stage_seconds(root, "on") for _ in range(5))
        figures = {
            "stage_off_s": round(off, 2),
            "stage_first_extra_s": round(first - off, 2),
            "stage_next_extra_s": round(next_ones - off, 2),
            **loop_overhead(root, options.steps, options.blocks),
            "load": [round(value, 1) for value in os.getloadavg()],
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
