"""Model folders: self-describing, and loadable without params.yaml."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from weir.errors import UserError


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
        UserError: no such folder, or not a whole model folder.
    """
    path = folder / "config.json"
    try:
        return ModelCard(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run the stage that makes {folder}"
        ) from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: is damaged; remove {folder} and run its stage again") from error


def load_model(folder: Path, build: Callable[[ModelCard], nn.Module]) -> nn.Module:
    """The model of a folder in evaluation mode, built from its card by `build`.

    Raises:
        UserError: the file is missing, damaged or of another model.
    """
    path = folder / "model.safetensors"
    advice = f"remove {folder} and run its stage again"
    try:
        model = build(read_card(folder))
        model.load_state_dict(load_file(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {advice}") from error
    except SafetensorError as error:
        raise UserError(f"{path}: is damaged ({error}); {advice}") from error
    except RuntimeError as error:
        raise UserError(f"{path}: holds the weights of another model; {advice}") from error
    return model.eval()
