"""Speed of the scores against scoringrules, as ratios within one run on one core.

    python benchmarks/metrics.py [--windows 64]

The ensembles have the size of ETTh1's forecasts: 100 members, 96 steps, 7 variables. `naive` is
scoringrules' O(m^2) NumPy estimator, `best` its fastest fair one, where it has one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import scoringrules
import torch
from torch import Tensor

from weir.metrics.scores import crps, energy_score, variogram_score

MEMBERS, STEPS, VARIABLES = 100, 96, 7


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Least wall time of a few calls, after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=64, help="forecasts in the benchmark")
    windows = parser.parse_args().windows
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    torch.manual_seed(0)
    samples = torch.randn(windows, MEMBERS, STEPS, VARIABLES)
    truth = torch.randn(windows, STEPS, VARIABLES)
    columns = samples.permute(0, 2, 3, 1).contiguous()
    paths, path = samples.flatten(2), truth.flatten(1)
    few = slice(0, 24)  # all pairs of 672 coordinates would take the naive score minutes

    def rules(score: Callable, x: Tensor, y: Tensor, **options: object) -> Callable[[], object]:
        return lambda: score(y.numpy(), x.numpy(), **options)

    numpy, fast = {"backend": "numpy"}, {"backend": "numba"}
    runs = {
        "CRPS": (
            lambda: crps(columns, truth),
            rules(scoringrules.crps_ensemble, columns, truth, estimator="fair", **numpy),
            rules(scoringrules.crps_ensemble, columns, truth, estimator="fair", **fast),
        ),
        "energy score": (
            lambda: energy_score(paths, path),
            rules(scoringrules.es_ensemble, paths[:8], path[:8], estimator="fair", **numpy),
            rules(scoringrules.es_ensemble, paths, path, estimator="fair", **fast),
        ),
        "variogram score, 24 coordinates": (
            lambda: variogram_score(paths[..., few], path[..., few], fair=False),
            rules(scoringrules.vs_ensemble, paths[..., few], path[..., few], **numpy),
            rules(scoringrules.vs_ensemble, paths[..., few], path[..., few], **fast),
        ),
    }
    print(f"{windows} windows x {MEMBERS} x {STEPS} x {VARIABLES}, one core, float32")
    print(f"{'score':34}{'weir, s':>10}{'naive / weir':>14}{'best / weir':>14}")
    for name, (weir, naive, best) in runs.items():
        own = seconds(weir)
        # NumPy's energy score holds windows x m x m x 672 values, so it runs on 8 windows.
        slow = seconds(naive, 1) * (windows / min(8, windows) if name == "energy score" else 1)
        print(f"{name:34}{own:10.3f}{slow / own:14.1f}{seconds(best) / own:14.1f}")


if __name__ == "__main__":
    main()
