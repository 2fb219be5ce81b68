"""What central storage is: keys to bytes, written once, published whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from onsight.errors import BundleExistsError, StorageError
from onsight.settings import Settings

__all__ = ["ArtifactStore", "checked_key", "open_store"]

_KEY_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MAX_KEY_LENGTH = 900  # S3 takes 1024 bytes, with the prefix of the store


class ArtifactStore(Protocol):
    """Objects under keys such as ``models/plankton-v3/model.onnx``; an object is never overwritten."""

    def put_bytes(self, key: str, content: bytes) -> None:
        """Write one object, whole or not at all.

        Raises:
            BundleExistsError: The key is taken.
            StorageError: Storage cannot be written, or the key is not allowed.
        """
        ...

    def publish_directory(self, source: Path, prefix: str) -> None:
        """Write a folder's files below a prefix that holds nothing yet.

        On a local folder it appears in one step. On S3, which knows no such step, the objects appear one after
        another: write what names them (a bundle's metadata) afterwards.

        Raises:
            BundleExistsError: The prefix is taken.
            StorageError: Storage cannot be written; nothing stays behind.
        """
        ...

    def read_bytes(self, key: str) -> bytes:
        """One object's bytes.

        Raises:
            StorageError: There is none, or storage cannot be read.
        """
        ...

    def fetch_directory(self, prefix: str, cache: Path) -> Path:
        """A local folder with the files below a prefix: the stored one where it is local, else a copy in ``cache``.

        Raises:
            StorageError: There is nothing below the prefix, or storage cannot be read.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """Every key below a prefix, sorted; empty if there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether an object, or anything below the key, is there."""
        ...

    def size_bytes(self, prefix: str) -> int:
        """The size of an object, or of everything below a prefix; 0 if there is nothing."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove an object or a prefix: what was not published after all, or what nobody needs any more."""
        ...

    def check_writable(self) -> None:
        """Write and remove a small object.

        Raises:
            StorageError: Storage cannot be written.
        """
        ...


def checked_key(key: str) -> str:
    """The key, if each of its parts is a plain name.

    Raises:
        StorageError: The key is absolute, climbs out with ``..``, is too long, or holds characters that are not
            allowed.
    """
    if len(key) > _MAX_KEY_LENGTH or not all(_KEY_PART.fullmatch(part) for part in key.split("/")):
        raise StorageError(
            f"{key[:200]!r} is no storage key",
            hint="use letters, digits, '.', '_' and '-', parts separated by '/'",
            key=key,
        )
    return key


def taken(key: str) -> BundleExistsError:
    """The error of a key that holds something already."""
    return BundleExistsError(
        f"central storage already holds {key}", hint="what is published never changes: publish a new version", key=key
    )


def open_store(settings: Settings) -> ArtifactStore:
    """The store that the settings name: a local folder, or ``s3://bucket/prefix``.

    Raises:
        StorageError: The address is of another kind.
    """
    url = settings.central_storage_url
    if url.startswith("s3://"):
        from onsight.storage.s3 import S3ArtifactStore

        return S3ArtifactStore(url, settings.s3_endpoint_url)
    if "://" in url:
        raise StorageError(
            f"central storage {url!r} is neither a folder nor an s3:// address", hint="set ONSIGHT_CENTRAL_STORAGE_URL"
        )
    from onsight.storage.local import LocalArtifactStore

    return LocalArtifactStore(Path(url))
