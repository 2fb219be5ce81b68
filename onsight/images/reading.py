"""From the bytes of an image file to RGB pixels: the one decode and the one resize of training and serving.

Whatever reads pictures goes through here, so that a network sees the same pixels in training as in production.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onsight.errors import ImageError, UnreadableImageError
from onsight.images.files import DEFAULT_LIMITS, ImageLimits, open_header
from onsight.images.pixels import fitting_size, is_sideways, load_rgb, resize

__all__ = [
    "ImageFile",
    "decode_image",
    "decode_reduced",
    "load_image",
    "load_image_file",
    "read_image",
    "read_image_file",
    "reduced_size",
    "resize_image",
]

ImageArray = NDArray[np.uint8]

# With fewer spare pixels the decoder's own filter shows in the result.
_SPARE = 1.5
# A JPEG that is reduced takes at most this part of what a decoded image of its size does.
_JPEG_SHARE = 3


@dataclass(frozen=True)
class ImageFile:
    """What a network is given of an image file, and what the file's header says.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, upright and resized.
        width: Of the file, in pixels, before it was turned upright.
        height: Of the file, in pixels.
        format: Pillow's name of it.
    """

    pixels: ImageArray
    width: int
    height: int
    format: str


def decode_image(content: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> ImageArray:
    """Decode an image file to upright RGB.

    The EXIF orientation is applied, grey becomes three equal channels, 16-bit samples keep their upper eight bits,
    transparency is laid on white, and of an animation or a multi-page file the first picture is taken.

    Args:
        content: The bytes of the file.
        limits: Refused before any pixel is decoded when larger than this.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        UnreadableImageError: The bytes are no image, or a damaged one.
        UnsupportedImageError: A format or a kind of pixel that is not read.
        ImageTooLargeError: More bytes or pixels than the limits allow, or a longer side.
    """
    header = open_header(content, limits)
    with _room_for(header, None, limits):
        return np.array(load_rgb(header), dtype=np.uint8)


def resize_image(image_rgb_hwc: ImageArray, width: int, height: int) -> ImageArray:
    """Resize to exactly ``width`` x ``height`` pixels, bicubic with antialiasing; the shape is not kept.

    Args:
        image_rgb_hwc: uint8 [H, W, 3].
        width: Of the result, in pixels.
        height: Of the result, in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    return np.array(resize(Image.fromarray(image_rgb_hwc), width, height), dtype=np.uint8)


def read_image(content: bytes, width: int, height: int, limits: ImageLimits = DEFAULT_LIMITS) -> ImageArray:
    """Decode and resize: what a network is given.

    A JPEG that is at least three times as large as wanted is decoded at a half, a quarter or an eighth of its size,
    never below one and a half times what is wanted: its decoder scales in the frequency domain and aliases nothing.

    Returns:
        uint8 [height, width, 3], RGB; ``resize_image(decode_image(content), width, height)`` but for that.

    Raises:
        ImageError: As ``decode_image``.
    """
    return read_image_file(content, width, height, limits).pixels


def read_image_file(content: bytes, width: int, height: int, limits: ImageLimits = DEFAULT_LIMITS) -> ImageFile:
    """``read_image``, with what the file's header says.

    Raises:
        ImageError: As ``decode_image``.
    """
    header = open_header(content, limits)
    size, kind, enough = header.size, str(header.format), _ample(header, width, height)
    with _room_for(header, enough, limits):
        pixels = np.array(resize(load_rgb(header, enough), width, height), dtype=np.uint8)
    return ImageFile(pixels, *size, kind)


def decode_reduced(content: bytes, max_side: int, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an image file for people to look at: upright RGB, no side over ``max_side`` pixels.

    A JPEG is decoded at the smallest scale that is large enough. Not for networks: reduced pixels differ from those
    that ``read_image`` gives.

    Raises:
        ImageError: As ``decode_image``.
    """
    header = open_header(content, limits)
    size, enough = _upright_fit(header, max_side), fitting_size(header.size, max_side)
    with _room_for(header, enough, limits):
        image = load_rgb(header, enough)
        return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def reduced_size(content: bytes, max_side: int, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of what ``decode_reduced`` gives, from the file's header alone.

    Raises:
        ImageError: As ``decode_image``, but for damage behind the header.
    """
    return _upright_fit(open_header(content, limits), max_side)


def _upright_fit(header: Image.Image, max_side: int) -> tuple[int, int]:
    width, height = fitting_size(header.size, max_side)
    return (height, width) if is_sideways(header) else (width, height)


def load_image(path: Path, width: int, height: int, limits: ImageLimits = DEFAULT_LIMITS) -> ImageArray:
    """Read an image file, decode and resize it.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        ImageError: As ``decode_image``, or the file cannot be read; the message names the path.
    """
    return load_image_file(path, width, height, limits).pixels


def load_image_file(path: Path, width: int, height: int, limits: ImageLimits = DEFAULT_LIMITS) -> ImageFile:
    """``load_image``, with what the file's header says.

    Raises:
        ImageError: As ``load_image``.
    """
    try:
        return read_image_file(_read_bytes(path, limits), width, height, limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error.message}", error.hint, **{**error.context, "path": str(path)}) from error


def _read_bytes(path: Path, limits: ImageLimits) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except OSError as error:
        raise UnreadableImageError(f"the file cannot be read ({error.strerror})") from error


def _room_for(header: Image.Image, enough: tuple[int, int] | None, limits: ImageLimits) -> AbstractContextManager[None]:
    if limits.room is None:
        return nullcontext()
    n_pixels = header.width * header.height
    if header.format == "JPEG" and enough is not None:
        scale = max(1, min(8, header.width // enough[0], header.height // enough[1]))
        # Its decoder scales in steps of two, and keeps the coefficients of a progressive one: 6 bytes for each pixel.
        n_pixels = max(n_pixels // (1 << scale.bit_length() - 1) ** 2, n_pixels // _JPEG_SHARE)
    return limits.room.hold(n_pixels)


def _ample(header: Image.Image, width: int, height: int) -> tuple[int, int] | None:
    if header.format != "JPEG":
        # To look for a PNG's orientation decodes it, and a damaged image raises at the first attempt alone.
        return None
    wide, high = (height, width) if is_sideways(header) else (width, height)
    return ceil(wide * _SPARE), ceil(high * _SPARE)
