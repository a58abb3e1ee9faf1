"""Fingerprints: what a result depends on, in one hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir.files import digest


def fingerprint(
    stage: str, key: str, config: Mapping[str, Any], inputs: Mapping[str, str], code: str
) -> str:
    """Identity of a run: parameters, inputs and code. A checkpoint of another is never resumed.

    Args:
        inputs: digest of each input folder by its role.
        code: digest of the code that the stage imports.
    """
    parts = {
        "stage": stage,
        "run": key,
        "config": config,
        "inputs": dict(inputs),
        "code": code,
    }
    return digest(parts)[:16]
