"""The words that stand beside every score."""

from weir.artifacts.evaluation import Definition

DEFINITIONS = {
    "energy_score": Definition("energy score", "fair, mean over points", "raw", "lower"),
    "spread_ratio": Definition("spread ratio", "deviation, samples' over points'", "none", 1.0),
}
