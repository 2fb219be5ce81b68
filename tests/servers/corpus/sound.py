"""Odd but sound image files: every kind of pixel, size, compression, animation and metadata."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.servers.corpus.parts import ACCEPTED, EITHER, UNSUPPORTED, CorpusFile, chunk, png_of
from tests.servers.pictures import encode, pixels

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
# Pixels that the service says it does not read.
UNREAD_MODES = {"LAB", "F", "HSV"}
SIZES = (
    (1, 1), (1, 2), (2, 1), (2, 2), (3, 7), (7, 3), (8, 8), (15, 17), (31, 33), (32, 32), (1, 1000), (1000, 1),
    (1, 16000), (16000, 1), (4095, 3), (3, 4095), (641, 479), (2000, 1333),
)  # fmt: skip
# Only PNG, JPEG, TIFF, BMP and PPM can be this long.
LONG_SIZES = ((1, 60_000), (60_000, 1), (65_000, 5))
COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
_ORIENTATION = 0x0112


def sound_files() -> list[CorpusFile]:
    """Every odd but sound file."""
    return [
        *colour_modes(),
        *sizes(),
        *jpegs(),
        *pngs(),
        *tiffs(),
        *others(),
        *animations(),
        *orientations(),
        *metadata(),
    ]


def _try_encode(image: Image.Image, kind: str, **options: Any) -> bytes | None:
    try:
        return encode(image, kind, **options)
    except (OSError, KeyError, ValueError):
        return None  # the format has no such pixels


def _in_mode(mode: str) -> Image.Image:
    image = Image.fromarray(pixels(3))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    if mode == "PA":
        return image.convert("P").convert("PA")
    if mode == "LAB":
        return Image.new("LAB", image.size, (120, 90, 200))
    return image.convert(mode)


def colour_modes() -> Iterator[CorpusFile]:
    """Each of Pillow's modes in each format that has it."""
    for mode in MODES:
        for kind in FORMATS:
            content = _try_encode(_in_mode(mode), kind)
            if content is not None:
                # What is saved is not always that mode: a writer may convert.
                kept = Image.open(io.BytesIO(content)).mode
                expected = UNSUPPORTED if kept in UNREAD_MODES else ACCEPTED
                if (mode, kind) == ("YCbCr", "TIFF"):
                    expected = EITHER  # Pillow does not read what it writes
                yield CorpusFile(f"mode-{mode.replace(';', '_')}-{kind}", content, expected)


def sizes() -> Iterator[CorpusFile]:
    """From one pixel to strips of many thousand."""
    for width, height in SIZES:
        for kind in ("JPEG", "PNG", "WEBP", "GIF"):
            image = Image.fromarray(np.full((height, width, 3), (200, 30, 90), dtype=np.uint8))
            yield CorpusFile(f"size-{width}x{height}-{kind}", encode(image, kind), ACCEPTED)
    for width, height in LONG_SIZES:
        for kind in ("JPEG", "PNG", "TIFF", "BMP", "PPM"):
            content = encode(Image.new("L", (width, height), 77), kind)
            yield CorpusFile(f"size-{width}x{height}-{kind}", content, ACCEPTED)
    yield CorpusFile("size-just-allowed", encode(Image.new("L", (7071, 7071), 9), "PNG"), ACCEPTED)
    large = Image.fromarray(pixels(1, 3000, 3000))
    yield CorpusFile("size-large-progressive", encode(large, "JPEG", progressive=True), ACCEPTED)


