"""Maps become pictures of the right size and colours."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from onsight.explain import draw_heat_map, encode_picture, lay_over
from tests.servers import pictures

SIZES = [(1, 1), (1, 40), (37, 1), (2, 3), (90, 60), (501, 397), (1024, 1024)]


def unpack(packed: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]."""
    height, width = packed.shape
    return packed.view(np.uint8).reshape(height, width, 4)[..., :3]


def a_map(height: int = 7, width: int = 5) -> np.ndarray:
    drawn = np.random.default_rng(1).random((height, width), np.float32)
    return drawn / drawn.max()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_draw_heat_map_has_the_images_size_or_half_of_it_and_lay_over_the_images(width: int, height: int) -> None:
    image = Image.fromarray(pictures.pixels(0, width, height))

    heat_map = draw_heat_map(a_map(), width, height)

    half = ((height + 1) // 2, (width + 1) // 2)
    assert heat_map.shape == (half if min(width / 5, height / 7) >= 50 else (height, width))
    assert lay_over(image, heat_map).shape == (height, width)
    assert heat_map.dtype == np.uint32


def test_colours_are_turbo() -> None:
    levels = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    expected = np.asarray(mpl.colormaps["turbo"](np.arange(256)))[:, :3]

    found = unpack(draw_heat_map(levels, 256, 1))[0] / 255

    # The polynomial is an approximation: furthest off at the dark ends.
    assert np.abs(found - expected).max() < 0.13
    assert np.abs(found - expected).mean() < 0.03


@pytest.mark.parametrize(("width", "height"), [(90, 60), (5, 7), (500, 400), (501, 399), (6, 1000)])
def test_draw_heat_map_enlarges_as_pillow_does(width: int, height: int) -> None:
    small = a_map()
    ramp = draw_heat_map(np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis], 256, 1)[0]
    levels = {int(colour): level for level, colour in reversed(list(enumerate(ramp)))}

    drawn = draw_heat_map(small, width, height)

    found = np.vectorize(levels.__getitem__)(drawn)

    expected = np.asarray(Image.fromarray(small * 255).resize(drawn.shape[::-1], Image.Resampling.BILINEAR))
    # A few neighbouring levels have the same colour.
    assert np.abs(found - expected).max() < 2.5


@pytest.mark.parametrize(("width", "height"), [(90, 60), (500, 400), (501, 399)])
def test_lay_over_is_the_mean_of_both(width: int, height: int) -> None:
    image = pictures.pixels(0, width, height)
    heat_map = draw_heat_map(a_map(), width, height)

    found = unpack(lay_over(Image.fromarray(image), heat_map))

    each_as_four = unpack(heat_map).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    of_its_size = unpack(heat_map) if heat_map.shape == (height, width) else each_as_four
    np.testing.assert_array_equal(found, (image.astype(int) + of_its_size) // 2)


@pytest.mark.parametrize("picture_format", ["jpeg", "png"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_encode_picture_can_be_read_back(picture_format: str, width: int, height: int) -> None:
    packed = draw_heat_map(a_map(), width, height)

    with Image.open(io.BytesIO(encode_picture(packed, picture_format))) as read:  # type: ignore[arg-type]
        read.load()

    assert (read.format, read.mode, read.size) == (picture_format.upper(), "RGB", packed.shape[::-1])
    if picture_format == "png":
        np.testing.assert_array_equal(np.asarray(read), unpack(packed))
    elif min(width, height) >= 60:  # colour is stored at half the resolution
        assert np.abs(np.asarray(read).astype(int) - unpack(packed)).mean() < 12
