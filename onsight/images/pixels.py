"""From an opened image file to upright RGB pixels, and those to another size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onsight.errors import ImageError, UnreadableImageError, UnsupportedImageError

__all__ = ["fitting_size", "is_sideways", "load_rgb", "resize"]

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_MAX_16_BIT = 65_535
_WHITE = (255, 255, 255, 255)


def load_rgb(image: Image.Image, enough: tuple[int, int] | None = None) -> Image.Image:
    """Decode to upright RGB.

    Args:
        image: Its header was read.
        enough: Width and height in pixels, before it is turned upright, that a JPEG may be decoded to at least.

    Raises:
        UnreadableImageError: The file is damaged.
        UnsupportedImageError: A kind of pixel that is not read.
    """
    try:
        if enough is not None and image.format == "JPEG":
            image.draft(None, enough)
        image.load()
        return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Exception as error:  # damaged files make the decoders raise nearly every kind of error
        raise UnreadableImageError(f"the {image.format} image is damaged ({_first_line(error)})") from error


def is_sideways(image: Image.Image) -> bool:
    """Whether width and height change places when the image is turned upright."""
    return _orientation(image) in _SIDEWAYS


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """To exactly this size, bicubic with antialiasing."""
    return image.resize((width, height), Image.Resampling.BICUBIC)


def fitting_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The size itself, or a smaller one of its shape whose longer side is ``max_side`` pixels."""
    longest = max(size)
    if longest <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longest)) for side in size)
    return width, height


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  broken metadata does not make good pixels unusable
        return 1


def _upright(image: Image.Image) -> Image.Image:
    transpose = _UPRIGHT.get(_orientation(image))
    return image if transpose is None else image.transpose(transpose)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _upper_eight_bits(image).convert("RGB")
    if image.mode in ("F", "LAB", "HSV"):
        raise UnsupportedImageError(f"{image.mode} pixels are not read", "save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, _WHITE)
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _upper_eight_bits(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > _MAX_16_BIT:
        raise UnsupportedImageError("32-bit samples are not read", "save it with 8 or 16 bits a channel")
    return Image.fromarray((samples >> 8).astype(np.uint8))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
