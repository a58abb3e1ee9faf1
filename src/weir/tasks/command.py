"""Commands that a task brings to the command line, such as one that answers for new data.

Imported for `weir --help`: only the standard library is, until a command runs.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.tasks import part

if TYPE_CHECKING:
    from torch import nn

    from weir.artifacts.model_folder import ModelCard


@dataclass(frozen=True)
class Asked:
    """A command line about a trained model, and what the command is given to answer it.

    Attributes:
        folder: the model's.
        card: its card.
        options: the command's own arguments.
        schema: types the description of the data that the model was trained on.
        model: restores it.
        data: loads the dataset that it was trained on, for which the repository is needed.
    """

    folder: Path
    card: ModelCard
    options: Namespace
    schema: Callable[[], Any]
    model: Callable[[], nn.Module]
    data: Callable[[], Any]

    @property
    def name(self) -> str:
        """The model's node, as `section/name`."""
        return f"{self.card.section}/{self.card.name}"


@dataclass(frozen=True)
class Command:
    """A command about a trained model of the task that brings it.

    Attributes:
        name: as typed after `weir`.
        help: what it does, as an infinitive.
        arguments: adds its arguments to those that every command has; `model` is the first.
        run: does it; prints what it made.
        example: a model folder, for the help.
    """

    name: str
    help: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Asked], None]
    example: str = "results/distill/x-s0"


def commands(task: str) -> list[Command]:
    """The commands of a task."""
    modules = [part(task, name) for name in part(task, "about").COMMANDS]
    return [command for module in modules for command in module.COMMANDS]
