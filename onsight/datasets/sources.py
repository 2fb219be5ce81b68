"""Reads what a user wants to import: a folder of class folders, or a folder with a table of labels."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from onsight.datasets.layout import NO_CLASS_FOLDER, SPLITS
from onsight.datasets.problems import Problems
from onsight.errors import DatasetError, ImageError, UnsupportedImageError
from onsight.images import decode_image

__all__ = ["Source", "SourceImage", "read_class_folders", "read_label_table", "verify_images"]


@dataclass(frozen=True)
class SourceImage:
    """One image to import.

    Attributes:
        image_name: The file name that it gets.
        labels: 0 or 1 for each class.
        split: Chosen by the user, or None.
        md5: Of the content; empty until ``verify_images``.
    """

    path: Path
    image_name: str
    labels: tuple[int, ...]
    split: str | None = None
    md5: str = ""


@dataclass(frozen=True)
class Source:
    """All images to import, in a fixed order."""

    classes: tuple[str, ...]
    images: tuple[SourceImage, ...]


def read_class_folders(folder: Path, problems: Problems, *, rename: bool = False) -> Source:
    """List the images of a folder whose sub-folders are the classes; deeper folders belong to their class.

    Args:
        folder: Hidden files and folders in it are passed over.
        problems: Gets classes without images and file names that occur twice.
        rename: Put the class in front of file names that occur twice.

    Raises:
        DatasetError: The folder does not exist or has no sub-folders.
    """
    class_folders = [path for path in _visible(folder) if path.is_dir()]
    if not class_folders:
        raise DatasetError(f"{folder} holds no class folders", "give a folder with one sub-folder of images per class")
    classes = tuple(path.name for path in class_folders)
    if {name.lower() for name in classes} <= {*SPLITS, "val", "validation"}:
        raise DatasetError(
            f"{folder} holds splits ({', '.join(classes)}), not classes",
            "put the images in one folder and give --labels a table with the columns image_name, split and the classes",
        )
    images = []
    for index, class_folder in enumerate(class_folders):
        labels = tuple(int(other == index) for other in range(len(classes)))
        files = list(_files_below(class_folder))
        images += [SourceImage(path, path.name, labels) for path in files]
        if not files:
            problems.add("class folders without an image", class_folder.name)
    for path in _visible(folder):
        if path.is_file():
            problems.add("files that lie beside the class folders", path.name)
    _check_classes(classes, problems)
    return Source(classes, _with_unique_names(folder, images, problems, rename=rename))


def read_label_table(table: Path, folder: Path, problems: Problems) -> Source:
    """Read a table of labels for the images of a folder.

    The columns are ``image_name`` (a path relative to the folder), optionally ``split``, and one column of 0 and 1 per
    class; an image may have several classes, or none.

    Args:
        table: A CSV file.
        folder: Where the images are; each must have exactly one row.
        problems: Gets whatever is wrong with single rows, images and classes.

    Raises:
        DatasetError: The table cannot be read or its first line is wrong.
    """
    header, rows = _read_csv(table)
    first_class = 2 if header[1:2] == ["split"] else 1
    classes = tuple(header[first_class:])
    if header[0] != "image_name" or not classes or len(set(header)) != len(header):
        raise DatasetError(
            f"{table}: the first line must be image_name, then split if the splits are chosen already, then one "
            f"column per class, none twice; it is: {','.join(header)[:200]}"
        )
    images = []
    for number, row in enumerate(rows, start=2):
        labels, split = row[first_class:], row[1] if first_class == 2 else None  # noqa: PLR2004
        if len(row) != len(header) or not {*labels} <= {"0", "1"}:
            problems.add(f"lines of {table.name} without one 0 or 1 per class", f"line {number}")
        elif split not in (None, *SPLITS):
            problems.add(f"lines of {table.name} whose split is none of {', '.join(SPLITS)}", f"line {number}")
        elif not (folder / row[0]).is_file():
            problems.add(f"lines of {table.name} without an image file", row[0])
        else:
            path = folder / row[0]
            images.append(SourceImage(path, path.name, tuple(int(label) for label in labels), split))
    _check_table(table, folder, Source(classes, tuple(images)), problems)
    return Source(classes, _with_unique_names(folder, images, problems, rename=False))


def verify_images(images: Sequence[SourceImage], problems: Problems, *, show_progress: bool) -> tuple[SourceImage, ...]:
    """Decode every image once and hash its content, in parallel.

    Args:
        images: To look at.
        problems: Gets files that are damaged, no images, or of a format that is not read.
        show_progress: Draw a bar on standard error.

    Returns:
        The images with their hashes, the bad ones left out.
    """
    good = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(_verify, images, chunksize=32)
        bar = tqdm(answers, "checking images", len(images), unit=" images", disable=not show_progress)
        for image, (md5, error) in zip(images, bar, strict=True):
            if error is None:
                good.append(replace(image, md5=md5))
            else:
                unknown = isinstance(error, UnsupportedImageError)
                kind = "files in a format that is not read" if unknown else "files that are no readable image"
                problems.add(kind, f"{image.path} ({error.message})")
    return tuple(good)


def _verify(image: SourceImage) -> tuple[str, ImageError | None]:
    try:
        content = image.path.read_bytes()
        decode_image(content)
    except ImageError as error:
        return "", error
    except OSError as error:
        return "", ImageError(str(error.strerror))
    return hashlib.md5(content, usedforsecurity=False).hexdigest(), None


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}") from error


def _files_below(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _check_classes(classes: Sequence[str], problems: Problems) -> None:
    for name in classes:
        if name in ("image_name", "split", NO_CLASS_FOLDER) or not name.strip() or "/" in name or "\\" in name:
            problems.add("classes with a name that cannot be used", repr(name))
    if len(classes) == 1:
        problems.add("classes in all, where a classifier needs two", classes[0])


def _check_table(table: Path, folder: Path, source: Source, problems: Problems) -> None:
    _check_classes(source.classes, problems)
    counts = Counter(str(image.path.relative_to(folder)) for image in source.images)
    for name, count in counts.items():
        if count > 1:
            problems.add(f"images with several lines in {table.name}", name)
    for path in _files_below(folder):
        name = str(path.relative_to(folder))
        if name not in counts and path.resolve() != table.resolve():
            problems.add(f"files without a line in {table.name}", name)
    for index, name in enumerate(source.classes):
        if not any(image.labels[index] for image in source.images):
            problems.add("classes without an image", name)


def _with_unique_names(
    folder: Path, images: Sequence[SourceImage], problems: Problems, *, rename: bool
) -> tuple[SourceImage, ...]:
    """The file name is the key of an image in the annotations, so it may occur once in the data set."""
    counts = Counter(image.image_name for image in images)
    if rename:
        images = [
            image
            if counts[image.image_name] == 1
            else replace(image, image_name="_".join(image.path.relative_to(folder).parts))
            for image in images
        ]
        counts = Counter(image.image_name for image in images)
    places: dict[str, list[str]] = {}
    for image in images:
        if counts[image.image_name] > 1:
            places.setdefault(image.image_name, []).append(str(image.path.relative_to(folder)))
    for paths in places.values():
        if len(set(paths)) > 1:
            problems.add("file names that occur more than once (see --rename)", " = ".join(paths))
    return tuple(images)


def _read_csv(table: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read: {error}") from error
    if len(lines) < 2:  # noqa: PLR2004
        raise DatasetError(f"{table} holds no rows")
    return lines[0], lines[1:]
