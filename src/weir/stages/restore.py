"""Models from their cards: settings and schema are checked once, and travel typed from there.

A door is the module of a task that builds the models of a section. A stage's hash of code follows
only the doors of the kinds of model that its run works with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from weir.artifacts.model_folder import CardError, ModelCard, load_model
from weir.errors import UserError
from weir.settings.base import Config
from weir.tasks import TASKS, part


def build_model(card: ModelCard) -> nn.Module:
    """An untrained model of the shape that a card states, on those that it is built on.

    What is below is built first, which fixes the order in which random weights are drawn.

    Raises:
        CardError: this version of Weir does not read the card.
        UserError: its settings do not fit its data, or what it is built on.
    """
    config, schema = settings_of(card), schema_of(card)
    below: Any = build_model(card.parent()) if card.upstream else None
    try:
        # Each door is opened here, and not passed on: of each only `build` is followed by the hash.
        match card.section:
            case "stage1":
                return part(card.task, "representation.stage1").build(config, schema)
            case "stage2":
                return part(card.task, "flow.stage2").build(config, schema, below)
            case "joint":
                return part(card.task, "flow.joint").build(config, schema)
            case "baseline":
                return part(card.task, "baselines.baseline").build(config, schema, below)
            case _:
                return below.as_student(config)
    except UserError as error:
        raise UserError(f"{card.section}.{card.name}: {error}") from None


def restore(folder: Path) -> nn.Module:
    """The model of a folder, in evaluation mode, whatever its section and task.

    Raises:
        UserError: no model folder, a damaged one, or one of another version of Weir.
    """
    return load_model(folder, build_model)


def settings_of(card: ModelCard) -> Config:
    """The typed settings of a card's node.

    Raises:
        CardError: it has a setting that this version does not know, lacks one, or one is invalid.
    """
    node = f"{card.section}/{card.name}"
    if card.task not in TASKS:
        raise CardError(f"task {card.task!r} is not known to this version of Weir")
    model = part(card.task, "settings.sections").SECTIONS.get(card.section)
    if model is None:
        raise CardError(f"section {card.section!r} is not known to this version of Weir")
    try:
        config = model.model_validate(card.config)
    except ValidationError as error:
        raise CardError(f"{node}: {_first(error, 'setting')}") from None
    # A default may be another one than when the model was trained, so none is filled in.
    if missing := _missing(config.model_dump(mode="json"), card.config):
        raise CardError(f"{node}: setting {missing} is missing")
    return config


def schema_of(card: ModelCard) -> Any:
    """The typed schema of the data that a card's model was trained on.

    Raises:
        CardError: an entry is missing or invalid.
    """
    if card.task not in TASKS:
        raise CardError(f"task {card.task!r} is not known to this version of Weir")
    try:
        return TypeAdapter(part(card.task, "data.schema").Schema).validate_python(card.schema)
    except ValidationError as error:
        node = f"{card.section}/{card.name}"
        raise CardError(f"{node}: {_first(error, 'entry schema.', '')}") from None


def _first(error: ValidationError, what: str, space: str = " ") -> str:
    """The first complaint, as words of one line."""
    first = error.errors()[0]
    place = f"{what}{space}{'.'.join(map(str, first['loc']))}" if first["loc"] else "its settings"
    match first["type"]:
        case "extra_forbidden":
            return f"{place} is not known to this version of Weir"
        case "missing":
            return f"{place} is missing"
    words = " ".join(str(first["msg"]).removeprefix("Value error, ").split())
    return f"{place} is not valid ({words})"


def _missing(whole: dict[str, Any], found: dict[str, Any], above: str = "") -> str | None:
    """Place of the first setting of `whole` that `found` lacks."""
    for name, value in whole.items():
        if name not in found:
            return f"{above}{name}"
        if isinstance(value, dict) and isinstance(found[name], dict):
            inner = _missing(value, found[name], f"{above}{name}.")
            if inner is not None:
                return inner
    return None
