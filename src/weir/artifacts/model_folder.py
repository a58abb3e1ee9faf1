"""Model folders: self-describing, and loadable without params.yaml."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from weir.errors import UserError

FORMAT = 1
"""Format of the cards that this version writes, and the only one that it reads."""

WRITER = "load it with the version of Weir that wrote it, or train the model again"
"""What to do about a card that this version does not read."""


class CardError(UserError):
    """A card that is whole but says what this version of Weir does not read; no file is named."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is: `config.json` of its folder.

    Attributes:
        section: section of params.yaml: stage1, stage2, joint, distill or baseline.
        name: its node.
        seed: seed of the run.
        task: kind of data.
        dataset: name of the dataset node.
        config: settings of the node.
        schema: what the model must know of its data (shapes, columns, scaler).
        upstream: card of the model it is built on, if any.
        chain: settings of nodes between the two, such as the teacher's.
        format: of the card itself; a card without it is of format 1.
    """

    section: str
    name: str
    seed: int
    task: str
    dataset: str
    config: dict[str, Any]
    schema: dict[str, Any]
    upstream: dict[str, Any] | None = None
    chain: dict[str, Any] | None = None
    format: int = FORMAT

    def parent(self) -> ModelCard:
        """Card of the model this one is built on."""
        if self.upstream is None:
            raise ValueError(f"{self.section}/{self.name} is built on no other model")
        return ModelCard(**self.upstream)

    def lineage(self) -> dict[str, dict[str, Any]]:
        """Settings of this node and of all above it, by section."""
        above = self.parent().lineage() if self.upstream else {}
        return {**above, **(self.chain or {}), self.section: self.config}


def save_model(
    folder: Path,
    model: nn.Module,
    card: ModelCard,
    history: list[dict[str, float]] | None = None,
) -> None:
    """Write weights, card and the history of training into an existing folder."""
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    text = json.dumps(asdict(card), indent=1, sort_keys=True, allow_nan=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    save_file(state, folder / "model.safetensors")
    # safetensors makes files that only their owner can read; config.json follows the umask.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")
    if history:
        columns = list(dict.fromkeys(key for row in history for key in row))
        with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(history)


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder.

    Raises:
        UserError: no such folder, not a whole model folder, or one of another version of Weir.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run the stage that makes {folder}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: is damaged; remove {folder} and run its stage again") from error
    try:
        return _card_of(content)
    except CardError as error:
        raise UserError(f"{path}: {error}; {WRITER}") from None


def _card_of(content: object, place: str = "") -> ModelCard:
    """The card of what a file says, checked with all cards that it is built on.

    Raises:
        CardError: it is of another format, or has an entry too many, too few or not valid.
    """
    if not isinstance(content, dict):
        raise CardError(f"{place or 'its content'} is no mapping")
    where = f"{place}." if place else ""
    if (number := content.get("format", 1)) != FORMAT:
        raise CardError(f"{where}format is {number!r}, and this version of Weir reads {FORMAT}")
    if unknown := sorted(content.keys() - {field.name for field in fields(ModelCard)}):
        raise CardError(f"entry {where}{unknown[0]} is not known to this version of Weir")
    try:
        # Strictly, and as JSON: Python's strict rules take no mapping for a card.
        card = TypeAdapter(ModelCard).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        entry = f"entry {where}{'.'.join(map(str, first['loc']))}"
        if first["type"] == "missing":
            raise CardError(f"{entry} is missing") from None
        raise CardError(f"{entry} is not valid ({first['msg']})") from None
    if card.upstream is not None:
        _card_of(card.upstream, f"{where}upstream")
    return card


def load_model(folder: Path, build: Callable[[ModelCard], nn.Module]) -> nn.Module:
    """The model of a folder in evaluation mode, built from its card by `build`.

    Raises:
        UserError: a file is missing, damaged, of another model or of another version of Weir.
    """
    path = folder / "model.safetensors"
    advice = f"remove {folder} and run its stage again"
    try:
        model = build(read_card(folder))
    except CardError as error:
        raise UserError(f"{folder / 'config.json'}: {error}; {WRITER}") from None
    try:
        model.load_state_dict(load_file(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {advice}") from error
    except SafetensorError as error:
        raise UserError(f"{path}: is damaged ({error}); {advice}") from error
    except RuntimeError as error:
        raise UserError(f"{path}: holds the weights of another model; {advice}") from error
    return model.eval()
