"""Which reviewed images a data set takes in, and into which split: never what its test split shows already."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onsight.datasets.duplicates import Fingerprint, connected, fingerprint, near_duplicates
from onsight.datasets.layout import Annotation
from onsight.db import ReviewedImage
from onsight.domain import DatasetVersion
from onsight.errors import ImageError
from onsight.images import decode_image

__all__ = ["Intake", "sort_out"]

# As the validation before training looks for them by default.
_NEAR_MAX_BITS = 10
_HASH_RANGE = 2**32
_SUFFIXES = {
    "BMP": "bmp", "GIF": "gif", "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "PPM": "ppm", "TIFF": "tiff", "WEBP": "webp",
}  # fmt: skip

FindImage = Callable[[str], bytes | None]


@dataclass
class Intake:
    """What becomes of reviewed images.

    Attributes:
        placed: Each new row of the annotation table, and the image that it is about.
        left_out: Images that stay outside, by the reason why.
        useless: Of those, the ones that will never come in: the data set shows the same already.
    """

    placed: dict[Annotation, ReviewedImage] = field(default_factory=dict)
    left_out: dict[str, list[ReviewedImage]] = field(default_factory=lambda: defaultdict(list))
    useless: list[ReviewedImage] = field(default_factory=list)

    def leave_out(self, image: ReviewedImage, why: str, *, for_good: bool = False) -> None:
        """Notes an image that stays outside."""
        self.left_out[why].append(image)
        if for_good:
            self.useless.append(image)


def sort_out(
    dataset: DatasetVersion, images: Sequence[ReviewedImage], find: FindImage, *, is_multi_label: bool
) -> Intake:
    """Decide about every image.

    An image that is a copy or a near duplicate of a test image stays outside, and so does whatever is a near duplicate
    of it. Near duplicates of train or valid images come into their split; the others are spread over train and valid
    in the data set's own proportion, by the digest of their content, so that an image's split never changes.

    Args:
        dataset: As it lies on disk.
        images: Oldest label first.
        find: Gives the bytes of an image by its digest, or None.
        is_multi_label: An image may have several classes, or none.
    """
    intake = Intake()
    fitting = [image for image in images if _fits(image, dataset.classes, intake, is_multi_label=is_multi_label)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        marks = list(pool.map(lambda image: _mark(image, find), fitting))
        known = _known(dataset, pool)
    new = _new_ones(fitting, marks, known, intake)
    groups = connected(len(known) + len(new), _pairs([*known, *new], len(known)))
    splits_of_group: dict[int, set[str]] = defaultdict(set)
    for group, one in zip(groups[: len(known)], known, strict=True):
        splits_of_group[group].add(one.split)
    first_of_group: dict[int, ReviewedImage] = {}
    for group, fresh in zip(groups[len(known) :], new, strict=True):
        image, beside = fresh.image, splits_of_group[group]
        if "test" in beside:
            intake.leave_out(image, "that are near duplicates of a test image", for_good=True)
            continue
        first = first_of_group.setdefault(group, image)
        split = _split(beside, first.image_sha256, _valid_share(dataset))
        labels = tuple(int(name in (image.labels or ())) for name in dataset.classes)
        name = f"{image.prediction_id}.{_SUFFIXES[image.image_format]}"
        intake.placed[Annotation(name, split, labels)] = image
    return intake


@dataclass(frozen=True)
class _Known:
    """An image of the data set."""

    split: str
    sha256: str
    mark: Fingerprint


@dataclass(frozen=True)
class _New:
    """A reviewed image."""

    image: ReviewedImage
    mark: Fingerprint


def _fits(image: ReviewedImage, classes: Sequence[str], intake: Intake, *, is_multi_label: bool) -> bool:
    if image.labels is None:
        intake.leave_out(image, "that people disagree about")
    elif not set(image.labels) <= set(classes):
        intake.leave_out(image, "with a label that is no class of the data set")
    elif not is_multi_label and len(image.labels) != 1:
        intake.leave_out(image, "with other than one label, which this data set asks for")
    elif image.image_format not in _SUFFIXES:
        intake.leave_out(image, "that were no image files")
    else:
        return True
    return False


def _mark(image: ReviewedImage, find: FindImage) -> Fingerprint | str:
    """The image's fingerprint, or why there is none."""
    content = find(image.image_sha256)
    if content is None:
        return "that are no longer in the image archive"
    try:
        return fingerprint(decode_image(content))
    except ImageError:
        return "that cannot be read"


def _new_ones(
    images: Sequence[ReviewedImage], marks: Sequence[Fingerprint | str], known: Sequence[_Known], intake: Intake
) -> list[_New]:
    """The images that can be read and that the data set lacks, each content once."""
    split_of = {one.sha256: one.split for one in known}
    by_content: dict[str, list[_New]] = defaultdict(list)
    for image, mark in zip(images, marks, strict=True):
        split = split_of.get(image.image_sha256)
        if isinstance(mark, str):
            intake.leave_out(image, mark)
        elif split is not None:
            what = "a test image" if split == "test" else "an image of the data set"
            intake.leave_out(image, f"that are copies of {what}", for_good=True)
        else:
            by_content[image.image_sha256].append(_New(image, mark))
    return [copies[0] for copies in by_content.values() if _agree(copies, intake)]


def _agree(copies: Sequence[_New], intake: Intake) -> bool:
    """Whether all copies of an image were labelled alike; those that are not taken in are noted."""
    if len({one.image.labels for one in copies}) > 1:
        for one in copies:
            intake.leave_out(one.image, "that were labelled in contradicting ways")
        return False
    for one in copies[1:]:
        intake.leave_out(one.image, "that are copies of each other", for_good=True)
    return True


def _known(dataset: DatasetVersion, pool: ThreadPoolExecutor) -> list[_Known]:
    def look(split: str, path: Path) -> _Known:
        content = path.read_bytes()
        return _Known(split, hashlib.sha256(content).hexdigest(), fingerprint(decode_image(content)))

    places = [(split.name, path) for split in dataset.splits.values() for path in split.paths]
    return list(pool.map(lambda place: look(*place), places))


def _pairs(marked: Sequence[_Known | _New], n_known: int) -> list[tuple[int, int]]:
    """Near duplicates of which at least one is new."""
    parts = np.maximum(0, np.arange(len(marked)) - n_known + 1)
    bits = np.array([one.mark.bits for one in marked])
    thumbnails = np.array([one.mark.thumbnail for one in marked])
    return near_duplicates(bits, thumbnails, parts, _NEAR_MAX_BITS)


def _valid_share(dataset: DatasetVersion) -> float:
    sizes = dataset.split_sizes()
    return sizes["valid"] / max(1, sizes["valid"] + sizes["train"])


def _split(beside: set[str], sha256: str, valid_share: float) -> str:
    if beside:
        return "train" if "train" in beside else "valid"
    return "valid" if int(sha256[:8], 16) < valid_share * _HASH_RANGE else "train"
