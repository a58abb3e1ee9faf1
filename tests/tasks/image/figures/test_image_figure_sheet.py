"""Sheets of pictures: one small file for a grid that holds every picture where it belongs."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from image_evaluations import png
from PIL import Image

from weir.tasks.image.figures.sheet import GREYS, Grid, blocks, opened, sheet, sprite

STEP = 255 // (GREYS - 1)


def grey(value: int, height: int = 2, width: int = 3) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def images(svg: str) -> list[ElementTree.Element]:
    return [node for node in ElementTree.fromstring(svg).iter() if node.tag == "image"]


def test_every_picture_lies_in_its_place() -> None:
    grid = Grid([[grey(0), grey(17)], [grey(34), grey(255)], [None, grey(68)]])
    found = pixels(sprite(grid))
    assert found.shape == (6, 6, 3)
    wanted = np.array([[0, 17], [34, 255], [0, 68]])
    assert np.array_equal(found[::2, ::3, 0], wanted)
    assert np.array_equal(found[..., 0], np.kron(wanted, np.ones((2, 3), int)))


def test_shades_are_off_by_half_a_step_at_most() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = pixels(sprite(Grid([[ramp]])))
    assert np.abs(found[..., 1].astype(int) - ramp).max() <= STEP // 2
    assert len(sprite(Grid([[ramp]]))) < 16 * 16


def test_colours_are_kept() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2] = (200, 30, 60)
    picture[2:] = (10, 180, 240)
    found = pixels(sprite(Grid([[picture, grey(90, 4, 4)]]))).astype(int)
    assert np.abs(found[:, :4] - picture).max() <= 4
    assert np.abs(found[:, 4:] - 90).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_files_of_any_mode_are_opened(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(buffer, "PNG")
    found = opened(buffer.getvalue())
    assert found.shape == ((2, 3) if mode in ("1", "L") else (2, 3, 3))
    assert (found == 255).all()


def test_a_sheet_is_well_formed_and_holds_the_sprite_as_it_is() -> None:
    grid = Grid([[grey(255), None]], rows=["<b>&"], columns=["σ 1", "σ 2"])
    svg = sheet([grid, grid], 'Two "grids"')
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'Two "grids"' and root.get("role") == "img"
    assert "".join(root.itertext()).count("<b>&") == 2
    for image in images(svg):
        assert "pixelated" in image.get("style", "")
        href = image.get("href", "")
        assert base64.b64decode(href.removeprefix("data:image/png;base64,")) == sprite(grid)
    # The empty place is covered in the colour of the card, whatever the theme.
    assert svg.count('fill="var(--card)"') == 2


@pytest.mark.parametrize("columns", [1, 7, 60])
def test_a_sheet_is_never_wider_than_it_may_be(columns: int) -> None:
    grid = Grid([[grey(0)] * columns] * 2, rows=["a long name", "b"])
    svg = sheet([grid, grid], "Two", width=500, largest=40)
    root = ElementTree.fromstring(svg)
    ends = [float(node.get("x", 0)) + float(node.get("width", 0)) for node in images(svg)]
    assert max(ends) <= 500.1
    height = float(root.get("height", 0))
    bottoms = [float(node.get("y", 0)) + float(node.get("height", 0)) for node in images(svg)]
    assert max(bottoms) <= height
    widths = [float(node.get("width", 0)) / columns for node in images(svg)]
    assert max(widths) <= 40.1
    for node in images(svg):
        shape = float(node.get("height", 0)) / float(node.get("width", 0))
        assert shape == pytest.approx(2 * 2 / (3 * columns), rel=0.02)


def test_rows_are_cut_into_blocks_of_a_pleasing_shape() -> None:
    assert blocks(10, 8, 2.6) == 2
    assert blocks(1, 8, 2.6) == 1
    assert blocks(100, 4, 2.6) == 8
    assert blocks(10, 30, 2.6) == 1


def test_a_page_of_samples_is_small() -> None:
    """80 digits of 28 x 28 in less than a file of each would need for its head alone."""
    random = np.random.default_rng(0)
    strokes = np.clip(random.normal(-0.6, 0.6, (10, 8, 28, 28)), 0, 1)
    pictures = [[opened(png(one)) for one in line] for line in strokes]
    assert len(re.findall("<image", svg := sheet([Grid(pictures)], "Noise"))) == 1
    assert len(svg) < 80 * 28 * 28 * 0.5
