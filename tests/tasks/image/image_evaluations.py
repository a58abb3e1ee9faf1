"""Evaluations of made pictures and points as the evaluate stage would leave them."""

from __future__ import annotations

import io
import math
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from weir.artifacts.evaluation import Evaluation, parse_evaluation

BETTER = {
    "energy_score": ("energy score", "lower"),
    "crps": ("CRPS", "lower"),
    "class_accuracy": ("class accuracy", "higher"),
    "classifier_fd": ("classifier FD", "lower"),
    "coverage": ("coverage", "higher"),
    "bits_per_dim": ("bits per dimension", "lower"),
    "denoising_mse_1": ("denoising error at σ 1", "lower"),
    "energy_distance": ("energy distance", "lower"),
    "density_gap": ("density gap", "lower"),
}
DENSITY = ("flow", "plain", "gaussian", "mixture")
DENOISER = ("flow", "denoiser", "matching", "gaussian", "mixture")
# node: (kind, label, error between 0 and 1, NFE)
MODELS: dict[str, tuple[str, str, float, int | None]] = {
    "flow": ("teacher", "Score flow, EDM-Heun", 0.12, 35),
    "denoiser": ("teacher", "Denoiser (UNet)", 0.08, 35),
    "matching": ("teacher", "Flow matching", 0.1, 20),
    "plain": ("teacher", "Plain flow, softplus", 0.6, 1),
    "onestep": ("student", "One-step student", 0.11, 1),
    "gaussian": ("baseline", "Gaussian of each class", 0.4, None),
    "mixture": ("baseline", "Mixture of Gaussians", 0.25, None),
    "training": ("ceiling", "Training pictures", 0.01, None),
}
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIGMAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


def evaluations(
    nodes: tuple[str, ...] = tuple(MODELS), seeds: tuple[int, ...] = (0,), **change: Any
) -> list[Evaluation]:
    """Models of one data set."""
    return [evaluation(node, seed, **change) for node in nodes for seed in seeds]


def evaluation(
    node: str = "flow",
    seed: int = 0,
    made: dict[str, pd.DataFrame] | None = None,
    toy: bool = False,
    **change: Any,
) -> Evaluation:
    """One evaluation with its tables."""
    kind, label, error, nfe = MODELS[node]
    metrics = scores(node, seed, toy)
    document = {
        "name": f"digits-{node}-s{seed}",
        "node": f"digits-{node}",
        "seed": seed,
        "task": "image",
        "dataset": "moons" if toy else "digits",
        "kind": kind,
        "label": label,
        "metrics": metrics,
        "definitions": {
            name: {"label": BETTER[name][0], "definition": "", "better": BETTER[name][1]}
            for name in metrics
        },
        "protocol": {"split": "test", "samples": 100, "solver": "heun", "steps": nfe},
        "nfe": nfe,
        "quality_curve": [
            {"steps": n, "nfe": 2 * n - 1, "seconds": 0.1 * n, "energy_score": 2.1 + error / n}
            for n in (5, 10, 18)
        ]
        if nfe and nfe > 1
        else [],
    } | change
    return parse_evaluation(document, tables(node, seed, toy) if made is None else made)


def scores(node: str, seed: int, toy: bool) -> dict[str, float | None]:
    """Every score that a model of this kind has."""
    error = MODELS[node][2] * (1 + 0.02 * seed)
    found: dict[str, float | None] = {"energy_score": 2.12 + 0.3 * error, "crps": 0.17 + error / 9}
    if toy:
        found["energy_distance"] = 0.01 + error
    else:
        found |= {"class_accuracy": 1 - error, "classifier_fd": 9 * error, "coverage": 1 - error}
    if node in DENSITY:
        found["density_gap" if toy else "bits_per_dim"] = 0.01 + error if toy else 1.9 + error
    if node in DENOISER:
        found["denoising_mse_1"] = 0.07 + 0.2 * error
    return found


