"""Pictures made for the tests: ordinary ones, odd ones, and ones that attack a decoder."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def pixels(seed: int = 0, width: int = 90, height: int = 60) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth random colours, uint8 [height, width, 3]."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0, width: int = 90, height: int = 60) -> bytes:
    """An ordinary JPEG."""
    return encode(Image.fromarray(pixels(seed, width, height)), "JPEG")


def bomb_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A small PNG whose header promises gigabytes of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def animated_gif() -> bytes:
    """Three frames."""
    frames = [Image.fromarray(pixels(seed)).convert("P") for seed in range(3)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
