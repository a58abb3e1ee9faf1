"""`weir ui`: the MLflow UI on loopback."""

from __future__ import annotations

import argparse

from weir.pipeline.layout import find_root
from weir.tracking.server import ui


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    return ui(find_root(), options.port)
