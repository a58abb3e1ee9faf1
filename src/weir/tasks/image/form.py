"""Pictures brought to one size and one kind of colour."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from weir.errors import UserError
from weir.tasks.image.dataset_config import ImageDataset


def reform(pictures: np.ndarray, config: ImageDataset, where: str) -> np.ndarray:
    """Apply `grey` and `size` to an array of pictures.

    Args:
        pictures: `[item, height, width, channel]` uint8 of 256 levels, 1 channel or 3.
        config: settings.
        where: the file, for messages.

    Returns:
        `[item, channel, height, width]` uint8.
    """
    channels = pictures.shape[3]
    wanted = {None: channels, True: 1, False: 3}[config.grey]
    size = config.size or pictures.shape[1:3]
    if channels == wanted and tuple(size) == pictures.shape[1:3]:
        return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    if config.levels not in (None, 256):
        raise UserError(f"{where}: only pictures of 256 levels are resized; unset `levels`")
    result = np.empty((len(pictures), wanted, *size), "uint8")
    for item, picture in enumerate(pictures):
        image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
        result[item] = to_array(image, config)
    return result


def to_array(image: Image.Image, config: ImageDataset) -> np.ndarray:
    """A picture as `[channel, height, width]` uint8, with `grey` and `size` applied.

    Raises:
        ValueError: it has more than 8 bits or transparent pixels; in words.
    """
    # Cameras store how the picture is to be turned beside it.
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        raise ValueError("has more than 8 bits a pixel; save it with 8")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise ValueError("has transparent pixels; save it on a background")
    grey = image.mode in ("1", "L", "LA") if config.grey is None else config.grey
    image = image.convert("L" if grey else "RGB")
    if config.size is not None and config.size != (image.height, image.width):
        height, width = config.size
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[None] if grey else array.transpose(2, 0, 1)