def jpegs() -> Iterator[CorpusFile]:
    """What a JPEG may be."""
    image = Image.fromarray(pixels(4, 200, 150))
    options: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "optimized": {"optimize": True},
        "quality-1": {"quality": 1},
        "quality-100": {"quality": 100},
        "no-subsampling": {"subsampling": 0},
        "subsampling-420": {"subsampling": 2},
        "restarts": {"restart_marker_blocks": 3},
        "comment": {"comment": b"<script>alert(1)</script>" * 100},
        "grey-progressive": {"progressive": True},
    }
    for name, chosen in options.items():
        shown = image.convert("L") if name.startswith("grey") else image
        yield CorpusFile(f"jpeg-{name}", encode(shown, "JPEG", **chosen), ACCEPTED)
    cmyk = encode(image.convert("CMYK"), "JPEG", quality=90)
    yield CorpusFile("jpeg-cmyk-adobe", cmyk, ACCEPTED)
    yield CorpusFile("jpeg-cmyk-without-adobe", cmyk.replace(b"Adobe", b"Nobel", 1), ACCEPTED)
    plain = encode(image, "JPEG")
    padded = plain[:2] + b"".join(b"\xff\xe9\xff\xff" + bytes(65533) for _ in range(20)) + plain[2:]
    yield CorpusFile("jpeg-huge-application-segments", padded, ACCEPTED)
    yield CorpusFile("jpeg-fill-bytes", plain[:2] + b"\xff" * 5000 + plain[3:], EITHER)


def pngs() -> Iterator[CorpusFile]:
    """What a PNG may be."""
    for depth in (1, 2, 4, 8, 16):
        row = bytes(range(0, 256, 8))[: 2 * depth]
        yield CorpusFile(f"png-grey-{depth}-bit", png_of(16, 9, depth, 0, (b"\0" + row) * 9), ACCEPTED)
    yield CorpusFile("png-rgb-16-bit", png_of(4, 4, 16, 2, (b"\0" + bytes(24)) * 4), ACCEPTED)
    yield CorpusFile("png-rgba-16-bit", png_of(4, 4, 16, 6, (b"\0" + bytes(32)) * 4), ACCEPTED)
    yield CorpusFile("png-grey-alpha-16-bit", png_of(4, 4, 16, 4, (b"\0" + bytes(16)) * 4), ACCEPTED)
    grey_clear = (chunk(b"tRNS", b"\0\x10"),)
    rgb_clear = (chunk(b"tRNS", b"\0\x10\0\x20\0\x30"),)
    yield CorpusFile("png-grey-transparent", png_of(4, 4, 8, 0, bytes(20), extra=grey_clear), ACCEPTED)
    yield CorpusFile("png-rgb-transparent", png_of(4, 4, 8, 2, bytes(52), extra=rgb_clear), ACCEPTED)
    palette = (chunk(b"PLTE", bytes(range(12))), chunk(b"tRNS", b"\0\x80"))
    yield CorpusFile("png-palette-transparent", png_of(4, 4, 8, 3, (b"\0\0\1\2\3") * 4, extra=palette), ACCEPTED)
    yield CorpusFile("png-palette-index-outside", png_of(4, 4, 8, 3, (b"\0\xf0\1\2\3") * 4, extra=palette), EITHER)
    yield CorpusFile("png-palette-missing", png_of(4, 4, 8, 3, (b"\0\0\1\2\3") * 4), EITHER)
    # One pixel alone lies in Adam7's first pass.
    yield CorpusFile("png-interlaced", png_of(1, 1, 8, 0, b"\0\x50", interlace=1), ACCEPTED)
    image = Image.fromarray(pixels(2))
    yield CorpusFile("png-transparency-option", encode(image, "PNG", transparency=(1, 2, 3)), ACCEPTED)


def tiffs() -> Iterator[CorpusFile]:
    """What a TIFF may be."""
    image = Image.fromarray(pixels(5))
    for compression in COMPRESSIONS:
        yield CorpusFile(f"tiff-{compression}", encode(image, "TIFF", compression=compression), ACCEPTED)
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield CorpusFile(f"tiff-{compression}", encode(image.convert("1"), "TIFF", compression=compression), ACCEPTED)
    pages = [Image.fromarray(pixels(seed, 40 + seed, 30)) for seed in range(5)]
    yield CorpusFile("tiff-pages", encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]), ACCEPTED)
    yield CorpusFile("tiff-big", encode(image, "TIFF", big_tiff=True), ACCEPTED)
    entries = ((256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 16))
    directory = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    content = b"MM\0*" + struct.pack(">I", 24) + bytes(range(16)) + struct.pack(">H", len(entries)) + directory
    yield CorpusFile("tiff-big-endian", content + bytes(4), ACCEPTED)