def tables(node: str, seed: int, toy: bool) -> dict[str, pd.DataFrame]:
    """The tables beside the document."""
    error = MODELS[node][2]
    random = np.random.default_rng([*node.encode(), seed])
    found = plane(node, error, random) if toy else {"pictures": pictures(node, error, random)}
    if not toy:
        found["confusion"] = confusion(error, random)
        found["nearest"] = nearest(error, random)
    if node in DENSITY and not toy:
        bits = 1.9 + error + 0.25 * random.standard_normal(300)
        found["bits"] = pd.DataFrame({"item": range(300), "label": CLASSES[0], "bits": bits})
    if node in DENOISER:
        mse = [s**2 / (s**2 + 2.5 - error) * (0.4 + error / 2) for s in SIGMAS]
        found["denoising"] = pd.DataFrame({"sigma": SIGMAS, "mse": mse})
    return found


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures `[item, 8, 8]` from 0 to 1 and their classes."""
    data = load_digits()
    return data.images / 16, data.target


def png(picture: np.ndarray) -> bytes:
    """A file of a picture with values from 0 to 1."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(picture.clip(0, 1) * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(node: str, error: float, random: np.random.Generator) -> pd.DataFrame:
    """Data, samples that are pictures with noise, and what is drawn for denoisers."""
    images, target = digits()
    rows: list[tuple[str, int, int, str, float, bytes]] = []

    def noised(picture: np.ndarray, sigma: float) -> np.ndarray:
        return picture + 0.4 * sigma * random.standard_normal(picture.shape)

    for n, name in enumerate(CLASSES):
        own = images[target == n]
        for m in range(8):
            rows.append(("data", n, m, name, math.nan, png(own[m])))
            made = png(noised(own[40 + m], error))
            rows.append(("sample", n, m, name, math.nan, made))
    for n in range(4):
        for m, sigma in enumerate(SIGMAS):
            mean = images[n] / (1 + sigma**2) + images[target == n].mean(0) * sigma / (1 + sigma)
            if node in DENOISER:
                rows.append(("noisy", n, m, CLASSES[n], sigma, png(noised(images[n], sigma))))
                rows.append(("denoise", n, m, CLASSES[n], sigma, png(mean)))
        for m in range(18 if MODELS[node][3] else 0):
            left = 4 * (1 - m / 17) ** 2
            rows.append(("trajectory", n, m, CLASSES[n], left, png(noised(images[n], left))))
    for n in range(16):
        for m in range(2):
            near = png(noised(images[n], 0.0 if m else error))
            rows.append(("neighbour", n, m, CLASSES[target[n]], 0.3 + error, near))
    return pd.DataFrame(rows, columns=["kind", "row", "column", "label", "value", "png"])


def confusion(error: float, random: np.random.Generator) -> pd.DataFrame:
    """Most samples are of the class asked for."""
    rows = []
    for name in CLASSES:
        weights = random.gamma(0.3, size=10)
        share = (1 - error) * (np.array(CLASSES) == name) + error * weights / weights.sum()
        for other, count in zip(CLASSES, random.multinomial(100, share), strict=True):
            rows.append((name, other, int(count)))
    return pd.DataFrame(rows, columns=["asked", "judged", "count"])


def nearest(error: float, random: np.random.Generator) -> pd.DataFrame:
    """Distances of samples and of test pictures."""
    parts = {"sample": 2 * (0.5 + error), "test": 1.2}
    return pd.concat(
        pd.DataFrame({"kind": kind, "distance": random.gamma(9, mean / 9, 400)})
        for kind, mean in parts.items()
    )


def plane(node: str, error: float, random: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Points around two places, samples of them, and the field of their Gaussian mixture."""
    middles = np.array([[-1.0, 0.0], [1.0, 0.5]])
    sizes = {"data": 0.3, "sample": 0.3 + 0.3 * error}
    points = []
    for kind, size in sizes.items():
        label = random.integers(2, size=800)
        place = middles[label] + size * random.standard_normal((800, 2))
        frame = pd.DataFrame({"kind": kind, "x": place[:, 0], "y": place[:, 1]})
        points.append(frame.assign(label=label))
    found = {"points": pd.concat(points, ignore_index=True)}
    if node not in DENOISER:
        return found
    grid = np.stack(np.meshgrid(np.linspace(-2.2, 2.2, 31), np.linspace(-1.5, 2, 31)), -1)
    grid = grid.reshape(-1, 2)
    fields = []
    for sigma in (0.1, 0.5, 1.0, 2.0):
        width = 0.3**2 + sigma**2
        apart = middles[None] - grid[:, None]
        parts = np.exp(-(apart**2).sum(-1) / 2 / width)
        density = parts.sum(1) / (4 * math.pi * width)
        weight = parts / parts.sum(1, keepdims=True)
        score = (weight[..., None] * apart).sum(1) / width
        frame = pd.DataFrame({"sigma": sigma, "x": grid[:, 0], "y": grid[:, 1]})
        frame = frame.assign(u=score[:, 0], v=score[:, 1])
        known = np.log(density) if node in DENSITY else np.nan
        fields.append(frame.assign(log_density=known))
    return found | {"field": pd.concat(fields, ignore_index=True)}
