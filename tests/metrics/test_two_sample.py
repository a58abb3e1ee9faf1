"""AUC of a classifier that tells two sets of samples apart."""

import numpy as np
import pytest

from weir.metrics.two_sample import boosted_auc


def test_boosting_ranks_as_well_as_it_can() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1500, 2))
    assert boosted_auc(a, b) == pytest.approx(0.5, abs=0.04)
    # Of two normals whose means differ by 2: Phi(sqrt 2).
    found = boosted_auc(a, b + np.array([2.0, 0.0]), max_iter=40)
    assert found == pytest.approx(0.921, abs=0.02)
