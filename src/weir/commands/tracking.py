"""`weir tracking sync`: replay what was spooled while the tracking store was unreachable."""

from __future__ import annotations

import argparse

from weir.pipeline.layout import find_root
from weir.tracking.sync import sync


def run(options: argparse.Namespace) -> None:
    """Replay the spool and say how much arrived."""
    print(sync(find_root()))
