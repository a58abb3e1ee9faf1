"""Base of every typed section of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints


class Config(BaseModel):
    """A typed part of params.yaml: unknown keys are errors, values are final, NaN is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    def check_against_upstream(self, above: Sequence[Config]) -> None:
        """Check a node's settings against those of the nodes that it is built on.

        Args:
            above: nearest first.

        Raises:
            ValueError: they do not go together; the message says which, and how to fix it.
        """


NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
"""Name of a node: lower-case words and digits joined by single hyphens."""


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
