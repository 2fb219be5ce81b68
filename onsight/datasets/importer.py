"""Makes a data set from a folder of images, or adds a version to one; the result is complete or absent."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from onsight.datasets.annotations import read_annotations
from onsight.datasets.layout import (
    IMAGES_FOLDER,
    SPLITS,
    Annotation,
    relative_path,
    write_annotations,
    write_metadata,
)
from onsight.datasets.problems import Problems
from onsight.datasets.repository import DatasetRepository
from onsight.datasets.sources import Source, SourceImage, read_class_folders, read_label_table, verify_images
from onsight.datasets.splitting import SplitItem, assign_splits
from onsight.datasets.versions import brought_back_on_failure, disk_errors, locked, prepare_version
from onsight.domain import DatasetVersion
from onsight.errors import ConfigError, DatasetError

__all__ = ["ImportRequest", "import_dataset", "new_repository", "write_working_copy"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REMOTES = ".dvc_remotes"


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and as what.

    Attributes:
        source: A folder of class folders, or with ``labels`` the folder of the images.
        name: Of the data set: a folder below ``ds_root``.
        split: Fractions of train, valid and test.
        tag: Of the version that is made; new in the data set.
        labels: A table of labels, for images with several classes or with splits that are chosen already.
        rename: Put the class in front of file names that occur twice.

    Raises:
        ConfigError: When made with a value that cannot be used.
    """

    source: Path
    name: str
    ds_root: Path = Path("datasets")
    split: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    tag: str = "v1.0.0"
    labels: Path | None = None
    rename: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"the name {self.name!r} may hold letters, digits, - and _ alone, at most 63")
        if not _TAG.fullmatch(self.tag):
            raise ConfigError(f"the tag {self.tag!r} cannot be used; take one like v1.0.0")
        if min(self.split) <= 0 or not math.isclose(sum(self.split), 1, abs_tol=1e-6):
            raise ConfigError(f"the split {self.split} must be three fractions above 0 whose sum is 1")


def import_dataset(request: ImportRequest, *, show_progress: bool = False) -> DatasetVersion:
    """Check the images, divide them into splits and make a version of a data set from them.

    A new data set is built in a hidden folder and renamed at the end. A version of an existing one is added on its
    branch ``main``: images that were in the version before stay in their split, and a failure brings the version
    before back.

    Args:
        request: What to import.
        show_progress: Draw bars on standard error.

    Returns:
        The version made, as it lies on disk.

    Raises:
        DatasetError: Whatever is wrong with the images, all in one message; or the data set holds uncommitted work,
            or has the tag already.
    """
    source = _read_source(request, show_progress=show_progress)
    target = request.ds_root / request.name
    with locked(request.ds_root, request.name), disk_errors(request.ds_root):
        if target.exists():
            commit = _add_version(DatasetRepository(target), request, source, show_progress=show_progress)
        else:
            with new_repository(request.ds_root, request.name) as repository:
                annotations = _divide(source, request, {})
                _write(repository.root, request, source, annotations, show_progress=show_progress)
                commit = repository.add_version(request.tag, f"{request.name} {request.tag}")
    return read_annotations(target, request.tag, commit, request.name)


@contextmanager
def new_repository(ds_root: Path, name: str) -> Iterator[DatasetRepository]:
    """A repository in a hidden folder that takes its name when the block ends well, and is removed otherwise."""
    partial, remote = ds_root / f".{name}.partial", ds_root / _REMOTES / name
    shutil.rmtree(partial, ignore_errors=True)
    had_remote = remote.exists()
    try:
        partial.mkdir(parents=True)
        remote.mkdir(parents=True, exist_ok=True)
        yield DatasetRepository.create(partial, f"../../{_REMOTES}/{name}")
        partial.rename(ds_root / name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if not had_remote:
            shutil.rmtree(remote, ignore_errors=True)
        raise


def write_working_copy(
    root: Path, classes: Sequence[str], placed: Mapping[Annotation, Path], *, show_progress: bool
) -> None:
    """Replace the images and annotations of a data set.

    Args:
        root: The data set's folder.
        classes: In the order of the labels.
        placed: For each row of the new annotations, the file to copy.
        show_progress: Draw a bar on standard error.
    """
    shutil.rmtree(root / IMAGES_FOLDER, ignore_errors=True)
    bar = tqdm(placed.items(), "copying images", unit=" images", disable=not show_progress)
    for annotation, path in bar:
        target = root / relative_path(annotation, classes)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    write_annotations(root, classes, placed)


def _read_source(request: ImportRequest, *, show_progress: bool) -> Source:
    problems = Problems()
    if request.labels is None:
        source = read_class_folders(request.source, problems, rename=request.rename)
    else:
        source = read_label_table(request.labels, request.source, problems)
    images = verify_images(source.images, problems, show_progress=show_progress)
    problems.raise_if_any(f"{request.source} cannot be imported", "repair or remove them; nothing was made")
    return replace(source, images=images)


def _divide(source: Source, request: ImportRequest, kept: Mapping[str, str]) -> list[Annotation]:
    items = [
        SplitItem(_classes_of(image, source.classes), image.md5, image.split or kept.get(image.md5))
        for image in source.images
    ]
    splits = assign_splits(items, request.split, request.seed)
    problems = Problems()
    for index, name in enumerate(source.classes):
        own = [split for image, split in zip(source.images, splits, strict=True) if image.labels[index]]
        missing = [split for split in SPLITS if split not in own]
        if missing:
            problems.add(
                "classes that do not reach every split; at least three different images are needed",
                f"{name} ({len(own)} images, none for {' and '.join(missing)})",
            )
    problems.raise_if_any(f"{request.source} cannot be divided", "add images to these classes, or leave them out")
    return [
        Annotation(image.image_name, split, image.labels) for image, split in zip(source.images, splits, strict=True)
    ]


def _classes_of(image: SourceImage, classes: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name, label in zip(classes, image.labels, strict=True) if label)


def _write(
    root: Path, request: ImportRequest, source: Source, annotations: Sequence[Annotation], *, show_progress: bool
) -> None:
    paths = (image.path for image in source.images)
    write_working_copy(root, source.classes, dict(zip(annotations, paths, strict=True)), show_progress=show_progress)
    multi_label = any(sum(row.labels) != 1 for row in annotations)
    write_metadata(
        root,
        {
            "name": request.name,
            "version": request.tag,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": str(request.source.absolute()),
            "classifier_type": "multi-label" if multi_label else "multi-class",
            "classes": list(source.classes),
            "images": len(annotations),
            "split_sizes": {split: sum(row.split == split for row in annotations) for split in SPLITS},
            "split_fractions": dict(zip(SPLITS, request.split, strict=True)),
            "seed": request.seed,
        },
    )


def _add_version(repository: DatasetRepository, request: ImportRequest, source: Source, *, show_progress: bool) -> str:
    before = prepare_version(repository, request.tag)
    with brought_back_on_failure(repository, before):
        annotations = _divide(source, request, _splits_by_content(repository.root))
        _write(repository.root, request, source, annotations, show_progress=show_progress)
        return repository.add_version(request.tag, f"{request.name} {request.tag}")


def _splits_by_content(root: Path) -> dict[str, str]:
    """The split of every image of the version before, by the hash of its content."""
    files = (path for path in (root / IMAGES_FOLDER).glob("*/*/*") if path.is_file())
    return {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(): path.parts[-3] for path in files}
