"""Time that counts suspends, and an alarm on it.

`CLOCK_MONOTONIC`, which asyncio's timers use, stands still while the machine is suspended; a lease does not. Stdlib
only, and importable by itself: the watchdog runs without the rest of the package.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time

_TFD_TIMER_ABSTIME = 1  # <sys/timerfd.h>, timerfd_create(2)


def boottime_ms() -> int:
    """Milliseconds since boot, suspends included; never set back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Alarm:
    """A timerfd on `CLOCK_BOOTTIME`: readable from the moment that was set; if the machine slept past it, at once."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)  # Python has os.timerfd_create only from 3.13
        self._fd: int = self._libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create(CLOCK_BOOTTIME) failed")

    def fileno(self) -> int:
        return self._fd

    def set(self, at_ms: int | None) -> None:
        """Sets the alarm to a time of `boottime_ms()`, in the past for at once; None turns it off."""
        seconds, millis = (0, 0) if at_ms is None else divmod(max(at_ms, 1), 1000)
        spec = struct.pack("@llll", 0, 0, seconds, millis * 1_000_000)
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def clear(self) -> None:
        """Takes the ring back, so that the descriptor is readable again only for the next alarm."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)

    def close(self) -> None:
        os.close(self._fd)
