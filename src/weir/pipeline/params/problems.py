"""Wording of what is wrong in params.yaml: one line with the place, the reason and a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weir.errors import UserError, suggest
from weir.pipeline.params.yaml_file import line_of, shown
from weir.settings.base import Config


def invalid(
    path: Path, where: list[str], model: type[Config], settings: Any, error: ValidationError
) -> UserError:
    """The first of pydantic's complaints about a node, in our words."""
    # A misspelt key first: it explains the missing one.
    first, *rest = sorted(
        error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden"
    )
    keys = [key for key in first["loc"] if not isinstance(key, str) or key in _keys(settings)]
    place = ".".join(map(str, [*where, *first["loc"]]))
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        text = f"{place}: unknown key; {suggest(str(first['loc'][-1]), known)}"
    elif first["type"] == "missing":
        text = f"{place}: is required; add it"
    else:
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        got = first["input"] if isinstance(first["input"], (str, int, float, bool)) else None
        text = f"{place}: {message}" + (f", got {got!r}" if got is not None else "")
    if rest:
        text += f" (and {len(rest)} more)"
    return problem(path, [*where, *keys], text)


def _keys(value: Any) -> set[str]:
    """Every mapping key in a nested value: pydantic's locations also name union members."""
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in _keys(item))}
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    return set()


def _fields_at(model: type[Config], location: tuple[Any, ...]) -> list[str]:
    """Known keys of the nested model at `location`."""
    fields = model.model_fields
    for key in location:
        if key not in fields:
            continue
        candidates = [fields[key].annotation, *getattr(fields[key].annotation, "__args__", ())]
        nested = [item for item in candidates if hasattr(item, "model_fields")]
        if not nested:
            break
        fields = {name: field for item in nested for name, field in item.model_fields.items()}
    return list(fields)


def problem(path: Path, keys: list[Any], text: str) -> UserError:
    """An error that begins with the file and the line of the key it is about."""
    line = line_of(path, keys)
    return UserError(f"{shown(path)}:{line}: {text}" if line else f"{shown(path)}: {text}")
