"""The disk: when it is full, Redis refuses to renew the lease, and the bot logs out."""

from __future__ import annotations

import os

from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn

LEAST_FREE_RATIO, LOW_FREE_RATIO = 0.02, 0.1  # below the second the alert DiskFilling fires, too
LEAST_FREE_BYTES = 64 * 2**20
_MEND = "free some: du -xh --max-depth=2 / | sort -h | tail; old images: docker image prune -a"


def has_room(subject: Subject) -> Verdict:
    """Where state is kept, there are bytes and inodes left, and it can be written."""
    layout = subject.layout
    place = layout.var if layout.var.exists() else layout.home
    if subject.engine is Engine.COMPOSE and os.path.isdir("/var/lib/docker"):  # noqa: PTH112 (one stat)
        place = type(place)("/var/lib/docker")
    disk = os.statvfs(place)
    if disk.f_flag & os.ST_RDONLY:
        return fail(f"the disk of {place} is mounted read-only", "look into dmesg, then remount it")
    free = disk.f_bavail * disk.f_frsize
    ratio = disk.f_bavail / disk.f_blocks if disk.f_blocks else 1.0
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0  # some file systems count none
    found = f"of the disk of {place} {free / 2**20:.0f} MiB ({ratio:.0%}) and {inodes:.0%} of the inodes are free"
    if free < LEAST_FREE_BYTES or min(ratio, inodes) < LEAST_FREE_RATIO:
        return fail(found, _MEND)
    if min(ratio, inodes) < LOW_FREE_RATIO:
        return warn(found, _MEND)
    return ok(found)
