"""`weir tracking sync`: replay what was spooled while the tracking store was unreachable."""

from __future__ import annotations

import argparse
import os

from weir.pipeline.layout import find_root
from weir.tracking.shipper import sync


def run(options: argparse.Namespace) -> int:
    """Replay the spool and say how much arrived; exit code 2 if something could not be sent."""
    # No stage waits for this: a server that is only slow gets its time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    report = sync(find_root(), options.to)
    print(report)
    return 2 if report.waiting else 0
