"""What a picture is like: known pictures give known numbers, and changes move the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from onsight.images import load_image, measure_properties
from tests.servers import pictures


@pytest.mark.parametrize(("level", "brightness"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_measure_properties_of_one_grey_gives_its_brightness_alone(level: int, brightness: float) -> None:
    found = measure_properties(np.full((8, 8, 3), level, np.uint8))

    assert found.brightness == pytest.approx(brightness)
    assert (found.contrast, found.sharpness) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_measure_properties_agrees_with_the_definitions() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L")) / 255
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]

    found = measure_properties(image)

    assert found.brightness == pytest.approx(grey.mean())
    assert found.contrast == pytest.approx(grey.std())
    assert found.sharpness == pytest.approx(laplacian.var(), rel=1e-4)


def test_measure_properties_when_a_photograph_is_blurred_or_darkened_then_that_number_falls(
    plankton_images: list[Path],
) -> None:
    image = Image.fromarray(load_image(plankton_images[0], 128, 128))
    sharp = measure_properties(np.asarray(image))
    blurred = measure_properties(np.asarray(image.filter(ImageFilter.GaussianBlur(2))))
    dark = measure_properties(np.asarray(image.point([level // 2 for level in range(256)] * 3)))

    assert blurred.sharpness < 0.5 * sharp.sharpness
    assert blurred.brightness == pytest.approx(sharp.brightness, abs=0.01)
    assert dark.brightness == pytest.approx(sharp.brightness / 2, abs=0.01)


def test_measure_properties_of_the_smallest_pictures_has_no_sharpness() -> None:
    assert measure_properties(pictures.pixels(0, 2, 9)).sharpness == 0.0
    assert measure_properties(pictures.pixels(0, 1, 1)).contrast == 0.0
