"""What tracking costs a training loop, and what it costs a stage.

    python benchmarks/tracking_overhead.py [--steps 400] [--blocks 10]

Prints JSON. `loop_overhead` is the ratio of the medians, minus one, of loops with and without a
tracker, taken in turns in one process: a step is 5 ms of arithmetic, and every step logs five
scores, more than training does. `stage_s` is the extra wall time of a process that does nothing
but open a run, log and close it: first in an empty repository (MLflow's import and fifty
migrations), then while the shipper of the first is still there.
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


def step(seconds: float) -> float:
    """Arithmetic that keeps one core busy for a while."""
    total, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        total += sum(range(50))
    return total


def loop_overhead(root: Path, steps: int, blocks: int) -> dict[str, float]:
    """Seconds of CPU and wall per step with and without a tracker."""
    tracker = open_tracker(root)
    times: dict[str, list[float]] = {"off": [], "on": [], "call": []}
    for block in range(blocks):
        for mode in ("off", "on") if block % 2 else ("on", "off"):
            started = time.perf_counter()
            for index in range(steps):
                step(0.005)
                if mode == "on":
                    called = time.perf_counter()
                    scores = {f"metric{i}": index * 0.1 for i in range(5)}
                    tracker.log_metrics(scores, step=block * steps + index)
                    times["call"].append(time.perf_counter() - called)
            times[mode].append((time.perf_counter() - started) / steps)
    tracker.close()
    off, on = statistics.median(times["off"]), statistics.median(times["on"])
    return {
        "step_off_ms": round(off * 1e3, 3),
        "step_on_ms": round(on * 1e3, 3),
        "loop_overhead": round(on / off - 1, 4),
        "call_us_median": round(statistics.median(times["call"]) * 1e6, 1),
        "call_us_p99": round(sorted(times["call"])[int(0.99 * len(times["call"]))] * 1e6, 1),
    }


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
