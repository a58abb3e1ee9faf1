"""Settings as MLflow can hold them: flat, dotted names with short values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

VALUE_LIMIT = 6000
"""Longest value of a parameter or tag that MLflow accepts, in characters (tags: 8000)."""
KEY_LIMIT = 250

_FORBIDDEN = re.compile(r"[^\w\-./: ]")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name.

    >>> flatten({"stage1": {"width": 64, "layers": [1, 2]}, "seed": 0})
    {'stage1.width': 64, 'stage1.layers': [1, 2], 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def entity_key(name: str) -> str:
    """A name that MLflow accepts: other characters become `_`, a longer one is cut.

    >>> entity_key("coverage@90%")
    'coverage_90_'
    """
    return _FORBIDDEN.sub("_", name)[:KEY_LIMIT]


def entity_value(value: Any) -> str:
    """A value as text, cut with a note if it is too long."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple, dict)):
        text = json.dumps(value, default=str)
    else:
        text = str(value)
    if len(text) <= VALUE_LIMIT:
        return text
    note = f"... [cut: {len(text)} characters]"
    return text[: VALUE_LIMIT - len(note)] + note
