"""What adding a version to a data set needs each time: one writer, a clean working copy on ``main``, its return."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onsight.datasets.repository import DatasetRepository
from onsight.errors import DatasetError

__all__ = ["bring_back", "brought_back_on_failure", "disk_errors", "locked", "prepare_version"]


@contextmanager
def locked(ds_root: Path, name: str) -> Iterator[None]:
    """Keep a second writer of the same data set out.

    Raises:
        DatasetError: There is one, or the disk refuses.
    """
    with disk_errors(ds_root):
        ds_root.mkdir(parents=True, exist_ok=True)
        lock = (ds_root / f".{name}.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatasetError(f"another import into {ds_root / name} is running", "wait until it has ended") from error
        yield


@contextmanager
def disk_errors(ds_root: Path) -> Iterator[None]:
    """Turns what the disk refuses into an error that names the folder.

    Raises:
        DatasetError: Something could not be read or written.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{ds_root} cannot be written: {error.strerror or error}", "look at its free space and permissions"
        ) from error


def prepare_version(repository: DatasetRepository, tag: str) -> str:
    """Refuse what would lose work; bring the working copy to the newest version on ``main``.

    Returns:
        The commit that the working copy is at.

    Raises:
        DatasetError: No data set, the tag is taken, or there are uncommitted changes.
    """
    name = repository.root.name
    if not repository.exists():
        raise DatasetError(f"{repository.root} exists and is no data set", "choose another --name")
    tags = repository.git.tags()
    if tag in tags:
        raise DatasetError(
            f"the data set {name} has the tag {tag} already; its tags: {', '.join(tags)}",
            "add a version under another one with --tag",
        )
    changes = repository.changes()
    if changes:
        raise DatasetError(
            f"the data set {name} holds uncommitted changes, such as {(changes.work + changes.deleted)[0]}",
            "commit or undo them first",
        )
    main = repository.git.commit_of("refs/heads/main")
    if main is not None and repository.git.branch() != "main":
        repository.switch(main)
        repository.restore_data()
    return repository.head()


@contextmanager
def brought_back_on_failure(repository: DatasetRepository, before: str) -> Iterator[None]:
    """If the block fails, bring the working copy and its branch back to a commit."""
    try:
        yield
    except BaseException:
        bring_back(repository, before)
        raise


def bring_back(repository: DatasetRepository, before: str) -> None:
    """Bring the working copy and its branch back to a commit; what neither holds is gone."""
    repository.git.run("reset", "--hard", "--quiet", before)
    repository.discard_changes()
    repository.restore_data()
