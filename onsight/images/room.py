"""How many pixels may be decoded at once, so that a few huge images do not take all the memory there is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DecodingRoom"]

# Decoding takes up to 20 bytes for each pixel, when transparency is laid on white: 80 MB. Such images never wait.
_SMALL_PIXELS = 4_000_000


class DecodingRoom:
    """Shared by the threads of a process.

    Args:
        max_pixels: Of the large images that are decoded at once, together; one that is larger is decoded alone.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._held_pixels = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, n_pixels: int) -> Iterator[None]:
        """Waits until there is room for an image, and keeps it for the length of the block."""
        if n_pixels <= _SMALL_PIXELS:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._held_pixels or self._held_pixels + n_pixels <= self._max_pixels)
            self._held_pixels += n_pixels
        try:
            yield
        finally:
            with self._changed:
                self._held_pixels -= n_pixels
                self._changed.notify_all()
