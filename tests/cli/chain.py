"""A tiny pipeline: its params.yaml, and every stage in order as one would type it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from weir.cli import main

PARAMS = """\
seeds: [0, 1]
datasets:
  brook:
    task: forecast
    source: {simulator: {rows: 500, variables: 2}}
    frequency: 1h
    cycle: 6
    lookback: 12
    horizon: 4
stage1:
  net:
    dataset: brook
    backbone: &small {width: 8, layers: 1, heads: 2}
    training: &short {steps: 4, batch_size: 8, validate_every: 2}
stage2:
  flow: {stage1: net, network: *small, training: *short}
joint:
  both: {dataset: brook, backbone: *small, network: *small, training: *short}
teacher:
  flow: {model: stage2/flow, steps: 3, draws: 2, conditions: 20, knots: 1}
  both: {model: joint/both, steps: 3, draws: 2, conditions: 20}
distill:
  regression: {teacher: flow, draws: 2, training: *short}
  endpoint: {teacher: flow, draws: 2, method: endpoint, training: *short}
  energy: {teacher: both, draws: 2, method: energy, training: *short}
  match-mean: {teacher: flow, draws: 2, method: match_mean, training: *short}
baseline:
  naive: {method: seasonal_naive, dataset: brook}
  dlinear: {method: dlinear, dataset: brook, training: *short}
  oracle: {method: oracle, dataset: brook}
  gaussian: {method: gaussian, stage1: net}
  bootstrap: {method: bootstrap, stage1: net}
  correlated: {method: correlated_gaussian, stage1: net}
  head: {method: head, stage1: net}
  copula: {method: head_copula, stage1: net}
evaluate:
  net: {model: stage1/net, samples: 5}
  flow: {model: stage2/flow, samples: 5, steps: 2, quality_steps: [1]}
  both: {model: joint/both, samples: 5, steps: 2}
  regression: {model: distill/regression, samples: 5}
  naive: {model: baseline/naive, samples: 5}
  oracle: {model: baseline/oracle, samples: 5}
  copula: {model: baseline/copula, samples: 5}
report:
  index: {title: Tiny}
"""

CHAIN = [
    "fetch brook",
    "preprocess brook",
    "stage1 net --seed 0",
    "stage2 flow --seed 0",
    "joint both --seed 0",
    "teacher flow --seed 0",
    "teacher both --seed 0",
    *(f"distill {name} --seed 0" for name in ("regression", "endpoint", "energy", "match-mean")),
    *(f"baseline {name}" for name in ("naive", "oracle")),
    *(
        f"baseline {name} --seed 0"
        for name in ("dlinear", "gaussian", "bootstrap", "correlated", "head", "copula")
    ),
    *(f"evaluate {name} --seed 0" for name in ("net", "flow", "both", "regression", "copula")),
    *(f"evaluate {name}" for name in ("naive", "oracle")),
    "report index",
]


def run_chain(root: Path, params: str, chain: Sequence[str]) -> Path:
    """Make a folder a repository with these parameters, and run its stages; returns it."""
    (root / "dvc.yaml").touch()
    (root / "params.yaml").write_text(params)
    before = Path.cwd()
    os.chdir(root)
    os.environ["WEIR_TRACKING"] = "off"
    try:
        for words in chain:
            assert main(words.split()) == 0, words
    finally:
        os.chdir(before)
        del os.environ["WEIR_TRACKING"]
    return root
