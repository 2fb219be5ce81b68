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


def measure_properties(images_rgb_nhwc: NDArray[np.uint8]) -> list[ImageProperties]:
    """Measure pictures at the network's input size, so that the numbers of all can be compared.

    Grey is ITU-R BT.601 luma. Sharpness is the focus measure LAPV of Pech-Pacheco et al., *Diatom autofocusing in
    brightfield microscopy: a comparative study* (ICPR 2000), with the four-neighbour Laplacian; 0 for a picture with a
    side under 3 pixels.

    Args:
        images_rgb_nhwc: uint8 [N, H, W, 3], RGB, at least one pixel; together they cost less than one by one, half of
            it where the caches hold something else.
    """
    n_images, height, width, _ = images_rgb_nhwc.shape
    stacked = Image.frombytes("RGB", (width, n_images * height), images_rgb_nhwc.tobytes()).convert("L")
    # Grey and its Laplacian side by side: each call of NumPy costs more than its work on one picture.
    both = np.zeros((n_images, 2, height * width), np.int16)
    both[:, 0] = np.frombuffer(stacked.tobytes(), np.uint8).reshape(n_images, height * width)
    if min(height, width) >= _MIN_SIDE:
        _fill_laplacian(both[:, 0], height, width, both[:, 1])
    exact = both.astype(np.float64)
    sums, squares = np.einsum("ikj->ik", exact).tolist(), np.einsum("ikj,ikj->ik", exact, exact).tolist()
    n_inner = max((height - 2) * (width - 2), 1)
    return [
        ImageProperties(
            total / (height * width) / _WHITE,
            _variance(total, square, height * width) ** 0.5 / _WHITE,
            _variance(edges, squared_edges, n_inner) / _WHITE**2,
        )
        for (total, edges), (square, squared_edges) in zip(sums, squares, strict=True)
    ]


def _variance(total: float, square: float, n_values: int) -> float:
    """From whole numbers, so that a picture of one colour has no variance at all."""
    return (n_values * int(square) - int(total) ** 2) / n_values**2


def _fill_laplacian(grey: NDArray[np.int16], height: int, width: int, found: NDArray[np.int16]) -> None:
    """Of pictures as rows [N, H * W]; 0 at their edges. Rows in one piece take a third of the time of windows."""
    inner = found[:, width + 1 : -width - 1]
    np.add(grey[:, 1 : -2 * width - 1], grey[:, 2 * width + 1 : -1], out=inner)
    inner += grey[:, width : -width - 2]
    inner += grey[:, width + 2 : -width]
    inner -= 4 * grey[:, width + 1 : -width - 1]
    columns = found.reshape(-1, height, width)
    columns[:, :, 0] = columns[:, :, -1] = 0
