"""Where a drift report lies in central storage, and what its key says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["PAGES", "DriftPage"]

# Prefix of all pages.
PAGES = "drift"
_STAMP = "%Y%m%dT%H%M%SZ"
_RUN_DIGITS = 8
_KEY = re.compile(rf"{PAGES}/(?P<model>[^/]+)/(?P<at>\d{{8}}T\d{{6}}Z)-v(?P<version>\d+)-(?P<run>[0-9a-f]{{8}})\.html")


@dataclass(frozen=True)
class DriftPage:
    """The report of one run of the drift monitor.

    Attributes:
        tested_at: UTC, of whole seconds in a page that was read from its key.
        run: The end of the run's id.
    """

    model_name: str
    model_version: int
    tested_at: datetime
    run: str

    @property
    def key(self) -> str:
        """``drift/<model>/<time>-v<version>-<run>.html``."""
        return f"{PAGES}/{self.model_name}/{self.tested_at:{_STAMP}}-v{self.model_version}-{self.run}.html"

    @staticmethod
    def run_of(run_id: str) -> str:
        """What a page's key holds of a run's id."""
        return run_id[-_RUN_DIGITS:]

    @classmethod
    def from_key(cls, key: str) -> DriftPage | None:
        """The page that lies under a key; None if the key is none of a page."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        tested_at = datetime.strptime(found["at"], _STAMP).replace(tzinfo=UTC)
        return cls(found["model"], int(found["version"]), tested_at, found["run"])
