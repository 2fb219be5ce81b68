"""The C library's allocator, told what an image service needs."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

# Of <malloc.h>; a parameter that was set is no longer adjusted by the library itself.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MIB = 1024 * 1024


def keep_freed_memory(trim_bytes: int = 64 * _MIB, mmap_bytes: int = 15 * _MIB) -> bool:
    """Keeps the memory of one image for the next one, instead of handing it back to the kernel in between.

    An image takes some megabytes for some milliseconds. glibc gives them back as soon as 128 KiB at the end of its heap
    are free, and the kernel clears every page again for the next image: about 1.4 ms of CPU for one of 500 x 400 that
    is decoded and explained.

    Args:
        trim_bytes: Free memory that each of the allocator's arenas may hold on to.
        mmap_bytes: From this size on a piece of memory is handed back when it is freed. Pillow takes nearly 16 MiB at a
            time for an image of four megapixels and more: kept, one huge image in each thread fills a container.

    Returns:
        Whether the C library took it; others than glibc may not.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, trim_bytes)) and bool(mallopt(_M_MMAP_THRESHOLD, mmap_bytes))
