"""What grows old: the newest of each kind stay, the young ones stay, and what is pointed at stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onsight.config import VersionRetention
from onsight.retention import Dated, RetentionReport, Share, as_markdown, outdated

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def thing(name: str, days: float, kind: str = "cells") -> Dated:
    return Dated(kind, NOW - timedelta(days=days), name)


@pytest.mark.parametrize(
    ("keep_newest", "days", "kept", "wanted"),
    [
        (1, 1, (), ["d", "c", "b"]),
        (2, 1, (), ["d", "c"]),
        (9, 1, (), []),
        (1, 25, (), ["d", "c"]),
        (1, 30, (), ["d"]),
        (1, 1, ("d", "b"), ["c"]),
        (2, 1, ("a", "b"), ["d", "c"]),
    ],
)
def test_outdated_when_versions_are_10_to_40_days_old_then_gives_the_oldest_first(
    keep_newest: int, days: float, kept: tuple[str, ...], wanted: list[str]
) -> None:
    things = [thing("a", 10), thing("b", 20), thing("c", 30), thing("d", 40)]
    assert outdated(things, VersionRetention(keep_newest=keep_newest, days=days), kept, NOW) == wanted


def test_outdated_when_there_are_several_kinds_then_counts_the_newest_of_each() -> None:
    things = [thing("a", 10), thing("b", 20), thing("x", 50, "cracks"), thing("y", 60, "cracks")]
    assert outdated(things, VersionRetention(keep_newest=1, days=1), (), NOW) == ["b", "y"]


@given(
    ages=st.lists(st.floats(0, 400), max_size=30),
    keep_newest=st.integers(1, 40),
    days=st.floats(1, 300),
    kept=st.sets(st.integers(0, 30)),
)
def test_outdated_never_names_what_must_stay(ages: list[float], keep_newest: int, days: float, kept: set[int]) -> None:
    things = [thing(str(place), age) for place, age in enumerate(ages)]
    rule = VersionRetention(keep_newest=keep_newest, days=days)
    gone = set(outdated(things, rule, {str(place) for place in kept}, NOW))
    newest = sorted(things, reverse=True)[:keep_newest]
    assert not gone & {one.name for one in newest}
    assert not gone & {str(place) for place in kept}
    assert all(age > days for place, age in enumerate(ages) if str(place) in gone)


def test_as_markdown_names_count_size_and_reasons() -> None:
    shares = (
        Share("predictions", 12),
        Share("versions and bundles", 1, 3 * 1024**2, ("cells-v1",), {"cells-v2": "it was deployed"}),
    )
    page = as_markdown(RetentionReport(is_applied=False, shares=shares, n_kept_images=4))
    assert page.startswith("# Would be removed")
    assert "| versions and bundles | 1 | 3 MiB |" in page
    assert "- cells-v1\n" in page
    assert "- cells-v2: it was deployed\n" in page
    assert "4 images are kept" in page
