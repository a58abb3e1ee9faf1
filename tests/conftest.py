"""Settings of the whole test suite."""

from __future__ import annotations

import os

# Before torch is imported: two test processes share two cores. Numba, which scanpy loads, sets
# OpenMP's threads to all cores, for torch as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from jaxtyping import install_import_hook

# Shapes and types of the numerical rooms are checked while testing, and only then.
install_import_hook(
    ["weir.flows", "weir.networks", "weir.metrics", "weir.distillation"],
    "beartype.beartype",
)
