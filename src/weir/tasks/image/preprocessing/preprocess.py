"""Raw pictures or points to a processed folder: read, checked, split, described, judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from weir.artifacts.raw_folder import HASH_FIRST, RawFolder
from weir.errors import UserError
from weir.tasks.image.data.judge import JUDGE
from weir.tasks.image.data.load import IMAGES, ImageData, ImageSet, digest
from weir.tasks.image.data.scale import Scale
from weir.tasks.image.data.schema import PARTS, Schema
from weir.tasks.image.preprocessing.checks import (
    CHUNK,
    check_levels,
    count_duplicates,
    drop_constant,
    name_classes,
    split_parts,
)
from weir.tasks.image.preprocessing.judge_training import train_judge
from weir.tasks.image.preprocessing.pictures import UNTOLD, Pictures
from weir.tasks.image.preprocessing.reading import read_pictures
from weir.tasks.image.settings.dataset import ImageDataset
from weir.tasks.image.simulation.simulate import POINTS, TRUTH
from weir.tasks.image.simulation.toys import law_of


def preprocess(config: ImageDataset, raw: Path, output: Path) -> None:
    """Check the pictures of a raw folder, train their judge, and write the processed folder.

    Raises:
        UserError: the pictures are not usable as `config` describes them; one line.
    """
    source = RawFolder.read(raw)
    data = process(config, raw, source.names, source.combined(HASH_FIRST), output)
    schema = data.schema
    if config.judge is not None and schema.levels is not None and len(schema.classes) > 1:
        parts = {part: data.split(part) for part in PARTS}
        scale = Scale.of(data.schema)
        judge, card = train_judge(parts, scale, len(schema.classes), config.judge)
        save_file(judge.state_dict(), output / JUDGE)
        schema = replace(schema, judge=card)
    arrays = {"raw": data.items.raw, "label": data.items.label, "row": data.items.row}
    save_file(arrays, output / IMAGES)
    schema.save(output)


def process(
    config: ImageDataset, raw: Path, names: list[str], sha256: str, output: Path
) -> ImageData:
    """What the processed folder `output` of the raw files `names` holds, without a judge.

    Raises:
        UserError: the pictures are not usable as `config` describes them; one line.
    """
    truth = None
    if TRUTH in names:
        truth, pictures = _points(raw)
    else:
        pictures = read_pictures(config, raw, names)
        check_levels(pictures, config)
        drop_constant(pictures, config)
        name_classes(pictures, config)
    part = split_parts(pictures, config)
    if truth is None:
        count_duplicates(pictures, part)
    assert pictures.classes is not None
    # Any first so many items of a part are a fair choice of it, however the files are sorted.
    lot = np.random.default_rng([config.split.seed, 1]).permutation(len(pictures))
    row = lot[np.argsort(part[lot], kind="stable")]
    items = ImageSet(
        torch.from_numpy(pictures.raw[row]),
        torch.from_numpy(pictures.label[row]),
        torch.from_numpy(row.astype("int64")),
    )
    train = part == 0
    center, spread = statistics(pictures, train)
    share = np.bincount(pictures.label[train], minlength=len(pictures.classes)) / train.sum()
    schema = Schema(
        task="image",
        shape=tuple(pictures.raw.shape[1:]),
        levels=pictures.levels,
        classes=pictures.classes,
        priors=tuple(share.tolist()),
        counts={name: int((part == code).sum()) for code, name in enumerate(PARTS)},
        center=center,
        spread=spread,
        judge=None,
        repairs=tuple(pictures.repairs),
        source_sha256=sha256,
        digest=digest(items.raw, items.label),
        simulated=truth is not None,
        truth=truth,
    )
    return ImageData(items, schema, output)


def statistics(pictures: Pictures, train: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the training pixels on the unit scale, dequantised.

    Args:
        pictures: all of them.
        train: `[item]` bool.

    Raises:
        UserError: all these pixels are alike.
    """
    if pictures.levels is None:
        points = pictures.raw[train].astype("float64")
        return float(points.mean()), float(points.std())
    rows = np.flatnonzero(train)
    step = max(1, CHUNK // pictures.raw[0].size)
    counts = np.zeros(256, "int64")
    for first in range(0, len(rows), step):
        some = pictures.raw[rows[first : first + step]]
        counts += np.bincount(some.reshape(-1), minlength=256)
    level = np.arange(256)
    mean = float(counts @ level / counts.sum())
    variance = float(counts @ (level - mean) ** 2 / counts.sum())
    if variance == 0:
        raise UserError(f"{pictures.where}: every training pixel is {mean:g}; fix the files")
    unit = Scale(pictures.levels, 0.0, 1.0)
    center = float(unit.unit(torch.tensor(mean, dtype=torch.float64)))
    # A level's cell is one wide, and a uniform number in it has variance 1 / 12.
    return center, 2 / pictures.levels * math.sqrt(variance + 1 / 12)


def _points(raw: Path) -> tuple[dict[str, object], Pictures]:
    """Settings of a toy's law, and its points."""
    truth = json.loads((raw / TRUTH).read_bytes())
    with np.load(raw / POINTS, allow_pickle=False) as arrays:
        points, label = arrays["points"].astype("float32"), arrays["labels"]
    classes = law_of(truth).classes
    part = np.full(len(label), UNTOLD)
    return truth, Pictures(str(raw / POINTS), points, label, part, classes, None)
