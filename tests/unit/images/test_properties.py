"""What a picture is like: known pictures give known numbers, and changes move the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onsight.images import ImageProperties, load_image, measure_properties
from tests.servers import pictures


def measure(image_rgb_hwc: NDArray[np.uint8]) -> ImageProperties:
    (found,) = measure_properties(image_rgb_hwc[np.newaxis])
    return found


@pytest.mark.parametrize(("level", "brightness"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_measure_properties_of_one_grey_gives_its_brightness_alone(level: int, brightness: float) -> None:
    found = measure(np.full((8, 8, 3), level, np.uint8))

    assert found.brightness == pytest.approx(brightness)
    assert (found.contrast, found.sharpness) == (0.0, 0.0)


def test_measure_properties_agrees_with_the_definitions() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L")) / 255
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]

    found = measure(image)

    assert found.brightness == pytest.approx(grey.mean())
    assert found.contrast == pytest.approx(grey.std())
    assert found.sharpness == pytest.approx(laplacian.var())


def test_measure_properties_when_a_photograph_is_blurred_or_darkened_then_that_number_falls(
    plankton_images: list[Path],
) -> None:
    image = Image.fromarray(load_image(plankton_images[0], 128, 128))
    sharp = measure(np.asarray(image))
    blurred = measure(np.asarray(image.filter(ImageFilter.GaussianBlur(2))))
    dark = measure(np.asarray(image.point([level // 2 for level in range(256)] * 3)))

    assert blurred.sharpness < 0.5 * sharp.sharpness
    assert blurred.brightness == pytest.approx(sharp.brightness, abs=0.01)
    assert dark.brightness == pytest.approx(sharp.brightness / 2, abs=0.01)


def test_measure_properties_of_the_smallest_pictures_has_no_sharpness() -> None:
    assert measure(pictures.pixels(0, 2, 9)).sharpness == 0.0
    assert measure(pictures.pixels(0, 1, 1)).contrast == 0.0


@pytest.mark.parametrize(("width", "height"), [(3, 3), (3, 40), (41, 3), (30, 40)])
def test_measure_properties_of_many_pictures_is_what_each_alone_gives(width: int, height: int) -> None:
    images = np.stack([pictures.pixels(seed, width, height) for seed in range(5)])

    assert measure_properties(images) == [measure(image) for image in images]
