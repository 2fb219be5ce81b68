"""Decode and resize: every kind of pixel, every refusal, and hostile bytes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onsight.errors import ImageError, ImageTooLargeError, UnreadableImageError, UnsupportedImageError
from onsight.images import (
    ImageLimits,
    decode_image,
    decode_reduced,
    load_image,
    read_image,
    reduced_size,
    resize_image,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
GREY = RGB[..., 0]


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_decode_of_a_lossless_format_gives_the_pixels_back(kind: str) -> None:
    decoded = decode_image(encode(Image.fromarray(RGB), kind))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, RGB)
    decoded[0, 0] = 0  # callers may draw on it


def test_decode_reads_lossless_webp_and_gif() -> None:
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(RGB), "WEBP", lossless=True)), RGB)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(GREY), "GIF"))[..., 1], GREY)


def test_decode_of_a_jpeg_is_close_to_the_pixels() -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    decoded = decode_image(encode(Image.fromarray(smooth), "JPEG", quality=95))
    assert np.abs(decoded[..., 2].astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.fromarray(GREY), np.stack([GREY] * 3, -1), id="grey"),
        pytest.param(Image.fromarray(GREY > 99), np.stack([(GREY > 99) * 255] * 3, -1), id="one bit"),
        pytest.param(
            Image.fromarray(GREY.astype(np.uint16) * 257), np.stack([GREY] * 3, -1), id="16-bit grey, full range"
        ),
        pytest.param(
            Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)),
            np.stack([np.array([[0, 0, 1, 255]])] * 3, -1),
            id="16-bit grey keeps the upper eight bits",
        ),
        pytest.param(
            Image.fromarray(np.array([[[9, 8, 7, 255], [9, 8, 7, 0], [0, 0, 0, 128]]], np.uint8)),
            np.array([[[9, 8, 7], [255, 255, 255], [127, 127, 127]]]),
            id="transparency on white",
        ),
        pytest.param(
            Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8), "LA"),
            np.array([[[50] * 3, [255] * 3]]),
            id="grey with alpha",
        ),
    ],
)
def test_decode_of_every_kind_of_pixel_gives_8_bit_rgb(image: Image.Image, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(encode(image)), expected)


def test_decode_of_a_palette_with_a_transparent_entry_lays_it_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    decoded = decode_image(encode(palette, transparency=1))
    np.testing.assert_array_equal(decoded, [[[10, 20, 30], [255, 255, 255]]])
    bytes_per_entry = decode_image(encode(palette, transparency=bytes([255, 0])))
    np.testing.assert_array_equal(bytes_per_entry, decoded)


def test_decode_of_a_colour_key_lays_it_on_white() -> None:
    decoded = decode_image(encode(Image.fromarray(RGB), transparency=tuple(int(v) for v in RGB[0, 0])))
    np.testing.assert_array_equal(decoded[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(decoded[1], RGB[1])


def test_decode_of_cmyk_gives_rgb() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan: red
    decoded = decode_image(encode(cmyk, "JPEG", quality=95))
    assert decoded[8, 8, 0] > 230
    assert decoded[8, 8, 1:].max() < 60


def test_decode_of_a_16_bit_ppm_keeps_the_upper_eight_bits() -> None:
    samples = np.array([[0, 257, 65535]], ">u2")
    decoded = decode_image(b"P5 3 1 65535\n" + samples.tobytes())
    np.testing.assert_array_equal(decoded[..., 0], [[0, 1, 255]])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_the_exif_orientation(kind: str, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = (255, 0, 0)
    upright[:16, 32:] = (0, 255, 0)
    upright[16:, :16] = (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode_image(encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 3


def test_decode_with_broken_exif_reads_the_pixels() -> None:
    content = encode(Image.fromarray(RGB), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode_image(content), RGB)


def test_decode_of_an_animation_takes_the_first_picture() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    decoded = decode_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (decoded == 10).all()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(b"", UnreadableImageError, "the file is empty", id="empty"),
        pytest.param(b"hello, this is no image", UnreadableImageError, "not an image", id="text"),
        pytest.param(encode(Image.fromarray(RGB))[:-30], UnreadableImageError, "PNG image is damaged", id="cut PNG"),
        pytest.param(
            encode(Image.new("RGB", (99, 99)), "JPEG")[:640],
            UnreadableImageError,
            "JPEG image is damaged",
            id="cut JPEG",
        ),
        pytest.param(encode(Image.fromarray(RGB), "PDF"), UnsupportedImageError, "PDF images are not read", id="PDF"),
        pytest.param(encode(Image.fromarray(RGB), "ICO"), UnsupportedImageError, "ICO images are not read", id="ICO"),
        pytest.param(
            b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00",
            UnsupportedImageError,
            "HEIC/AVIF images are not read",
            id="HEIC",
        ),
        pytest.param(
            encode(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"),
            UnsupportedImageError,
            "F pixels are not read",
            id="float",
        ),
        pytest.param(
            encode(Image.fromarray(RGB[..., 0].astype(np.int32) * 70_000), "TIFF"),
            UnsupportedImageError,
            "32-bit samples",
            id="32 bit",
        ),
        pytest.param(png_header(8000, 8000), ImageTooLargeError, "8000 x 8000 pixels; at most 50000000", id="large"),
        pytest.param(
            png_header(50_000_000, 1),
            ImageTooLargeError,
            "50000000 x 1 pixels; a side may have at most 65535",
            id="wide",
        ),
        pytest.param(
            png_header(1, 65_536), ImageTooLargeError, "1 x 65536 pixels; a side may have at most 65535", id="high"
        ),
        pytest.param(png_header(99_999, 99_999), ImageTooLargeError, "far too many pixels", id="bomb"),
        pytest.param(bytes(21 * 1024 * 1024), ImageTooLargeError, "larger than the 20971520 bytes", id="long file"),
    ],
)
def test_decode_of_bad_bytes_says_what_is_wrong(content: bytes, error: type[ImageError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        decode_image(content)
    assert type(caught.value) is error


def test_read_of_the_longest_side_that_is_allowed_gives_pixels() -> None:
    for size in ((65_535, 1), (1, 65_535)):
        assert read_image(encode(Image.new("L", size)), 8, 8).shape == (8, 8, 3)


def test_decode_obeys_the_formats_of_the_limits() -> None:
    with pytest.raises(UnsupportedImageError, match="PNG images are not read"):
        decode_image(encode(Image.fromarray(RGB)), ImageLimits(formats=("JPEG",)))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_decode_of_damaged_bytes_gives_pixels_or_an_image_error(
    kind: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(encode(Image.fromarray(RGB), kind))
    for where, value in flips:
        content[int(where * len(content))] = value
    try:
        decoded = decode_image(bytes(content[: int(cut * len(content)) + 1]))
    except ImageError as error:
        assert error.message  # noqa: PT017  either outcome is right
    else:
        assert decoded.dtype == np.uint8
        assert decoded.shape[2] == 3


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_decode_of_any_bytes_raises_nothing_but_image_errors(content: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(content)


def test_resize_gives_the_size_asked_for_and_averages_when_shrinking() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, width=8, height=4)
    assert small.shape == (4, 8, 3)
    # Without antialiasing one column of the stripes would be picked: all black or all white.
    assert np.abs(small[:, 1:-1].astype(int) - 128).max() <= 3


def test_resize_to_the_same_size_changes_nothing() -> None:
    np.testing.assert_array_equal(resize_image(RGB, 9, 6), RGB)


def test_read_when_nothing_is_to_be_reduced_then_equals_decode_then_resize(plankton_images: list[Path]) -> None:
    for path in plankton_images[::10]:
        photograph = Image.open(path).convert("RGB")
        width, height = photograph.width // 2 + 1, photograph.height // 2 + 1
        expected = resize_image(decode_image(path.read_bytes()), width, height)
        np.testing.assert_array_equal(read_image(path.read_bytes(), width, height), expected)
        np.testing.assert_array_equal(load_image(path, width, height), expected)
        as_png = encode(photograph, "PNG")
        np.testing.assert_array_equal(read_image(as_png, 16, 16), resize_image(decode_image(as_png), 16, 16))


@pytest.mark.parametrize("side", [16, 40, 60], ids=lambda side: f"{side} px")
def test_read_when_a_jpeg_is_reduced_then_shows_the_same_picture(plankton_images: list[Path], side: int) -> None:
    for path in plankton_images[::10]:
        content = path.read_bytes()
        expected = resize_image(decode_image(content), side, side).astype(int)
        assert np.abs(read_image(content, side, side) - expected).mean() < 6


def test_read_when_a_jpeg_lies_on_its_side_then_keeps_enough_pixels() -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 400, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(wide, "JPEG", exif=exif)
    # Upright it is 50 wide and 400 high: only the height could be reduced, so that nothing may be.
    np.testing.assert_array_equal(read_image(content, 40, 100), resize_image(decode_image(content), 40, 100))


def test_decode_agrees_with_opencv_on_photographs(plankton_images: list[Path]) -> None:
    import cv2

    for path in plankton_images[::7]:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        difference = np.abs(decode_image(path.read_bytes()).astype(int) - bgr[..., ::-1])
        assert difference.mean() < 1  # decoders round differently, channels in another order would give far more


def test_load_names_the_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg: not an image") as caught:
        load_image(broken, 8, 8)
    assert caught.value.context["path"] == str(broken)
    with pytest.raises(UnreadableImageError, match=r"absent\.jpg: the file cannot be read \(No such file"):
        load_image(tmp_path / "absent.jpg", 8, 8)


def test_load_of_a_long_file_reads_no_more_than_the_limit(tmp_path: Path) -> None:
    long = tmp_path / "long.bmp"
    long.write_bytes(bytes(1000))
    with pytest.raises(ImageTooLargeError, match=r"long\.bmp: the file is larger than the 10 bytes"):
        load_image(long, 8, 8, ImageLimits(max_bytes=10))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((90, 60), (90, 60)),
        ((100, 100), (100, 100)),
        ((400, 300), (100, 75)),
        ((3, 900), (1, 100)),
        ((1000, 1), (100, 1)),
    ],
    ids=str,
)
def test_decode_reduced_keeps_the_shape_within_the_bound(
    kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    content = encode(Image.linear_gradient("L").resize(size).convert("RGB"), kind)

    found = decode_reduced(content, 100)

    assert (found.mode, found.size) == ("RGB", expected)
    assert reduced_size(content, 100) == expected
    whole = Image.fromarray(decode_image(content)).resize(expected, Image.Resampling.BILINEAR, reducing_gap=2.0)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(whole)).mean() < 4


def test_decode_reduced_is_upright_and_within_its_limits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.new("RGB", (400, 200)), "JPEG", exif=exif)

    assert decode_reduced(content, 100).size == reduced_size(content, 100) == (50, 100)
    with pytest.raises(ImageTooLargeError):
        decode_reduced(content, 100, ImageLimits(max_pixels=400 * 200 - 1))
    with pytest.raises(UnreadableImageError):
        decode_reduced(content[:300], 100)


def test_read_of_a_png_whose_pixels_are_noise_is_refused() -> None:
    head, _, tail = png_header(4, 4).partition(b"IDAT")
    noise = head[:-4] + struct.pack(">I", 45) + b"IDAT" + b"noise" * 9
    content = noise + struct.pack(">I", zlib.crc32(b"IDAT" + b"noise" * 9)) + tail[-12:]

    for read in (decode_image, lambda content: read_image(content, 8, 8)):
        with pytest.raises(UnreadableImageError):
            read(content)
