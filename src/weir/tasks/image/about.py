"""What the rest of Weir has to be told of pictures; nothing is imported here."""

from __future__ import annotations

CEILINGS = ("training_images",)
"""Baselines that give real items as made ones."""

HEADLINES = {
    "crps": "lower",
    "energy_distance": "lower",
    "classifier_fd": "lower",
    "bits_per_dim": "lower",
}
"""Scores by which the tracking server's table is sorted, the first that is there, and which
values are better."""

COMMANDS = ()
"""Modules of this task that bring commands to the command line."""
