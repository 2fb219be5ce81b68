"""``SHA256SUMS``: of every file of a bundle, in the form that ``sha256sum -c`` reads from the storage's root."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from onsight.errors import BundleError

__all__ = ["dump_checksums", "parse_checksums", "sha256_of_bytes", "verify_file"]

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_BLOCK_BYTES = 1 << 20


def sha256_of_bytes(content: bytes) -> str:
    """The digest as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """A file's digest, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def dump_checksums(files: Mapping[str, Path]) -> bytes:
    """The lines for files by their storage keys."""
    return "".join(f"{sha256_of_file(path)}  {key}\n" for key, path in sorted(files.items())).encode()


def parse_checksums(content: bytes, name: str) -> dict[str, str]:
    """Digests by storage key.

    Raises:
        BundleError: A line is not as it must be.
    """
    lines = [_LINE.fullmatch(line) for line in content.decode("ascii", errors="replace").splitlines()]
    if not lines or not all(lines):
        raise BundleError(f"the SHA256SUMS of {name} cannot be read", hint="publish it again")
    return {line[2]: line[1] for line in lines if line}


def verify_file(path: Path, digest: str, key: str) -> None:
    """Compare a file with its digest.

    Raises:
        BundleError: It is missing or has other content.
    """
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise BundleError(
            f"{key} of the bundle is missing: {error.strerror}", hint="publish it again", key=key
        ) from None
    if found != digest:
        raise BundleError(f"{key} was changed after it was published", hint="publish it again", key=key, sha256=found)
