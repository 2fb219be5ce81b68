"""What a picture is like, whatever it shows: how bright, how contrasty, how sharp. The drift monitor compares these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ImageProperties", "measure_properties"]

_WHITE = 255.0
# A Laplacian needs a neighbour on each side.
_MIN_SIDE = 3
_LEVELS = np.arange(256) / _WHITE


@dataclass(frozen=True)
class ImageProperties:
    """Three numbers of one picture.

    Attributes:
        brightness: Mean of the grey picture, 0 (black) to 1 (white).
        contrast: Standard deviation of the grey picture, in the same unit; 0 to 0.5.
        sharpness: Variance of the grey picture's Laplacian, in the square of that unit; falls when a picture is
            blurred, rises with noise.
    """

    brightness: float
    contrast: float
    sharpness: float


def measure_properties(image_rgb_hwc: NDArray[np.uint8]) -> ImageProperties:
    """Measure a picture at the network's input size, so that the numbers of all pictures can be compared.

    Grey is ITU-R BT.601 luma. Sharpness is the focus measure LAPV of Pech-Pacheco et al., *Diatom autofocusing in
    brightfield microscopy: a comparative study* (ICPR 2000), with the four-neighbour Laplacian; 0 for a picture with a
    side under 3 pixels.

    Args:
        image_rgb_hwc: uint8 [H, W, 3], RGB, at least one pixel.
    """
    grey = Image.fromarray(image_rgb_hwc).convert("L")
    # Grey levels are whole numbers: their counts give both moments exactly, and faster than the pixels.
    shares = np.array(grey.histogram()) / (grey.width * grey.height)
    mean = float(shares @ _LEVELS)
    variance = float(shares @ (_LEVELS - mean) ** 2)
    return ImageProperties(mean, variance**0.5, _laplacian_variance(np.asarray(grey)))


def _laplacian_variance(grey: NDArray[np.uint8]) -> float:
    if min(grey.shape) < _MIN_SIDE:
        return 0.0
    levels = grey.astype(np.int16)
    inner = levels[1:-1, 1:-1]
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:] - 4 * inner
    values = laplacian.ravel().astype(np.float32)
    mean = float(values.mean())
    return float(float(values @ values) / values.size - mean * mean) / _WHITE**2
