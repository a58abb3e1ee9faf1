"""Descriptions of artifacts as data: what is checked, and what docs/artifacts.md says."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from weir.errors import UserError, WeirError

T = TypeVar("T")

KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "whole number": (int,),
    "number": (int, float),
    "list": (list, tuple),
    "mapping": (Mapping,),
    "null": (type(None),),
}
"""Kinds of JSON values; a field's kind is one of these, or several joined by "or"."""


@dataclass(frozen=True)
class Field:
    """A key of a JSON file or a column of a table.

    Attributes:
        name: key or column.
        kind: of a key see `KINDS`; of a column its dtype.
        meaning: in words.
        required: whether it must be there.
    """

    name: str
    kind: str
    meaning: str
    required: bool = True

    def problem(self, document: Mapping[str, Any]) -> str | None:
        """What is wrong with this key of a document, None if nothing is."""
        if self.name not in document:
            return f"lacks {self.name}" if self.required else None
        value = document[self.name]
        if value is None and not self.required:
            return None
        kinds = tuple(kind for name in self.kind.split(" or ") for kind in KINDS[name])
        # True and False are numbers to Python alone.
        if isinstance(value, bool) or not isinstance(value, kinds):
            return f"{self.name} is {json.dumps(value, default=str)[:60]}, not {self.kind}"
        return None


@dataclass(frozen=True)
class Array:
    """A `.npy` file.

    Attributes:
        name: of the file, without its suffix.
        dtype: of its values.
        axes: their names; a last one with a star stands for any number of axes.
        meaning: in words.
        required: whether it must be there.
    """

    name: str
    dtype: str
    axes: tuple[str, ...]
    meaning: str
    required: bool = True

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{self.name}.npy"

    @property
    def shape(self) -> str:
        """The axes as documents write them."""
        return f"[{', '.join(self.axes)}]"

    def problem(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str | None:
        """What is wrong with an array of this dtype and shape, None if nothing is."""
        if dtype != np.dtype(self.dtype):
            return f"dtype is {dtype}, not {self.dtype}"
        fixed = sum(not axis.startswith("*") for axis in self.axes)
        if len(shape) < fixed or (len(shape) > fixed and fixed == len(self.axes)):
            return f"shape is {list(shape)}, not {self.shape}"
        return None


@dataclass(frozen=True)
class File:
    """A file of an artifact.

    Attributes:
        name: of the file, or a pattern.
        meaning: in words.
        fields: its keys or columns.
        format: what follows the name in the document, such as dtype and shape of an array.
    """

    name: str
    meaning: str
    fields: tuple[Field, ...] = ()
    format: str = ""

    @staticmethod
    def of(array: Array) -> File:
        """The file of an array."""
        return File(array.file, array.meaning, format=f"{array.dtype} `{array.shape}`")


@dataclass(frozen=True)
class Artifact:
    """What a stage leaves: a folder with files.

    Attributes:
        title: heading in the document.
        place: path below the repository.
        meaning: in words, with the stages that write and read it.
        module: that checks it.
        files: of the folder.
    """

    title: str
    place: str
    meaning: str
    module: str
    files: tuple[File, ...]


def fields_of(model: type, prefix: str = "") -> tuple[Field, ...]:
    """The fields of a dataclass with the meanings of its docstring's `Attributes`.

    Those of dataclasses within it follow, `outer.inner` or, in lists, `outer[].inner`.

    Args:
        model: the dataclass.
        prefix: of the names.
    """
    text = inspect.getdoc(model) or ""
    block = text.partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", block, re.MULTILINE)
    meanings = {
        name: re.sub(r"(?<!\.)\.$", "", " ".join(meaning.split())) for name, meaning in entries
    }
    hints = get_type_hints(model)
    found: list[Field] = []
    for field in dataclasses.fields(model):
        hint = hints[field.name]
        name = f"{prefix}{field.name}"
        required = field.default is field.default_factory is dataclasses.MISSING
        found.append(Field(name, _words(hint), meanings.get(field.name, ""), required))
        for inner in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type) and inner is not model:
                many = "[]" if get_origin(hint) is tuple else ""
                found += fields_of(inner, f"{name}{many}.")
    return tuple(found)


def _words(hint: Any) -> str:
    """A type as documents name it."""
    named = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    arguments = [_words(one) for one in get_args(hint) if one is not ...]
    if hint in named:
        return named[hint]
    if hint in (type(None), None):
        return "null"
    if hint is Any:
        return "any"
    if get_origin(hint) is Literal:
        return " or ".join(str(one) for one in get_args(hint))
    if get_origin(hint) in (tuple, list):
        pair = get_origin(hint) is tuple and ... not in get_args(hint)
        return f"pair of {arguments[0]}" if pair else f"list of {arguments[0]}"
    if get_origin(hint) is dict:
        return f"mapping to {arguments[1]}"
    return " or ".join(arguments) if arguments else "mapping"


def read_typed(model: type[T], file: Path, advice: str) -> T:
    """The dataclass `model` of a JSON file.

    Raises:
        UserError: the file is missing or damaged; `advice` says what to do.
    """
    try:
        return TypeAdapter(model).validate_json(file.read_bytes())
    except OSError:
        raise UserError(f"{file} cannot be read; {advice}") from None
    except ValidationError as error:
        raise UserError(f"{file} is damaged ({_first(error)}); {advice}") from None


def check_typed(model: type, file: Path, text: str) -> None:
    """Refuse to write what could not be read.

    Raises:
        WeirError: the JSON `text` of `file` is not that of the dataclass `model`.
    """
    try:
        TypeAdapter(model).validate_json(text)
    except ValidationError as error:
        raise WeirError(f"{file} would be damaged ({_first(error)})") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].splitlines()[0]
    return f"{where}: {message}" if where else message
