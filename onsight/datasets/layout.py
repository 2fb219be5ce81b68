"""How a data set lies on disk: folder names, the annotation table, and where an image of given labels belongs.

    <name>/images/{train,valid,test}/<class>/<image>    tracked by DVC (images.dvc)
    <name>/annotation_df.csv                            image_name, split, one 0/1 column per class; tracked by git
    <name>/metadata.yml                                 what it is, where it came from, how it was split; tracked by git

In a multi-label set an image lies in the folder of its first class, or in ``_none`` when it has no class at all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from onsight.errors import DatasetError

__all__ = [
    "ANNOTATIONS_FILE",
    "IMAGES_FOLDER",
    "METADATA_FILE",
    "NO_CLASS_FOLDER",
    "SPLITS",
    "Annotation",
    "annotations_text",
    "folders_of",
    "metadata_text",
    "read_metadata",
    "relative_path",
    "write_annotations",
    "write_metadata",
]

SPLITS = ("train", "valid", "test")
IMAGES_FOLDER = "images"
ANNOTATIONS_FILE = "annotation_df.csv"
METADATA_FILE = "metadata.yml"
NO_CLASS_FOLDER = "_none"


@dataclass(frozen=True)
class Annotation:
    """One row of the annotation table.

    Attributes:
        labels: 0 or 1 for each class of the table, in its order.
    """

    image_name: str
    split: str
    labels: tuple[int, ...]


def folders_of(labels: Sequence[int], classes: Sequence[str]) -> list[str]:
    """The class folders that an image with these labels may lie in, the usual one first."""
    own = [name for name, label in zip(classes, labels, strict=True) if label]
    return own or [NO_CLASS_FOLDER]


def relative_path(annotation: Annotation, classes: Sequence[str]) -> str:
    """Where the image belongs, relative to the data set's root, with forward slashes."""
    folder = folders_of(annotation.labels, classes)[0]
    return f"{IMAGES_FOLDER}/{annotation.split}/{folder}/{annotation.image_name}"


def annotations_text(classes: Sequence[str], annotations: Iterable[Annotation]) -> str:
    """The annotation table, sorted by split and image name so that versions compare line by line."""
    rows = sorted(annotations, key=lambda row: (SPLITS.index(row.split), row.image_name))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image_name", "split", *classes])
    writer.writerows([row.image_name, row.split, *row.labels] for row in rows)
    return table.getvalue()


def write_annotations(root: Path, classes: Sequence[str], annotations: Iterable[Annotation]) -> None:
    """Write the annotation table."""
    text = annotations_text(classes, annotations)
    (root / ANNOTATIONS_FILE).write_text(text, encoding="utf-8", newline="")


def metadata_text(metadata: dict[str, object]) -> str:
    """The facts about a version of the data set, as its file holds them."""
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)


def write_metadata(root: Path, metadata: dict[str, object]) -> None:
    """Write the facts about this version of the data set."""
    (root / METADATA_FILE).write_text(metadata_text(metadata), encoding="utf-8")


def read_metadata(root: Path) -> dict[str, Any]:
    """The facts about the version of the data set that lies in a folder now; none without the file.

    Raises:
        DatasetError: The file cannot be read, or holds no mapping.
    """
    path = root / METADATA_FILE
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", "restore it from git", path=str(path)) from error
    if not isinstance(found, dict):
        raise DatasetError(f"{path} holds no mapping", "restore it from git", path=str(path))
    return found
