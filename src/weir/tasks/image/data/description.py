"""Files of processed pictures, for docs/artifacts.md."""

from __future__ import annotations

from weir.artifacts.description import Field, File
from weir.tasks.image.data.judge import JUDGE
from weir.tasks.image.data.load import IMAGES

FILES = (
    File(
        IMAGES,
        "the items, by part",
        (
            Field("raw", "uint8 or float32", "`[item, *shape]`: levels, or a toy's coordinates"),
            Field("label", "int64", "`[item]`: class"),
            Field("row", "int64", "`[item]`: place in the raw files"),
        ),
    ),
    File(JUDGE, "weights of the classifier that judges samples; absent where `judge` is null"),
)
