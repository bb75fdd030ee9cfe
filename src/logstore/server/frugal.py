"""How both processes of the log store ask for memory."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3


def frugal() -> None:
    """Has glibc give memory back: few arenas, and big blocks straight from the system. A no-op elsewhere."""
    try:
        libc = ctypes.CDLL(None)
        for option, value in ((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, 1 << 20), (_M_TRIM_THRESHOLD, 4 << 20)):
            libc.mallopt(option, value)
    except (OSError, AttributeError):
        return


def give_back() -> None:
    """Gives the system what is free between what is used; takes some milliseconds, without Python's lock."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
