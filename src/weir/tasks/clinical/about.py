"""What the rest of Weir has to be told of clinical records; nothing is imported here."""

from __future__ import annotations

CEILINGS = ("oracle",)
"""Baselines that know the truth: no model can be better but by luck."""

HEADLINES = {"auroc": "higher", "accuracy": "higher"}
"""Scores by which the tracking server's table is sorted, the first that is there, and which
values are better."""

COMMANDS = ("prediction.commands",)
"""Modules of this task that bring commands to the command line."""
