"""Classifier two-sample tests: whether a classifier can tell two sets of samples apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@dataclass(frozen=True)
class TwoSampleTest:
    """Outcome of the test.

    Attributes:
        accuracy: share of held-out samples put into the right set; one half where the two sets
            follow the same law, as far as the classifier can tell.
        p_value: probability of at least this accuracy under the same law.
        items: samples classified.
    """

    accuracy: float
    p_value: float
    items: int


def classifier_two_sample_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: tuple[ArrayLike, ArrayLike] | None = None,
    folds: int = 5,
    classifier: ClassifierMixin | None = None,
    seed: int = 0,
) -> TwoSampleTest:
    """Train a classifier on both sets, and score it on samples that it has not seen.

    Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests". Every sample is held out
    once. To compare conditional laws, append the condition to the features and pass `groups`, so
    that no condition is seen both in training and in testing.

    Args:
        a: `[sample, feature]`.
        b: `[sample, feature]`, as many samples as `a`, so that chance is one half.
        groups: `[sample]` for each set, labels of the samples that stay in one fold together.
        folds: parts of the cross-validation.
        classifier: scikit-learn classifier; None takes a small standardised MLP.
        seed: of the folds and of the default classifier.
    """
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"sets of shapes {first.shape} and {second.shape} are not comparable")
    features = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    if classifier is None:
        network = MLPClassifier((64,), early_stopping=True, max_iter=100, random_state=seed)
        classifier = make_pipeline(StandardScaler(), network)
    if groups is None:
        cut, together = StratifiedKFold(folds, shuffle=True, random_state=seed), None
    else:
        cut, together = GroupKFold(folds), np.concatenate([np.asarray(g) for g in groups])
    guesses = cross_val_predict(classifier, features, labels, cv=cut, groups=together)
    accuracy = float((guesses == labels).mean())
    deviation = 0.5 / np.sqrt(len(labels))
    return TwoSampleTest(accuracy, float(norm.sf((accuracy - 0.5) / deviation)), len(labels))


def boosted_auc(
    a: ArrayLike, b: ArrayLike, *, folds: int = 3, seed: int = 0, **trees: Any
) -> float:
    """AUC with which boosted trees tell held-out samples of `a` from those of `b`.

    One half if they cannot. Finer than an accuracy where the sets are nearly told apart.

    Args:
        a: `[sample, feature]`, finite.
        b: `[sample, feature]`, as many samples as `a`.
        folds: parts of the cross-validation.
        seed: of the folds and of the trees.
        trees: further settings of scikit-learn's `HistGradientBoostingClassifier`.
    """
    features = np.concatenate([np.asarray(a), np.asarray(b)])
    labels = np.repeat([1, 0], [len(np.asarray(a)), len(np.asarray(b))])
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    classifier = HistGradientBoostingClassifier(max_features=0.3, random_state=seed, **trees)
    chances = cross_val_predict(classifier, features, labels, cv=cut, method="predict_proba")
    return float(roc_auc_score(labels, chances[:, 1]))
