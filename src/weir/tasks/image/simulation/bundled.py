"""Pictures that a dependency ships: scikit-learn's handwritten digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from weir.errors import WeirError

SHA256 = {"digits": "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"}
"""Of the bytes of the pictures, then of the labels, both uint8."""

LEVELS = {"digits": 17}


def write(name: str, folder: Path) -> list[str]:
    """Write a bundled set as `<name>.npz`; returns the names of the files.

    Raises:
        WeirError: the dependency ships other pictures than it did when Weir was tested.
    """
    digits = load_digits()
    images, labels = digits.images.astype("uint8"), digits.target.astype("uint8")
    found = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if found != SHA256[name]:
        raise WeirError(
            f"scikit-learn's {name} have SHA-256 {found}, expected {SHA256[name]}; install the "
            "pinned scikit-learn"
        )
    # numpy stamps no time into it, so that the same pictures make the same file.
    np.savez(folder / f"{name}.npz", images=images, labels=labels, levels=LEVELS[name])
    return [f"{name}.npz"]
