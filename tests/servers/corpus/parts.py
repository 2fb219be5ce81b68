"""What a file of the corpus is, and how PNG files of any kind are put together by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

ACCEPTED = frozenset({200})
TOO_LARGE = frozenset({413})
UNSUPPORTED = frozenset({415})
UNREADABLE = frozenset({422})
REFUSED = frozenset({413, 415, 422})
# Damage that may or may not reach the pixels.
EITHER = ACCEPTED | REFUSED

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class CorpusFile:
    """A file, and the statuses that are right for it."""

    name: str
    content: bytes
    expected: frozenset[int]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """The magic number and the header chunk."""
    return PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png_of(
    width: int, height: int, depth: int, colour: int, rows: bytes, *, extra: Sequence[bytes] = (), interlace: int = 0
) -> bytes:
    """A PNG whose filtered rows are given; ``extra`` chunks stand before the pixels."""
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return png_header(width, height, depth, colour, interlace) + b"".join(extra) + data
