"""What the rest of Weir has to be told of points on a line; nothing is imported here."""

CEILINGS, COMMANDS = (), ()
HEADLINES = {"energy_score": "lower"}
