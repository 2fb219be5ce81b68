"""Reads a data set's annotation table and holds it against the files on disk, in both directions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from onsight.datasets.layout import ANNOTATIONS_FILE, IMAGES_FOLDER, SPLITS, Annotation, folders_of
from onsight.datasets.problems import Problems
from onsight.domain import DatasetVersion, Split
from onsight.errors import DatasetError

__all__ = ["parse_annotations", "read_annotations"]


def read_annotations(root: Path, tag: str, revision: str, name: str) -> DatasetVersion:
    """Read the data set that lies in a folder now.

    Args:
        root: The data set's folder.
        tag: Recorded as it is given.
        revision: Git's full commit hash, recorded as it is given.
        name: Of the data set.

    Returns:
        The data set; its splits keep the table's order.

    Raises:
        DatasetError: No table, a table that is malformed, rows without a file, or files without a row; all problems
            in one message.
    """
    root = root.absolute()
    classes, annotations = parse_annotations(root / ANNOTATIONS_FILE)
    paths = _locate(root, classes, annotations)
    splits = {}
    for split in dict.fromkeys((*SPLITS, *(row.split for row in annotations))):
        rows = [index for index, row in enumerate(annotations) if row.split == split]
        labels = np.array([annotations[index].labels for index in rows], np.float32).reshape(-1, len(classes))
        splits[split] = Split(split, tuple(paths[index] for index in rows), labels)
    return DatasetVersion(name, tag, revision, root, classes, splits)


def parse_annotations(path: Path) -> tuple[tuple[str, ...], list[Annotation]]:
    """Read an annotation table.

    Returns:
        The classes in the order of their columns, and the rows.

    Raises:
        DatasetError: The file is missing or malformed; all problems in one message.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}", path=str(path)) from error
    header = lines[0] if lines else []
    if header[:2] != ["image_name", "split"] or len(header) < 3 or len(set(header)) != len(header):  # noqa: PLR2004
        raise DatasetError(
            f"{path}: the first line must be image_name,split and one column per class, none twice; it is: "
            f"{','.join(header)[:200]}",
            path=str(path),
        )
    problems = Problems()
    rows = list(_parse_rows(lines[1:], len(header), problems))
    problems.raise_if_any(f"{path} is malformed")
    return tuple(header[2:]), rows


def _parse_rows(lines: Sequence[Sequence[str]], n_columns: int, problems: Problems) -> Iterator[Annotation]:
    values = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        if len(line) != n_columns:
            problems.add("lines with a wrong number of columns", f"line {number}")
        elif line[1] not in SPLITS:
            problems.add(f"lines whose split is none of {', '.join(SPLITS)}", f"line {number}: {line[1]!r}")
        elif not values.keys() >= set(line[2:]):
            problems.add("lines with a label that is neither 0 nor 1", f"line {number}")
        elif "/" in line[0] or line[0] in ("", ".", ".."):
            problems.add("lines whose image_name is no file name", f"line {number}: {line[0]!r}")
        else:
            yield Annotation(line[0], line[1], tuple(values[value] for value in line[2:]))


def _locate(root: Path, classes: Sequence[str], annotations: Sequence[Annotation]) -> list[Path]:
    """The file of each row."""
    on_disk = {str(path.relative_to(root / IMAGES_FOLDER)) for path in (root / IMAGES_FOLDER).glob("*/*/*")}
    wanted: dict[str, None] = {}
    problems = Problems()
    paths = []
    for row in annotations:
        places = [f"{row.split}/{folder}/{row.image_name}" for folder in folders_of(row.labels, classes)]
        place = next((place for place in places if place in on_disk), places[0])
        if place not in on_disk:
            problems.add("rows without an image file", f"{IMAGES_FOLDER}/{place}")
        if place in wanted:
            problems.add("images with more than one row", f"{IMAGES_FOLDER}/{place}")
        wanted[place] = None
        paths.append(root / IMAGES_FOLDER / place)
    for place in sorted(on_disk - wanted.keys()):
        problems.add("image files without a row", f"{IMAGES_FOLDER}/{place}")
    problems.raise_if_any(f"{ANNOTATIONS_FILE} and the images in {root} do not agree")
    return paths
