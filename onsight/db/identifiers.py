"""Time-ordered identifiers: version 7 UUIDs (RFC 9562), so that new rows land at the end of an index."""

from __future__ import annotations

import os
import random
import time
import uuid

__all__ = ["uuid7"]

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 62
# Of its own, so that whoever seeds the shared generator gets no ids twice; a forked process draws others.
_RANDOM = random.Random()  # noqa: S311 - unique is enough
os.register_at_fork(after_in_child=_RANDOM.seed)


def uuid7() -> uuid.UUID:
    """A version 7 UUID: milliseconds since 1970, then 12 bits of the millisecond's fraction, then 62 random bits."""
    milliseconds, rest_ns = divmod(time.time_ns(), _NS_PER_MS)
    fraction = (rest_ns << 12) // _NS_PER_MS
    # Unique is enough, and a tenth of the time that the kernel's random bytes take; nothing is guarded by an id.
    rest = _RANDOM.getrandbits(_RANDOM_BITS)
    return uuid.UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | rest)
