"""Central storage in a local folder: each publication is one rename."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onsight.errors import StorageError
from onsight.storage.store import checked_key, taken

__all__ = ["LocalArtifactStore"]

# On the same file system as the rest, so that a rename out of it is one step; its name is no allowed key.
_STAGING = ".staging"


class LocalArtifactStore:
    """Objects are files below ``root``.

    Args:
        root: The folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write one object; see ``ArtifactStore.put_bytes``."""
        target = self._path(key)

        def write(staged: Path) -> None:
            _write_durably(staged, content)
            target.parent.mkdir(parents=True, exist_ok=True)
            # Unlike a rename, a link fails when the name is taken, also when two processes race.
            os.link(staged, target)

        self._publish(target, write)

    def publish_directory(self, source: Path, prefix: str) -> None:
        """Write a folder's files; see ``ArtifactStore.publish_directory``."""
        target = self._path(prefix)

        def write(staged: Path) -> None:
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                copy = staged / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                _write_durably(copy, path.read_bytes())
            target.parent.mkdir(parents=True, exist_ok=True)
            # Renaming onto a folder that holds files fails: nothing is overwritten.
            staged.rename(target)

        self._publish(target, write)

    def read_bytes(self, key: str) -> bytes:
        """One object's bytes; see ``ArtifactStore.read_bytes``."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise StorageError(f"central storage has no {key}", hint=f"looked in {self._root}", key=key) from None
        except OSError as error:
            raise self._unreadable(key, error) from error

    def fetch_directory(self, prefix: str, cache: Path) -> Path:  # noqa: ARG002 - the protocol's; nothing is copied here
        """The stored folder itself; see ``ArtifactStore.fetch_directory``."""
        if not self.list(prefix):
            raise StorageError(f"central storage has no {prefix}", hint=f"looked in {self._root}", key=prefix)
        return self._path(prefix)

    def list(self, prefix: str) -> list[str]:
        """Every key below a prefix; see ``ArtifactStore.list``."""
        top = self._path(prefix)
        try:
            return sorted(path.relative_to(self._root).as_posix() for path in top.rglob("*") if path.is_file())
        except OSError as error:
            raise self._unreadable(prefix, error) from error

    def exists(self, key: str) -> bool:
        """Whether the file or folder is there."""
        try:
            return self._path(key).exists()
        except OSError as error:
            raise self._unreadable(key, error) from error

    def size_bytes(self, prefix: str) -> int:
        """Bytes of the files; see ``ArtifactStore.size_bytes``."""
        path = self._path(prefix)
        try:
            if path.is_file():
                return path.stat().st_size
            return sum(below.stat().st_size for below in path.rglob("*") if below.is_file())
        except OSError as error:
            raise self._unreadable(prefix, error) from error

    def delete(self, prefix: str) -> None:
        """Remove a file or folder; see ``ArtifactStore.delete``."""
        path = self._path(prefix)
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def check_writable(self) -> None:
        """Write and remove a small file; see ``ArtifactStore.check_writable``."""
        with self._staged() as staged:
            _write_durably(staged, b"onsight")

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _publish(self, target: Path, write: Callable[[Path], None]) -> None:
        key = target.relative_to(self._root).as_posix()
        if self.exists(key):
            raise taken(key)
        with self._staged() as staged:
            try:
                write(staged)
            except OSError as error:
                if self.exists(key):
                    raise taken(key) from error
                raise
        _sync_folder(target.parent)

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A fresh name on the same file system; what is there at the end is removed."""
        staged = self._root / _STAGING / uuid.uuid4().hex
        try:
            staged.parent.mkdir(parents=True, exist_ok=True)
            yield staged
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            with suppress(OSError):
                staged.unlink()

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(
            f"central storage {self._root} cannot be written: {error.strerror}",
            hint="check its free space and permissions, or set ONSIGHT_CENTRAL_STORAGE_URL",
        )

    def _unreadable(self, key: str, error: OSError) -> StorageError:
        return StorageError(f"{key} in central storage {self._root} cannot be read: {error.strerror}", key=key)


def _write_durably(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """A new name in a folder survives a power cut only once the folder itself is on the disk.

    What was published stays published where a network file system refuses this.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
