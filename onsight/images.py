"""From the bytes of an image file to RGB pixels: the one decode and the one resize of training and serving.

Whatever reads pictures goes through here, so that a network sees the same pixels in training as in production.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onsight.errors import ImageError, ImageTooLargeError, UnreadableImageError, UnsupportedImageError

__all__ = ["ImageLimits", "decode_image", "decode_reduced", "load_image", "read_image", "reduce_image", "resize_image"]

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
    return np.array(_decode(content, limits), dtype=np.uint8)


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

    Returns:
        uint8 [height, width, 3], RGB; the same as ``resize_image(decode_image(content), width, height)``.

    Raises:
        ImageError: As ``decode_image``.
    """
    return np.array(_resize(_decode(content, limits), width, height), dtype=np.uint8)


def decode_reduced(content: bytes, max_side: int, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an image file for people to look at: upright RGB, no side over ``max_side`` pixels.

    A JPEG is decoded at the smallest scale that is large enough. Not for networks: reduced pixels differ from those
    that ``read_image`` gives.

    Raises:
        ImageError: As ``decode_image``.
    """
    return reduce_image(_decode(content, limits, max_side), max_side)


def reduce_image(image: Image.Image, max_side: int) -> Image.Image:
    """The image itself, or a smaller one of its shape whose longer side is ``max_side`` pixels."""
    size = _fitting(image.size, max_side)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


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


def _decode(content: bytes, limits: ImageLimits, max_side: int | None = None) -> Image.Image:
    image = _open(content, limits)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"{width} x {height} pixels", limits)
    try:
        if max_side is not None:
            image.draft(None, _fitting(image.size, max_side))
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


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  broken metadata does not make good pixels unusable
        return image
    transpose = _UPRIGHT.get(orientation)
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


def _fitting(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    longest = max(size)
    if longest <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longest)) for side in size)
    return width, height


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
