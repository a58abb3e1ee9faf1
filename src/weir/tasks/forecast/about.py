"""What the rest of Weir has to be told of forecasting; nothing is imported here."""

from __future__ import annotations

CEILINGS = ("oracle",)
"""Baselines that know the truth: no model can be better but by luck."""

HEADLINES = {"crps": "lower"}
"""Scores by which the tracking server's table is sorted, the first that is there, and which
values are better."""

COMMANDS = ()
"""Modules of this task that bring commands to the command line."""
