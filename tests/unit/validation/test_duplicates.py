"""Near duplicates: found when they are, and not where pictures merely look alike."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from onsight.datasets.duplicates import connected, fingerprint, near_duplicates
from onsight.images import decode_image

MAX_BITS = 10


def changed(image: Image.Image, how: str) -> Image.Image:
    if how == "smaller":
        return image.resize((max(image.width // 2, 8), max(image.height // 2, 8)), Image.Resampling.LANCZOS)
    if how == "brighter":
        return image.point(lambda value: min(255, int(value * 0.9 + 20)))
    if how == "grey":
        return image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def find(images: list[np.ndarray]) -> list[tuple[int, int]]:
    marks = [fingerprint(image) for image in images]
    bits, thumbnails = np.array([m.bits for m in marks]), np.array([m.thumbnail for m in marks])
    return near_duplicates(bits, thumbnails, np.arange(len(images)), MAX_BITS)


@pytest.fixture(scope="module")
def photographs(plankton_images: list[Path]) -> list[np.ndarray]:
    return [decode_image(path.read_bytes()) for path in plankton_images]


def test_different_photographs_are_no_near_duplicates(photographs: list[np.ndarray]) -> None:
    assert find(photographs) == []


@pytest.mark.parametrize("how", ["smaller", "brighter", "grey", "recompressed"])
def test_a_changed_copy_is_a_near_duplicate_of_its_original_alone(how: str, photographs: list[np.ndarray]) -> None:
    chosen = range(0, 100, 5)
    copies = [np.asarray(changed(Image.fromarray(photographs[row]), how).convert("RGB")) for row in chosen]
    expected = {(row, len(photographs) + index) for index, row in enumerate(chosen)}
    found = set(find(photographs + copies))
    assert found <= expected
    assert len(found) >= 0.9 * len(expected)


def test_what_all_pictures_share_makes_no_pair() -> None:
    """Plain parts in one fixture: the outline dominates hash and thumbnail, and only the texture tells them apart."""
    rng = np.random.default_rng(0)
    fixture = np.full((128, 128), 150.0) + np.linspace(0, 30, 128)
    fixture[30:36] = fixture[90:96] = 40
    textures = [np.asarray(Image.fromarray(rng.normal(0, 6, (16, 16))).resize((128, 128))) for _ in range(60)]
    pictures = [np.clip(fixture + texture, 0, 255) for texture in textures]
    pictures.append(np.clip(fixture + textures[7] + rng.normal(0, 3, (128, 128)), 0, 255))
    assert find([np.stack([picture] * 3, axis=-1).astype(np.uint8) for picture in pictures]) == [(7, 60)]


def test_blank_pictures_make_no_pair() -> None:
    assert find([np.full((20, 20, 3), value, np.uint8) for value in (0, 100, 255)]) == []
    assert find([np.zeros((20, 20, 3), np.uint8)]) == []


def test_the_hash_agrees_with_scipys_cosine_transform(photographs: list[np.ndarray]) -> None:
    for image in photographs[::10]:
        grey = np.asarray(Image.fromarray(image).convert("L").resize((64, 64), Image.Resampling.BOX), dtype=float)
        transform = dctn(grey, norm="ortho")
        order = sorted(((i + j, j, i) for i in range(16) for j in range(16)), key=lambda place: (place[0], place[2]))
        expected = [transform[i, j] > 0 for _, j, i in order[1:129]]
        np.testing.assert_array_equal(fingerprint(image).bits, expected)


def test_distances_agree_with_counting_bits_one_by_one(photographs: list[np.ndarray]) -> None:
    from onsight.datasets.duplicates import _close_hashes

    bits = np.array([fingerprint(image).bits for image in photographs])
    packed = np.packbits(bits, axis=1).view(np.uint64)
    for max_bits in (0, 30, 40):
        slow = [
            (i, j)
            for i in range(len(bits))
            for j in range(i + 1, len(bits))
            if sum(int(word).bit_count() for word in packed[i] ^ packed[j]) <= max_bits
        ]
        assert [tuple(pair) for pair in _close_hashes(bits, np.arange(len(bits)), max_bits).tolist()] == slow


def test_pairs_within_one_part_are_not_looked_for(photographs: list[np.ndarray]) -> None:
    marks = [fingerprint(photographs[index]) for index in (0, 0, 0, 5, 9)]
    bits, thumbnails = np.array([m.bits for m in marks]), np.array([m.thumbnail for m in marks])
    assert near_duplicates(bits, thumbnails, np.array([0, 0, 1, 1, 1]), MAX_BITS) == [(0, 2), (1, 2)]


def test_connected_joins_chains() -> None:
    assert connected(6, [(4, 5), (1, 2), (2, 4)]) == [0, 1, 1, 3, 1, 1]
