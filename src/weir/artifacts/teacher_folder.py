"""Teacher folders: what a flow made of reproducible noise, stored to be distilled.

Noise is not stored, since (seed, condition, draw) gives it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weir.artifacts.description import Array, check_typed, read_typed
from weir.distillation.pairs import Conditions, PairSet
from weir.errors import UserError, WeirError

CARD = "config.json"

OUTPUT = Array("output", "float32", ("condition", "draw", "*event"), "where the noise ended")
KNOTS = Array(
    "knots",
    "float32",
    ("condition", "draw", "knot", "*event"),
    "states between noise and output, ends excluded; absent where none was asked for",
    required=False,
)
ITEMS = Array("items", "int64", ("condition",), "numbers of the conditions in the training part")


@dataclass(frozen=True)
class TeacherCard:
    """The contents of `config.json`.

    Attributes:
        teacher: settings of the node.
        seed: of the noise.
        times: of noise, knots and output, rising.
        model: the flow, `section/name`.
    """

    teacher: dict[str, Any]
    seed: int
    times: tuple[float, ...]
    model: str


class TeacherWriter:
    """Arrays on disk that are filled from the front, and how far; killed, they are gone on with.

    Args:
        folder: checkpoints of exactly this run.
        conditions: how many there will be.
        draws: samples of each.
        knots: states kept between noise and output.
        event: shape of one sample.
    """

    def __init__(
        self, folder: Path, conditions: int, draws: int, knots: int, event: tuple[int, ...]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.conditions, self.knots = conditions, knots
        self.record = folder / "done.json"
        self.done = json.loads(self.record.read_text()) if self.record.exists() else 0
        shapes = {
            OUTPUT: (conditions, draws, *event),
            KNOTS: (conditions, draws, knots, *event),
        }
        self.files = {array: folder / array.file for array in shapes}
        self.arrays = {
            array: np.lib.format.open_memmap(
                self.files[array], "r+" if self.done else "w+", array.dtype, shape
            )
            for array, shape in shapes.items()
            if 0 not in shape
        }

    def add(self, output: Tensor, knots: Tensor) -> None:
        """Append conditions; what is recorded as done is on disk.

        Raises:
            WeirError: they have another shape than the arrays.
        """
        last = self.done + len(output)
        for array, values in ((OUTPUT, output), (KNOTS, knots)):
            if array in self.arrays:
                place = self.arrays[array][self.done : last]
                if place.shape != tuple(values.shape):
                    raise WeirError(
                        f"{self.files[array]}: there is room for {list(place.shape)}, but what "
                        f"was made has shape {list(values.shape)}"
                    )
                place[:] = values.numpy()
                self.arrays[array].flush()
        self.done = last
        self.record.write_text(json.dumps(self.done))

    def finish(self, output: Path, items: Tensor, card: TeacherCard) -> None:
        """Move the arrays into the output folder, and write what stands beside them.

        Raises:
            WeirError: these do not fit the arrays.
        """
        found = items.numpy()
        if wrong := ITEMS.problem(found.dtype, found.shape):
            raise WeirError(f"{output / ITEMS.file}: {wrong}")
        if not len(items) == self.done == self.conditions:
            raise WeirError(
                f"{output / ITEMS.file}: {len(items)} items for {self.done} of {self.conditions} "
                "conditions"
            )
        if len(card.times) != self.knots + 2:
            raise WeirError(f"{output / CARD}: {len(card.times)} times for {self.knots} knots")
        text = json.dumps(asdict(card), indent=1, sort_keys=True)
        check_typed(TeacherCard, output / CARD, text)
        # First: killed while the arrays move, it begins again rather than go on without them.
        self.record.unlink()
        for array in list(self.arrays):
            del self.arrays[array]
            self.files[array].rename(output / array.file)
        np.save(output / ITEMS.file, found)
        (output / CARD).write_text(text + "\n", encoding="utf-8")


def load_pairs(folder: Path, conditions: Conditions) -> tuple[PairSet, dict[str, Any]]:
    """The stored pairs of a teacher folder, and the teacher's settings.

    Args:
        folder: of the teacher.
        conditions: the data set that it numbers.

    Raises:
        UserError: a file is missing, damaged or does not fit the others.
    """
    advice = f"remove {folder} and run its stage again"

    def damaged(name: str, what: str) -> UserError:
        return UserError(f"{folder / name} is damaged ({what}); {advice}")

    card = read_typed(TeacherCard, folder / CARD, advice)
    times = torch.tensor(card.times)
    if len(times) < 2 or bool((times.diff() <= 0).any()):
        raise damaged(CARD, "times: they do not rise")
    items, output = (_read(folder, array, advice) for array in (ITEMS, OUTPUT))
    if len(items) != len(output):
        raise damaged(ITEMS.file, f"{len(items)} items for {len(output)} conditions")
    if len(items) and not 0 <= int(items.min()) <= int(items.max()) < len(conditions):
        raise damaged(ITEMS.file, f"there are items beyond the {len(conditions)} conditions")
    expected = (*output.shape[:2], len(times) - 2, *output.shape[2:])
    if len(times) == 2 and not (folder / KNOTS.file).exists():
        knots = output.new_empty(expected)
    else:
        knots = _read(folder, KNOTS, advice)
    if knots.shape != expected:
        raise damaged(KNOTS.file, f"shape is {list(knots.shape)}, not {list(expected)}")
    return PairSet(conditions, items, output, knots, times, card.seed), card.teacher


def _read(folder: Path, array: Array, advice: str) -> Tensor:
    file = folder / array.file
    try:
        found = np.load(file, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}); {advice}") from None
    except (ValueError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} is damaged ({reason}); {advice}") from None
    if wrong := array.problem(found.dtype, found.shape):
        raise UserError(f"{file} is damaged ({wrong}); {advice}")
    return torch.from_numpy(found)
