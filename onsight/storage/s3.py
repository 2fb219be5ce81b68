"""Central storage in an S3 bucket, through fsspec; credentials come from the usual AWS environment variables."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import s3fs
from botocore.exceptions import BotoCoreError, ClientError

from onsight.errors import StorageError
from onsight.storage.store import checked_key, taken

__all__ = ["S3ArtifactStore"]

_FAILURES = (OSError, BotoCoreError, ClientError)
_TIMEOUT_S = 10


class S3ArtifactStore:
    """Objects below ``s3://bucket/prefix``.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint_url: Of an S3 server other than the default one, or empty.
    """

    def __init__(self, url: str, endpoint_url: str = "") -> None:
        self._url = url.rstrip("/")
        self._root = self._url.removeprefix("s3://")
        self._files = s3fs.S3FileSystem(
            endpoint_url=endpoint_url or None,
            config_kwargs={
                "connect_timeout": _TIMEOUT_S,
                "read_timeout": 6 * _TIMEOUT_S,
                "retries": {"max_attempts": 2},
            },
            use_listings_cache=False,
        )

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write one object; see ``ArtifactStore.put_bytes``."""
        path = self._path(key)
        with self._failing("written", key):
            if self._files.isfile(path):
                raise taken(key)
            try:
                # Refused by the server if another process was quicker.
                self._files.pipe_file(path, content, mode="create")
            except _FAILURES as error:
                if self._files.isfile(path):
                    raise taken(key) from error
                raise

    def publish_directory(self, source: Path, prefix: str) -> None:
        """Write a folder's files; see ``ArtifactStore.publish_directory``."""
        if self.exists(prefix):
            raise taken(prefix)
        written: list[str] = []
        try:
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                key = f"{prefix}/{path.relative_to(source).as_posix()}"
                self.put_bytes(key, path.read_bytes())
                written.append(key)
        except BaseException:
            for key in written:
                with suppress(StorageError):
                    self.delete(key)
            raise

    def read_bytes(self, key: str) -> bytes:
        """One object's bytes; see ``ArtifactStore.read_bytes``."""
        with self._failing("read", key):
            return bytes(self._files.cat_file(self._path(key)))

    def fetch_directory(self, prefix: str, cache: Path) -> Path:
        """A copy in ``cache``; see ``ArtifactStore.fetch_directory``."""
        keys = self.list(prefix)
        if not keys:
            raise StorageError(f"central storage {self._url} has no {prefix}", key=prefix)
        for key in keys:
            _write_copy(cache / key, self.read_bytes(key))
        return cache / prefix

    def list(self, prefix: str) -> list[str]:
        """Every key below a prefix; see ``ArtifactStore.list``."""
        with self._failing("read", prefix):
            found = [str(path) for path in self._files.find(self._path(prefix))]
        # Some servers keep a folder when its last object is gone, and name the folder itself.
        below = f"{self._path(prefix)}/"
        return sorted(path.removeprefix(f"{self._root}/") for path in found if path.startswith(below))

    def exists(self, key: str) -> bool:
        """Whether an object, or anything below the key, is there."""
        with self._failing("read", key):
            is_object = bool(self._files.isfile(self._path(key)))
        return is_object or bool(self.list(key))

    def size_bytes(self, prefix: str) -> int:
        """Bytes of the objects; see ``ArtifactStore.size_bytes``."""
        with self._failing("read", prefix):
            found = self._files.find(self._path(prefix), detail=True)
        return sum(int(entry["size"] or 0) for entry in found.values())

    def delete(self, prefix: str) -> None:
        """Remove an object or a prefix; see ``ArtifactStore.delete``."""
        with self._failing("written", prefix):
            if self._files.exists(self._path(prefix)):
                self._files.rm(self._path(prefix), recursive=True)

    def check_writable(self) -> None:
        """Write and remove a small object; see ``ArtifactStore.check_writable``."""
        probe = f"probe-{uuid.uuid4().hex}"
        self.put_bytes(probe, b"onsight")
        self.delete(probe)

    def _path(self, key: str) -> str:
        return f"{self._root}/{checked_key(key)}"

    @contextmanager
    def _failing(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise StorageError(f"central storage {self._url} has no {key}", key=key) from None
        except _FAILURES as error:
            raise StorageError(
                f"central storage {self._url} cannot be {verb} ({key}): {error}",
                hint="check the bucket, ONSIGHT_S3_ENDPOINT_URL and the AWS_* variables",
                key=key,
            ) from error


def _write_copy(copy: Path, content: bytes) -> None:
    """A reader beside us sees a whole file or none."""
    fresh = copy.with_name(f".{copy.name}.{uuid.uuid4().hex}")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        fresh.replace(copy)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise StorageError(f"the local copy {copy} cannot be written: {error.strerror}") from error
