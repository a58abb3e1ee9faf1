"""The classifier that judges samples: which class they show, and features to compare them in.

A dataset's own classifier takes the place of a network trained on other pictures: a feature
distance on it means little between datasets, but much between models of one dataset.
"""

from __future__ import annotations

import math
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from weir.errors import UserError
from weir.tasks.image.data.schema import Schema

JUDGE = "judge.safetensors"
FEATURES = 64
SMALL = 16


class Judge(nn.Module):
    """Three convolutions, the later ones at half and quarter resolution, and two linear layers.

    Pictures of more than SMALL pixels a side are halved by the first convolution already.

    Used in evaluation mode, where a picture's features do not depend on the batch it is in.

    Args:
        shape: channels, height and width of a picture.
        classes: number of classes K.
        width: channels of the first convolution; the others have two and four times as many.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int) -> None:
        super().__init__()
        channels, height, columns = shape
        first = 1 if max(height, columns) <= SMALL else 2
        cells = math.ceil(height / (4 * first)) * math.ceil(columns / (4 * first))
        self.trunk = nn.Sequential(
            *_convolution(channels, width, first),
            *_convolution(width, 2 * width, 2),
            *_convolution(2 * width, 4 * width, 2),
            nn.Flatten(),
            nn.Linear(4 * width * cells, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    def features(self, unit: Tensor) -> Tensor:
        """Pictures `[item, channel, height, width]` on the unit scale to `[item, F]`."""
        return self.trunk(unit)

    def forward(self, unit: Tensor) -> Tensor:
        """Pictures `[item, channel, height, width]` on the unit scale to logits `[item, K]`."""
        return self.head(self.features(unit))


def _convolution(inside: int, outside: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


def load_judge(folder: Path, schema: Schema) -> Judge:
    """The classifier of a processed folder, in evaluation mode.

    Raises:
        UserError: its file is missing or damaged; one line.
    """
    assert schema.judge is not None
    judge = Judge(schema.shape, len(schema.classes), schema.judge.width)
    file = folder / JUDGE
    try:
        judge.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({text}); rerun weir preprocess") from None
    return judge.eval().requires_grad_(False)
