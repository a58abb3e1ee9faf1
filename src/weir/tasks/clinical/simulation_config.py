"""Settings of the simulator of clinical records."""

from __future__ import annotations

from weir.config.base import Config


class Simulation(Config):
    """Settings of the simulator."""
