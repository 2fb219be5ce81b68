"""The newest wish that this host has seen, in a file: what to serve when the database is down at start-up."""

from __future__ import annotations

import json
import logging
from pathlib import Path

__all__ = ["DesiredMemory"]

_LOG = logging.getLogger(__name__)


class DesiredMemory:
    """Remembers the name of one bundle.

    Args:
        path: The file; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def remember(self, bundle_name: str) -> None:
        """Keeps it; a disk that fails costs the memory alone."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"bundle_name": bundle_name}))
            fresh.replace(self._path)
        except OSError as error:
            _LOG.warning("the desired version cannot be remembered in %s: %s", self._path, error.strerror)

    def recall(self) -> str | None:
        """The bundle's name, or None."""
        try:
            return str(json.loads(self._path.read_text())["bundle_name"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
