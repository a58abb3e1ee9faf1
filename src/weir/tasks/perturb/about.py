"""What the rest of Weir has to be told of perturbation responses; nothing is imported here."""

from __future__ import annotations

CEILINGS = ("oracle", "split_half")
"""Baselines that know the truth, or give half of the true cells for the other half."""

HEADLINES = {"pearson_delta": "higher", "energy_distance": "lower"}
"""Scores by which the tracking server's table is sorted, the first that is there, and which
values are better."""

COMMANDS = ("prediction.commands",)
"""Modules of this task that bring commands to the command line."""
