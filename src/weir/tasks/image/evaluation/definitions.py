"""The words that stand beside every score of made pictures, and what a good value is."""

from __future__ import annotations

from weir.artifacts.evaluation import Definition

_UNIT = "pixels from -1 to 1, a toy's own coordinates; dequantised"
_FEATURES = "features of the data set's classifier"
_CLASSES = "classes"
_SHARES = "samples in the held-out items' shares of the classes"
_TEST = "mean over held-out items, each against the samples of its class"
_BITS = (
    "-log2 of the density of a picture's dequantised levels, per channel and pixel and per level's "
    "width, so that it bounds the levels' own bits from above; mean over items, each with uniform "
    "noise drawn again until there are 1000; "
)

DEFINITIONS: dict[str, Definition] = {
    "energy_score": Definition(
        "energy score",
        f"fair energy score E|X - y| - E|X - X'| / 2 with the Euclidean norm; {_TEST}",
        _UNIT,
        "lower",
    ),
    "crps": Definition(
        "CRPS", f"fair CRPS of a single value, mean over pixels; {_TEST}", _UNIT, "lower"
    ),
    "spread_ratio": Definition(
        "spread ratio",
        "root of the samples' variance about the mean of their class, mean over pixels and "
        "classes, over that of held-out items",
        _UNIT,
        1.0,
    ),
    "class_accuracy": Definition(
        "class accuracy",
        "share of samples that the data set's classifier takes for the class asked for, as many of "
        "each class; of held-out items it knows fewer than of training items",
        _CLASSES,
        "higher",
    ),
    "missing_classes": Definition(
        "missing classes",
        "number of classes that samples are judged to be less than a fifth as often as held-out "
        "items are of them",
        _CLASSES,
        "lower",
    ),
    "classifier_fd": Definition(
        "classifier FD",
        "Frechet distance of Gaussians with the moments of samples and held-out items; biased "
        f"upwards by their number, so that real samples are above 0 too; {_SHARES}",
        _FEATURES,
        "lower",
    ),
    "classifier_kid": Definition(
        "classifier KID",
        f"unbiased squared MMD with a cubic kernel, pairs of one set by class; {_SHARES}",
        _FEATURES,
        "lower",
    ),
    "precision": Definition(
        "precision",
        "share of samples in a ball that reaches from a held-out item to its 3rd neighbour; real "
        "samples are below 1",
        _FEATURES,
        "higher",
    ),
    "recall": Definition(
        "recall",
        "share of held-out items in a ball that reaches from a sample to its 3rd neighbour; for "
        "real samples below 1",
        _FEATURES,
        "higher",
    ),
    "density": Definition(
        "density",
        "balls of held-out items, each to its 5th neighbour, that a sample lies in, over 5; above "
        "1 where samples crowd in the middle",
        _FEATURES,
        1.0,
    ),
    "coverage": Definition(
        "coverage",
        "share of held-out items whose ball, to their 5th neighbour, holds a sample; about .97 for "
        "as many real samples",
        _FEATURES,
        "higher",
    ),
    "bits_per_dim": Definition(
        "bits per dimension",
        f"{_BITS}of all classes together, sum over classes of p(x | class) times the class's share "
        "of the training items",
        _UNIT,
        "lower",
    ),
    "bits_per_dim_class": Definition(
        "bits per dimension, class known", f"{_BITS}given the item's class", _UNIT, "lower"
    ),
    "bayes_accuracy": Definition(
        "Bayes accuracy",
        "share of held-out items whose class is the likeliest by the model's density and the "
        "training items' shares of the classes",
        _UNIT,
        "higher",
    ),
    "density_gap": Definition(
        "density gap",
        "mean over held-out points of log p - log q, p the known density of all classes and q the "
        "model's, nats: an estimate of the Kullback-Leibler divergence",
        _UNIT,
        "lower",
    ),
    "energy_distance": Definition(
        "energy distance",
        "2 E|X - Y| - E|X - X'| - E|Y - Y'| of all classes together, without bias; "
        f"{_SHARES}, at most 3000",
        _UNIT,
        "lower",
    ),
    "nearest_ratio": Definition(
        "nearest-neighbour ratio",
        "median Euclidean distance of samples to the nearest training item, over that of held-out "
        "items, at most 1000 of each; below 1 they lie nearer to training items than new ones do",
        _UNIT,
        1.0,
    ),
    "two_sample_auc": Definition(
        "two-sample AUC",
        "cross-validated AUC of boosted trees that tell samples from held-out items by values and "
        f"class, at most 2000 of each; {_SHARES}; one half if they cannot",
        _UNIT,
        0.5,
    ),
}
"""Every score but the denoiser's, in the order of the tables."""


def definition(name: str) -> Definition:
    """What a score is; that of a denoiser has the noise at the end of its name."""
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    level = name.rsplit("_", 1)[1]
    return Definition(
        f"denoising error at σ {level}",
        "mean squared error of the guessed picture, the class told, under Gaussian noise of "
        f"{level} standard deviations of the data; a share of the data's variance",
        "pixels in standard deviations of all training pixels",
        "lower",
    )


def ordered(scores: dict[str, float]) -> dict[str, float]:
    """The scores in the order of the tables, a denoiser's at the end."""
    known = {name: scores[name] for name in DEFINITIONS if name in scores}
    return known | scores
