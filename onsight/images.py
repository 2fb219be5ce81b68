"""From the bytes of an image file to RGB pixels: the one decode and the one resize of training and serving.

Whatever reads pictures goes through here, so that a network sees the same pixels in training as in production.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onsight.errors import ImageError, ImageTooLargeError, UnreadableImageError, UnsupportedImageError

__all__ = ["ImageFile", "ImageLimits", "decode_image", "load_image", "read_image", "read_image_file", "resize_image"]

ImageArray = NDArray[np.uint8]

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
# With fewer spare pixels the decoder's own filter shows in the result.
_SPARE = 1.5
_SIDEWAYS = (5, 6, 7, 8)
_MAX_16_BIT = 65_535
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class ImageLimits:
    """What an image may be before it is decoded.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Width times height, as the header says.
        formats: Pillow's names of the formats that are read; no other decoder ever sees the bytes.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")


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


DEFAULT_LIMITS = ImageLimits()


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
        ImageTooLargeError: More bytes or pixels than the limits allow.
    """
    return np.array(_load(_open(content, limits), limits), dtype=np.uint8)


def resize_image(image_rgb_hwc: ImageArray, width: int, height: int) -> ImageArray:
    """Resize to exactly ``width`` x ``height`` pixels, bicubic with antialiasing; the shape is not kept.

    Args:
        image_rgb_hwc: uint8 [H, W, 3].
        width: Of the result, in pixels.
        height: Of the result, in pixels.

    Returns:
        uint8 [height, width, 3].
    """
    return np.array(_resize(Image.fromarray(image_rgb_hwc), width, height), dtype=np.uint8)


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
    header = _open(content, limits)
    size, kind = header.size, str(header.format)
    decoded = _load(header, limits, (width, height))
    return ImageFile(np.array(_resize(decoded, width, height), dtype=np.uint8), *size, kind)


def load_image(path: Path, width: int, height: int, limits: ImageLimits = DEFAULT_LIMITS) -> ImageArray:
    """Read an image file, decode and resize it.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        ImageError: As ``decode_image``, or the file cannot be read; the message names the path.
    """
    try:
        return read_image(_read_bytes(path, limits), width, height, limits)
    except ImageError as error:
        raise type(error)(f"{path}: {error.message}", error.hint, **{**error.context, "path": str(path)}) from error


def _read_bytes(path: Path, limits: ImageLimits) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except OSError as error:
        raise UnreadableImageError(f"the file cannot be read ({error.strerror})") from error


def _load(image: Image.Image, limits: ImageLimits, enough: tuple[int, int] | None = None) -> Image.Image:
    """Upright RGB; a JPEG may come smaller than it is, with more than ``enough`` pixels in width and height."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"{width} x {height} pixels", limits)
    try:
        if enough is not None and image.format == "JPEG":
            wide, high = enough[::-1] if _orientation(image) in _SIDEWAYS else enough
            image.draft(None, (ceil(wide * _SPARE), ceil(high * _SPARE)))
        image.load()
        return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Exception as error:  # damaged files make the decoders raise nearly every kind of error
        raise UnreadableImageError(f"the {image.format} image is damaged ({_first_line(error)})") from error


def _open(content: bytes, limits: ImageLimits) -> Image.Image:
    """Read the header alone."""
    if not content:
        raise UnreadableImageError("the file is empty")
    if len(content) > limits.max_bytes:
        raise ImageTooLargeError(
            f"the file is larger than the {limits.max_bytes} bytes allowed", max_bytes=limits.max_bytes
        )
    try:
        return Image.open(io.BytesIO(content), formats=limits.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("the image's header promises far too many pixels", limits) from error
    except Exception as error:
        other = _refused_format(content, limits)
        if other:
            hint = f"convert it to one of {', '.join(limits.formats)}"
            raise UnsupportedImageError(f"{other} images are not read", hint, format=other) from error
        raise UnreadableImageError(
            "not an image, or its header is damaged", f"formats that are read: {', '.join(limits.formats)}"
        ) from error


def _too_many_pixels(what: str, limits: ImageLimits) -> ImageTooLargeError:
    return ImageTooLargeError(f"{what}; at most {limits.max_pixels} are allowed", max_pixels=limits.max_pixels)


def _refused_format(content: bytes, limits: ImageLimits) -> str:
    """The name of a known format that the limits leave out; looks at the first bytes and runs no decoder."""
    prefix = content[:16].ljust(16, b"\0")
    if prefix[4:8] == b"ftyp":
        return "HEIC/AVIF"
    if prefix.startswith(b"%PDF"):
        return "PDF"
    Image.init()
    for name, (_, accepts) in Image.OPEN.items():
        # An accept function answers True, or a text that says why its plugin is missing.
        if name not in limits.formats and accepts is not None and accepts(prefix) is True:
            return name
    return ""


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


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
