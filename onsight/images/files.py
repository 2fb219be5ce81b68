"""Image files before any pixel is decoded: what they may be, and opening their header."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from PIL import Image

from onsight.errors import ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from onsight.images.room import DecodingRoom

__all__ = ["DEFAULT_LIMITS", "ImageLimits", "open_header"]


@dataclass(frozen=True)
class ImageLimits:
    """What an image may be before it is decoded.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Width times height, as the header says.
        max_side: Width or height; a resize needs about 32 bytes for each pixel of a side, however short the other is.
        formats: Pillow's names of the formats that are read; no other decoder ever sees the bytes.
        room: Where they are decoded, if what is decoded at once has a bound.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side: int = 65_535
    formats: tuple[str, ...] = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
    room: DecodingRoom | None = field(default=None, compare=False)


DEFAULT_LIMITS = ImageLimits()


def open_header(content: bytes, limits: ImageLimits) -> Image.Image:
    """Read the header alone.

    Raises:
        UnreadableImageError: The bytes are no image.
        UnsupportedImageError: A format that is not read.
        ImageTooLargeError: More bytes or pixels than the limits allow, or a longer side.
    """
    if not content:
        raise UnreadableImageError("the file is empty")
    if len(content) > limits.max_bytes:
        raise ImageTooLargeError(
            f"the file is larger than the {limits.max_bytes} bytes allowed", max_bytes=limits.max_bytes
        )
    try:
        image = Image.open(io.BytesIO(content), formats=limits.formats)
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
    _check_size(image.size, limits)
    return image


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"{width} x {height} pixels", limits)
    if max(size) > limits.max_side:
        raise ImageTooLargeError(
            f"{width} x {height} pixels; a side may have at most {limits.max_side}",
            "cut it into pieces",
            max_side=limits.max_side,
        )


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
