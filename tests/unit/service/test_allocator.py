"""The allocator's settings are taken on the C library that the service runs on."""

from __future__ import annotations

from services.dl_service.allocator import keep_freed_memory


def test_keep_freed_memory_is_taken() -> None:
    assert keep_freed_memory()
