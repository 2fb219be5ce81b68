"""The input pipeline: each image once with its own label, the same for the same seed and epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onsight.config import Augmenter
from onsight.domain import DatasetVersion, Split
from onsight.errors import UnreadableImageError
from onsight.images import load_image
from onsight.training import Augmentation
from onsight.training.pipeline import ImageSource, TrainingBatches, plain_batches
from tests.servers.training import SIDE

FLIPS = (Augmenter(name="Fliplr", args={"p": 0.5}), Augmenter(name="Flipud", args={"p": 0.5}))


def batches(split: Split, workers: int = 2, **source: int) -> TrainingBatches:
    return TrainingBatches(ImageSource(split, SIDE, SIDE, **source), Augmentation(FLIPS), 10, seed=4, workers=workers)


def rows(epoch: object) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    parts = list(epoch.as_numpy_iterator())  # type: ignore[attr-defined]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def test_epoch_when_shuffled_then_each_image_comes_once_with_its_label(plankton_set: DatasetVersion) -> None:
    split = plankton_set.splits["train"]
    plain = replace(batches(split), augmentation=Augmentation(()))
    images, labels = rows(plain.epoch(0))
    stored = {
        load_image(path, SIDE, SIDE).tobytes(): label for path, label in zip(split.paths, split.labels, strict=True)
    }
    assert plain.steps == 5
    assert len(stored) == len(split)
    assert {image.tobytes() for image in images} == set(stored)
    for image, label in zip(images, labels, strict=True):
        np.testing.assert_array_equal(stored[image.tobytes()], label)


def test_epoch_when_repeated_then_depends_on_seed_and_epoch_alone(plankton_set: DatasetVersion) -> None:
    split = plankton_set.splits["train"]
    first, other_epoch = rows(batches(split).epoch(3)), rows(batches(split).epoch(4))
    again, one_thread = rows(batches(split).epoch(3)), rows(batches(split, workers=1).epoch(3))
    not_kept = batches(split, budget_bytes=0)
    assert not not_kept.source.is_kept
    other_seed = rows(replace(not_kept, seed=5).epoch(3))
    for same in (again, one_thread, rows(not_kept.epoch(3))):
        np.testing.assert_array_equal(first[0], same[0])
        np.testing.assert_array_equal(first[1], same[1])
    assert not np.array_equal(first[0], other_epoch[0])
    assert not np.array_equal(first[0], other_seed[0])


def test_plain_batches_when_read_twice_then_keep_the_order(plankton_set: DatasetVersion) -> None:
    split = plankton_set.splits["valid"]
    dataset = plain_batches(ImageSource(split, SIDE, SIDE), 10)
    expected = np.stack([load_image(path, SIDE, SIDE) for path in split.paths])
    for _ in range(2):
        images, labels = rows(dataset)
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, split.labels)
    assert len(dataset) == 3


@pytest.mark.parametrize("budget_bytes", [0, 1 << 30], ids=["read at each use", "kept"])
def test_images_when_one_is_damaged_then_names_it(
    plankton_set: DatasetVersion, tmp_path: Path, budget_bytes: int
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"\xff\xd8\xff no picture")
    split = plankton_set.splits["train"]
    broken = Split("train", (*split.paths[:-1], damaged), split.labels)

    def read() -> None:
        source = batches(broken, budget_bytes=budget_bytes)
        with source.source.own_errors():
            rows(source.epoch(0))

    with pytest.raises(UnreadableImageError, match="damaged.jpg"):
        read()
