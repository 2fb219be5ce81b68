"""Version 7 UUIDs."""

from __future__ import annotations

import time
from uuid import UUID

from onsight.db import uuid7


def test_uuid7_has_version_variant_and_the_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    text = uuid7()
    after_ms = time.time_ns() // 1_000_000

    made = UUID(text)
    assert str(made) == text
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before_ms <= made.int >> 80 <= after_ms


def test_uuid7_values_are_distinct_and_nearly_ordered() -> None:
    made = [UUID(uuid7()) for _ in range(10_000)]

    assert len(set(made)) == len(made)
    assert [value.int >> 64 for value in made] == sorted(value.int >> 64 for value in made)
