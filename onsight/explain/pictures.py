"""Encoding pictures made here: JPEG for speed, PNG where every pixel counts."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PictureFormat", "encode_picture"]

PictureFormat = Literal["jpeg", "png"]

_JPEG_QUALITY = 85
_CHROMA_4_2_0 = 2
# Higher levels take several times as long for a few per cent of the size.
_PNG_LEVEL = 1


def encode_picture(packed_rgb: NDArray[np.uint32], picture_format: PictureFormat = "jpeg") -> bytes:
    """The file of a picture.

    Args:
        packed_rgb: uint32 [H, W]: four bytes a pixel, the fourth unused.
        picture_format: JPEG is lossy (quality 85, 4:2:0); PNG keeps every pixel.
    """
    height, width = packed_rgb.shape
    picture = Image.frombuffer("RGBX", (width, height), np.ascontiguousarray(packed_rgb), "raw", "RGBX", 0, 1)
    buffer = io.BytesIO()
    if picture_format == "jpeg":
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=_CHROMA_4_2_0)
    else:
        picture.convert("RGB").save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
