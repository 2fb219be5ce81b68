"""The key of a drift report says whose it is and from when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from onsight.drift import DriftPage

PAGE = DriftPage("cells", 12, datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC), "1f0c9a77")


def test_drift_page_when_read_from_its_key_then_is_the_same() -> None:
    assert PAGE.key == "drift/cells/20260301T123005Z-v12-1f0c9a77.html"
    assert DriftPage.from_key(PAGE.key) == PAGE
    assert DriftPage.run_of("019a8f2e-6c1b-7a40-8d2f-3b9e1f0c9a77") == PAGE.run


@pytest.mark.parametrize("key", ["drift/cells/notes.html", "drift/20260301T123005Z-v12-1f0c9a77.html", PAGE.key[:-1]])
def test_drift_page_when_the_key_is_another_then_is_none(key: str) -> None:
    assert DriftPage.from_key(key) is None
