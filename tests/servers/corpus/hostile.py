"""Files that attack a decoder or are no images: bombs, polyglots, lies in headers, cuts and flipped bits."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.servers.corpus.parts import (
    ACCEPTED,
    EITHER,
    PNG_MAGIC,
    REFUSED,
    TOO_LARGE,
    UNREADABLE,
    UNSUPPORTED,
    CorpusFile,
    chunk,
    png_header,
    png_of,
)
from tests.servers.pictures import bomb_png, encode, jpeg, pixels

_HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
_MAGICS = {
    "jpeg": b"\xff\xd8\xff\xe0",
    "png": PNG_MAGIC,
    "gif": b"GIF89a",
    "webp": b"RIFF\xff\xff\0\0WEBPVP8 ",
    "bmp": b"BM",
    "tiff-little": b"II*\0",
    "tiff-big": b"MM\0*",
    "ppm": b"P6 ",
}
_CUTS = (1, 2, 3, 4, 8, 10, 16, 24, 40)
_CUT_SHARES = (0.25, 0.5, 0.75, 0.9)
_FLIPS = 12


def hostile_files() -> list[CorpusFile]:
    """Every hostile file."""
    return [*bombs(), *polyglots(), *strangers(), *liars(), *broken_chunks(), *only_magics(), *damaged()]


def bombs() -> Iterator[CorpusFile]:
    """Small files of huge pictures; each is to be refused before it is decoded."""
    yield CorpusFile("bomb-png-168-megapixels", _black_png(14_000, 12_000), TOO_LARGE)
    yield CorpusFile("bomb-png-one-pixel-too-many", _black_png(50_000_001, 1), TOO_LARGE)
    yield CorpusFile("bomb-png-one-row-of-50-megapixels", _black_png(50_000_000, 1), TOO_LARGE)
    yield CorpusFile("bomb-png-one-column", _black_png(1, 65_536), TOO_LARGE)
    yield CorpusFile("bomb-png-900-megapixels", bomb_png(), TOO_LARGE)
    yield CorpusFile("bomb-png-largest-header", png_header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b""), REFUSED)
    yield CorpusFile("bomb-gif-canvas", _gif(65_535, 65_535), TOO_LARGE)
    yield CorpusFile("bomb-bmp-header", _bmp(60_000, 60_000), TOO_LARGE)
    yield CorpusFile("bomb-bmp-largest-header", _bmp(2**31 - 1, 2**31 - 1), REFUSED)
    yield CorpusFile("bomb-tiff-header", _tiff(60_000, 60_000), TOO_LARGE)
    yield CorpusFile("bomb-tiff-largest-header", _tiff(2**32 - 1, 2**32 - 1), REFUSED)
    yield CorpusFile("bomb-webp-canvas", _webp_canvas(16_384, 16_384), REFUSED)
    yield CorpusFile("bomb-ppm-header", b"P6 99999 99999 255\n" + bytes(100), TOO_LARGE)
    yield CorpusFile("bomb-ppm-many-digits", b"P6 " + b"9" * 5000 + b" 1 255\n", REFUSED)
    yield CorpusFile("bomb-jpeg-header", _jpeg_size(65_500, 65_500), TOO_LARGE)
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(30_000_000)))
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(30_000_000)))
    for name, extra in {"text": text, "profile": profile, "many-texts": text * 20}.items():
        yield CorpusFile(f"bomb-png-{name}", png_of(1, 1, 8, 0, b"\0\0", extra=[extra]), EITHER)
    yield CorpusFile("bomb-png-too-many-rows", png_of(2, 2, 8, 0, bytes(30_000_000)), EITHER)


def polyglots() -> Iterator[CorpusFile]:
    """Files that are two things at once: the picture is the only one that counts."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("evil.sh"), "#!/bin/sh\nrm -rf /\n")
    zipped, picture = archive.getvalue(), jpeg()
    gif = encode(Image.fromarray(pixels()).convert("P"), "GIF")
    png = encode(Image.fromarray(pixels()), "PNG")
    yield CorpusFile("polyglot-jpeg-zip", picture + zipped, ACCEPTED)
    yield CorpusFile("polyglot-zip-jpeg", zipped + picture, UNREADABLE)
    yield CorpusFile("polyglot-gif-html", gif + _HTML, ACCEPTED)
    yield CorpusFile("polyglot-png-html", png + _HTML, ACCEPTED)
    yield CorpusFile("polyglot-html-png", _HTML + png, UNREADABLE)
    yield CorpusFile("polyglot-pdf-jpeg", b"%PDF-1.7\n" + picture, UNSUPPORTED)
    yield CorpusFile("polyglot-gif-script", b"GIF89a=1;alert(1)//" + bytes(40), EITHER)
    yield CorpusFile(
        "polyglot-jpeg-php", picture[:2] + b"\xff\xfe\0\x1e<?php system($_GET['c']); ?>" + picture[2:], EITHER
    )
    yield CorpusFile("polyglot-jpeg-jpeg", picture * 3, ACCEPTED)
    yield CorpusFile("polyglot-png-png", png * 2, ACCEPTED)
    yield CorpusFile("polyglot-bmp-script", encode(Image.new("RGB", (9, 9)), "BMP") + b"*/=1;alert(1)", ACCEPTED)


