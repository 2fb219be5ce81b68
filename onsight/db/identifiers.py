"""Time-ordered identifiers: version 7 UUIDs (RFC 9562), so that new rows land at the end of an index."""

from __future__ import annotations

import os
import random
import time

__all__ = ["uuid7"]

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 62
# Of its own, so that whoever seeds the shared generator gets no ids twice; a forked process draws others.
_RANDOM = random.Random()  # noqa: S311 - unique is enough
os.register_at_fork(after_in_child=_RANDOM.seed)


def uuid7() -> str:
    """A version 7 UUID: milliseconds since 1970, then 12 bits of the millisecond's fraction, then 62 random bits.

    Returns:
        As text, which takes half as long to make as `uuid.UUID` takes to be made and written.
    """
    milliseconds, rest_ns = divmod(time.time_ns(), _NS_PER_MS)
    fraction = (rest_ns << 12) // _NS_PER_MS
    # Unique is enough, and a tenth of the time that the kernel's random bytes take; nothing is guarded by an id.
    rest = _RANDOM.getrandbits(_RANDOM_BITS)
    digits = f"{(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | rest:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