def others() -> Iterator[CorpusFile]:
    """BMP, WebP and the text formats of PPM."""
    image = Image.fromarray(pixels(6))
    yield CorpusFile("webp-lossless", encode(image, "WEBP", lossless=True), ACCEPTED)
    yield CorpusFile("webp-alpha", encode(image.convert("RGBA"), "WEBP", quality=5), ACCEPTED)
    header = struct.pack("<IiiHHIIiiII", 40, 4, -4, 1, 24, 0, 48, 0, 0, 0, 0)
    upside_down = b"BM" + struct.pack("<IHHI", 102, 0, 0, 54) + header + bytes(48)
    yield CorpusFile("bmp-top-down", upside_down, ACCEPTED)
    narrow = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 0, 32, 0, 0, 0, 0)
    yield CorpusFile("bmp-16-bit", b"BM" + struct.pack("<IHHI", 86, 0, 0, 54) + narrow + bytes(32), ACCEPTED)
    yield CorpusFile("ppm-text", b"P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12\n", ACCEPTED)
    yield CorpusFile("pgm-text-with-comment", b"P2 # " + b"x" * 90 + b"\n2 1 255\n7 9\n", EITHER)
    yield CorpusFile("pgm-16-bit", b"P5 2 2 65535\n" + bytes(range(8)), ACCEPTED)
    yield CorpusFile("pbm-text", b"P1 3 2 1 0 1 0 1 0\n", ACCEPTED)
    yield CorpusFile("pbm", b"P4 8 2\n\xaa\x55", ACCEPTED)
    yield CorpusFile("pfm", b"Pf\n2 2\n-1.0\n" + bytes(16), UNSUPPORTED)


def animations() -> Iterator[CorpusFile]:
    """Moving pictures: the first frame is the picture."""
    frames = [Image.fromarray(pixels(seed)) for seed in range(4)]
    for kind in ("GIF", "WEBP", "PNG"):
        for duration in (0, 40):
            moving = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=duration)
            yield CorpusFile(f"animated-{kind}-{duration}", moving, ACCEPTED)
    clear = [frame.convert("RGBA") for frame in frames]
    for frame in clear:
        frame.putalpha(100)
    for kind in ("GIF", "WEBP", "PNG"):
        moving = encode(clear[0], kind, save_all=True, append_images=clear[1:], disposal=2)
        yield CorpusFile(f"animated-{kind}-clear", moving, ACCEPTED)


def orientations() -> Iterator[CorpusFile]:
    """EXIF orientations, the eight and what is none."""
    image = Image.fromarray(pixels(7))
    for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535):
        exif = Image.Exif()
        exif[_ORIENTATION] = value
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            yield CorpusFile(f"orientation-{value}-{kind}", encode(image, kind, exif=exif.tobytes()), ACCEPTED)


def metadata() -> Iterator[CorpusFile]:
    """Metadata that is broken or huge around pixels that are sound."""
    image = Image.fromarray(pixels(8))
    draw = np.random.default_rng(8)
    exifs = {
        "noise": draw.bytes(500),
        "empty": b"",
        "loop": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
        "far-offset": b"II*\0\xff\xff\xff\xff",
        "huge-count": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0\0\0\0\0",
        "text-orientation": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
        "cut": b"MM\0*\0\0\0\x08\0\xff\x01\x12",
    }
    for name, content in exifs.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            yield CorpusFile(f"exif-{name}-{kind}", encode(image, kind, exif=b"Exif\0\0" + content), ACCEPTED)
    for name, profile in {
        "noise": draw.bytes(900),
        "one": b"\0",
        "huge": bytes(400_000),
        "head": b"\0\0\2\x0clcms",
    }.items():
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            yield CorpusFile(f"icc-{name}-{kind}", encode(image, kind, icc_profile=profile), ACCEPTED)
