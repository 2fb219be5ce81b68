"""Reviewed images become the next version of a data set, each with where it came from."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from onsight.datasets.annotations import parse_annotations, read_annotations
from onsight.datasets.intake import Intake, sort_out
from onsight.datasets.layout import (
    ANNOTATIONS_FILE,
    METADATA_FILE,
    SPLITS,
    Annotation,
    annotations_text,
    metadata_text,
    read_metadata,
    relative_path,
)
from onsight.datasets.repository import DatasetRepository
from onsight.datasets.unfinished import Begun, recover, recoverable
from onsight.datasets.versions import disk_errors, locked, prepare_version
from onsight.db import Database, ReviewedImage, exclude_reviewed, mark_reviewed, waiting_reviewed_images
from onsight.errors import DatasetError
from onsight.image_archive import ImageArchive

__all__ = ["add_reviewed", "reviewed_names"]

_VERSION = re.compile(r"(v?)(\d+)\.(\d+)\.(\d+)")
_PROVENANCE = "reviewed"

_log = logging.getLogger(__name__)


def add_reviewed(
    database: Database,
    archive: ImageArchive,
    dataset_root: Path,
    name: str,
    *,
    tag: str | None = None,
    model_name: str | None = None,
) -> str | None:
    """Add the labelled images of the review queue that no version holds yet as a new version, on branch ``main``.

    A failure brings the version before back, and so does the next call after a process that was killed, unless
    somebody has worked on what that one left: this is refused, and nothing is touched. What is left out is logged with
    its reason; ``metadata.yml`` says of each image which prediction it was, by which version of the model, and who
    labelled it when.

    Args:
        database: With its tables made.
        archive: Where the images' bytes are.
        dataset_root: The folder of the data sets.
        name: Of the data set.
        tag: Of the new version; the newest one's with its middle number one higher if None (v2.0.0: v2.1.0).
        model_name: Take what this model was asked about alone; needed where labels of several models wait.

    Returns:
        The tag of the version that holds the images, or None if there is nothing new.

    Raises:
        DatasetError: No such data set, somebody's work in it, the tag is taken, or labels of several models wait.
        DependencyError: The database does not answer.
    """
    waiting = waiting_reviewed_images(database)
    waiting = [image for image in waiting if model_name in (None, image.model_name)]
    _refuse_several_models(waiting)
    if not waiting:
        return None
    repository = DatasetRepository(dataset_root / name)
    if not repository.exists():
        raise DatasetError(f"{repository.root} is no data set", "make it first: python -m onsight.datasets import")
    with locked(dataset_root, name), disk_errors(dataset_root):
        addition = _Addition(repository, tag)
        kept_in = addition.versions_of(waiting)
        mark_reviewed(database, kept_in.items())
        intake = addition.look_at([image for image in waiting if image.prediction_id not in kept_in], archive)
        exclude_reviewed(database, [image.prediction_id for image in intake.useless])
        if not intake.placed:
            return next(reversed(kept_in.values()), None)
        addition.write(intake, archive)
        mark_reviewed(database, [(image.prediction_id, addition.tag) for image in intake.placed.values()])
    return addition.tag


def reviewed_names(root: Path) -> frozenset[str]:
    """File names of the images that came into a data set from the review queue, as it lies in a folder now.

    Raises:
        DatasetError: ``metadata.yml`` cannot be read.
    """
    return frozenset(read_metadata(root).get(_PROVENANCE) or {})


class _Addition:
    """One new version of one data set; made under the data set's lock."""

    def __init__(self, repository: DatasetRepository, tag: str | None) -> None:
        self._repository = repository
        self._root = repository.root
        recover(repository)
        self.tag = tag or _next_tag(repository.git.tags(), self._root.name)
        self._before = prepare_version(repository, self.tag)
        self._metadata = read_metadata(self._root)

    def versions_of(self, images: Sequence[ReviewedImage]) -> dict[str, str]:
        """The tags of versions that hold some of the images already, by prediction; a killed process left them so."""
        kept = {entry["prediction_id"]: entry["version"] for entry in self._provenance().values()}
        return {image.prediction_id: kept[image.prediction_id] for image in images if image.prediction_id in kept}

    def look_at(self, images: Sequence[ReviewedImage], archive: ImageArchive) -> Intake:
        """Decide about the images, and say what stays outside."""
        if not images:
            return Intake()
        dataset = read_annotations(self._root, self._repository.describe(), self._before, self._root.name)
        is_multi_label = self._metadata.get("classifier_type") == "multi-label"
        intake = sort_out(dataset, images, archive.find, is_multi_label=is_multi_label)
        for why, left in intake.left_out.items():
            ids = ", ".join(image.prediction_id for image in left)
            _log.warning("%s: %d reviewed images %s are left out: %s", dataset.name, len(left), why, ids)
        return intake

    def write(self, intake: Intake, archive: ImageArchive) -> None:
        """Write the images with their rows, commit, push and tag.

        Raises:
            DatasetError: Git, DVC or the disk failed; the version before is back.
        """
        classes, rows = parse_annotations(self._root / ANNOTATIONS_FILE)
        paths = {image.image_sha256: relative_path(row, classes) for row, image in intake.placed.items()}
        texts = {
            ANNOTATIONS_FILE: annotations_text(classes, [*rows, *intake.placed]),
            METADATA_FILE: metadata_text(self._new_metadata([*rows, *intake.placed], intake.placed)),
        }
        message = f"{self._root.name} {self.tag}: {len(paths)} reviewed images"
        with recoverable(self._repository, Begun(self._before, self.tag, message, list(paths.values()), texts)):
            for sha256, path in paths.items():
                _write_image(self._root / path, archive.find(sha256), sha256)
            for name, text in texts.items():
                (self._root / name).write_text(text, encoding="utf-8", newline="")
            self._repository.add_version(self.tag, message)

    def _provenance(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self._metadata.get(_PROVENANCE) or {}
        return found

    def _new_metadata(
        self, rows: Sequence[Annotation], placed: Mapping[Annotation, ReviewedImage]
    ) -> dict[str, object]:
        changed = {
            "version": self.tag,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "images": len(rows),
            "split_sizes": {split: sum(row.split == split for row in rows) for split in SPLITS},
        }
        origins = {row.image_name: _origin(image, self.tag) for row, image in placed.items()}
        return {**self._metadata, **changed, _PROVENANCE: {**self._provenance(), **origins}}


def _refuse_several_models(images: Sequence[ReviewedImage]) -> None:
    models = sorted({image.model_name for image in images})
    if len(models) > 1:
        raise DatasetError(
            f"reviewed images of several models wait: {', '.join(models)}", "name the one whose data set this is: --model"
        )


def _next_tag(tags: Sequence[str], name: str) -> str:
    found = [match for match in map(_VERSION.fullmatch, tags) if match]
    if not found:
        raise DatasetError(
            f"no tag of the data set {name} reads like v1.0.0; its tags: {', '.join(tags)}", "name the new one: --tag"
        )
    newest = max(found, key=lambda match: tuple(int(number) for number in match.groups()[1:]))
    return f"{newest[1]}{newest[2]}.{int(newest[3]) + 1}.0"


def _origin(image: ReviewedImage, tag: str) -> dict[str, object]:
    return {
        "prediction_id": image.prediction_id,
        "model": f"{image.model_name}-v{image.model_version}",
        "labelled_by": list(image.labelled_by),
        "labelled_at": image.labelled_at.isoformat(timespec="seconds"),
        "image_sha256": image.image_sha256,
        "version": tag,
    }


def _write_image(path: Path, content: bytes | None, sha256: str) -> None:
    if content is None:
        raise DatasetError(f"the image {sha256} left the archive while it was copied", "run it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
