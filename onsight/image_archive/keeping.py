"""The images that no clean-up removes: a list of digests beside the images, which every process reads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from onsight.errors import StorageError

__all__ = ["read_kept", "write_kept"]

_LIST = "kept"


def read_kept(folder: Path) -> frozenset[str]:
    """The digests on the list; none where there is no list.

    Raises:
        OSError: There is a list, and it cannot be read.
    """
    try:
        return frozenset((folder / _LIST).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()


def write_kept(folder: Path, digests: Iterable[str]) -> None:
    """Replaces the list, in one step.

    Args:
        folder: Of the archive; made if it is not there.
        digests: 64 lower-case hex digits each.

    Raises:
        StorageError: The folder cannot be written; the list is what it was.
    """
    fresh = folder / f".{_LIST}.{uuid.uuid4().hex}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.writelines(f"{digest}\n" for digest in sorted(digests))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / _LIST)
    except OSError as error:
        raise StorageError(f"the image archive {folder} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink()
