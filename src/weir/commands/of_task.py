"""Commands that a task brings, such as `weir predict`, about a trained model of that task."""

from __future__ import annotations

import argparse

from weir.artifacts.model_folder import read_card
from weir.errors import UserError
from weir.pipeline.layout import Layout, find_root
from weir.stages.restore import restore, schema_of
from weir.tasks import part
from weir.tasks.command import Asked, Command


def run(options: argparse.Namespace) -> None:
    """Check that the model is of the command's task, and let the task do the rest.

    Raises:
        UserError: it is not.
    """
    own: Command = options.own
    card = read_card(options.model)
    if card.task != options.owner:
        raise UserError(
            f"{options.model}: weir {own.name} is of task {options.owner}, and this model of "
            f"{card.task}; use `weir.load`"
        )

    def data() -> object:
        layout = Layout(find_root())
        return part(card.task, "data.load").load(layout.root / layout.processed(card.dataset))

    own.run(
        Asked(
            options.model,
            card,
            options,
            lambda: schema_of(card),
            lambda: restore(options.model),
            data,
        )
    )