def strangers() -> Iterator[CorpusFile]:
    """What is no image at all, or one of a format that is not read."""
    draw = np.random.default_rng(1)
    texts = {
        "empty": b"",
        "nul": b"\0",
        "text-renamed": b"this is only text\n" * 50,
        "html": _HTML,
        "json": json.dumps({"image": "x"}).encode(),
        "utf16": "text".encode("utf-16"),
        "zip": b"PK\x03\x04" + bytes(60),
        "gzip": b"\x1f\x8b\x08\0" + bytes(60),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(60),
        "pickle": b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "base64": b"data:image/png;base64,iVBORw0KGgo=",
        "megabyte-of-zeros": bytes(1_000_000),
        "megabyte-of-ff": b"\xff" * 1_000_000,
        "megabyte-of-noise": draw.bytes(1_000_000),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    }
    for name, content in texts.items():
        yield CorpusFile(f"stranger-{name}", content, REFUSED)
    heads = {
        "pdf": b"%PDF-1.7 ...",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(40),
        "psd": b"8BPS\0\x01" + bytes(40),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
    }
    for name, content in heads.items():
        yield CorpusFile(f"format-{name}", content, UNSUPPORTED)
    for kind in ("ICO", "JPEG2000", "ICNS", "DDS"):
        image = Image.new("RGB", (32, 32), "red")
        yield CorpusFile(f"format-{kind}", encode(image, kind), UNSUPPORTED)
    for kind in ("TGA", "PCX", "IM", "XBM"):
        image = Image.new("1" if kind == "XBM" else "RGB", (32, 32))
        yield CorpusFile(f"format-{kind}", encode(image, kind), REFUSED)
    pair = encode(Image.new("RGB", (32, 32)), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    yield CorpusFile("format-MPO", pair, EITHER)


def liars() -> Iterator[CorpusFile]:
    """Headers that promise what is not there."""
    plain = jpeg()
    frame = plain.index(b"\xff\xc0")
    for name, marker in {"lossless": 0xC3, "arithmetic": 0xC9, "hierarchical": 0xC5, "unknown": 0xCF}.items():
        changed = plain[:frame] + bytes((0xFF, marker)) + plain[frame + 2 :]
        yield CorpusFile(f"jpeg-{name}-header", changed, EITHER)
    for name, offset, value in (("12-bit", 4, 12), ("no-components", 9, 0), ("five-components", 9, 5)):
        changed = plain[: frame + offset] + bytes((value,)) + plain[frame + offset + 1 :]
        yield CorpusFile(f"jpeg-{name}", changed, REFUSED)
    yield CorpusFile("jpeg-no-height", _jpeg_size(90, 0), REFUSED)
    yield CorpusFile("jpeg-more-rows-than-data", _jpeg_size(90, 6000), EITHER)
    for width, height in ((0, 0), (0, 5), (5, 0)):
        yield CorpusFile(f"png-{width}x{height}", png_of(width, height, 8, 0, b"\0"), REFUSED)
        yield CorpusFile(f"gif-{width}x{height}", _gif(width, height), EITHER)
        yield CorpusFile(f"bmp-{width}x{height}", _bmp(width, height), EITHER)
        yield CorpusFile(f"ppm-{width}x{height}", f"P6 {width} {height} 255\n".encode(), REFUSED)
        yield CorpusFile(f"tiff-{width}x{height}", _tiff(width, height), REFUSED)
    yield CorpusFile("ppm-no-levels", b"P6 2 2 0\n" + bytes(12), REFUSED)
    yield CorpusFile("ppm-negative", b"P6 -2 2 255\n" + bytes(12), REFUSED)
    yield CorpusFile("tiff-data-outside", _tiff(16, 16, offset=10**9), REFUSED)
    yield CorpusFile("tiff-loop", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", REFUSED)
    yield CorpusFile("tiff-200-samples", _tiff(16, 16, samples=200), REFUSED)
    yield CorpusFile(
        "bmp-odd-header", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + struct.pack("<I", 7) + bytes(60), REFUSED
    )
    yield CorpusFile("webp-lies-about-its-length", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(50), REFUSED)


def broken_chunks() -> Iterator[CorpusFile]:
    """PNG files whose chunks are wrong."""
    data, end = chunk(b"IDAT", zlib.compress(bytes(20))), chunk(b"IEND", b"")
    head = png_header(4, 4)
    yield CorpusFile("png-wrong-crc", head[:-1] + bytes((head[-1] ^ 1,)) + data + end, EITHER)
    yield CorpusFile("png-no-end", head + data, EITHER)
    yield CorpusFile("png-no-pixels", head + end, REFUSED)
    yield CorpusFile("png-two-headers", head + head[8:] + data + end, EITHER)
    yield CorpusFile("png-huge-length", head + struct.pack(">I", 2**31 - 1) + b"IDAT" + bytes(30), REFUSED)
    yield CorpusFile("png-noise-for-pixels", head + chunk(b"IDAT", b"noise" * 9) + end, REFUSED)
    yield CorpusFile("png-odd-depth", png_of(4, 4, 7, 0, bytes(20)), REFUSED)
    yield CorpusFile("png-odd-colour", png_of(4, 4, 8, 5, bytes(20)), REFUSED)
    yield CorpusFile("png-thousands-of-chunks", head + chunk(b"prVt", b"x") * 20_000 + data + end, ACCEPTED)
    yield CorpusFile("png-huge-text", head + chunk(b"tEXt", b"k\0" + b"x" * 3_000_000) + data + end, EITHER)
    frames = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield CorpusFile("png-two-thousand-million-frames", head + frames + data + end, EITHER)


def only_magics() -> Iterator[CorpusFile]:
    """First bytes of a format with nothing, zeros, 0xff or noise behind."""
    noise = np.random.default_rng(2).bytes(300)
    for name, magic in _MAGICS.items():
        for rest, content in {"nothing": b"", "zeros": bytes(300), "ff": b"\xff" * 300, "noise": noise}.items():
            yield CorpusFile(f"magic-{name}-{rest}", magic + content, REFUSED)


def damaged() -> Iterator[CorpusFile]:
    """Sound files, cut at many places and with flipped bits."""
    image = Image.fromarray(pixels(9))
    options = {"JPEG": {}, "PNG": {}, "GIF": {}, "WEBP": {}, "TIFF": {"compression": "tiff_lzw"}, "BMP": {}, "PPM": {}}
    sound = {kind: encode(image, kind, **chosen) for kind, chosen in options.items()}
    sound["PROGRESSIVE"] = encode(image, "JPEG", progressive=True)
    draw = np.random.default_rng(9)
    for kind, content in sound.items():
        for cut in (*_CUTS, *(int(len(content) * share) for share in _CUT_SHARES), len(content) - 1):
            yield CorpusFile(f"cut-{kind}-{cut}", content[:cut], UNREADABLE if cut <= min(_CUTS[-1], 8) else EITHER)
        for index in range(_FLIPS):
            flipped = bytearray(content)
            # The first ones hit the header.
            end = 64 if index < _FLIPS // 3 else len(content)
            for place in draw.integers(0, end, 1 + index):
                flipped[place] ^= 1 << int(draw.integers(8))
            yield CorpusFile(f"flip-{kind}-{index}", bytes(flipped), EITHER)


def _black_png(width: int, height: int) -> bytes:
    """All of its pixels are there, each of them black."""
    packer = zlib.compressobj(1)
    row = bytes(width + 1)
    data = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    return png_header(width, height) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _gif(width: int, height: int) -> bytes:
    frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame + b"\x3b"


def _bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + header + bytes(100)


def _tiff(width: int, height: int, *, offset: int = 8, samples: int = 1) -> bytes:
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: offset, 277: samples, 278: height, 279: 256}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<I", 264) + bytes(256) + struct.pack("<H", len(entries)) + directory + bytes(4)


def _webp_canvas(width: int, height: int) -> bytes:
    canvas = bytes((0x02, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + b"ANIM\x06\0\0\0" + bytes(6)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg_size(width: int, height: int) -> bytes:
    content = bytearray(jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)
