"""What a site has watched, by its own clock, and what it goes by when it asks.

Times without another word are milliseconds of its CLOCK_BOOTTIME. These are plain classes, not tuples, as the compiled
simulator makes millions of views, and reads them at a tenth of the price.
"""

from __future__ import annotations

from typing import Any

from rectbot.failover.record import Beat


class Watched:
    """Since when the same thing has been there."""

    def __init__(self) -> None:
        self.owner = ""
        self.n = 0
        self.since = 0

    def look(self, owner: str, n: int, now: int) -> None:
        """It is there now. Seeing it again changes nothing."""
        if self.n != n or self.owner != owner:
            self.owner, self.n, self.since = owner, n, now


class WatchedBeat:
    """A site's heartbeats, as we have seen them."""

    def __init__(self) -> None:
        self.owner = ""
        self.n = 0
        self.since = 0  # the last one
        self.ready_since = 0  # all of them, since this process of it has stood ready without a pause
        self.stale_at = -1  # and it was ready until then

    def look(self, beat: Beat, drained: bool, now: int) -> None:
        """It is there now."""
        if self.n == beat.n and self.owner == beat.owner:
            return
        if self.owner != beat.owner or now >= self.stale_at:
            self.ready_since = now
        self.owner, self.n, self.since = beat.owner, beat.n, now
        self.stale_at = now + beat.ttl if beat.eligible and not drained else -1


class View:
    """What the asker has seen, and when it asks."""

    def __init__(
        self,
        now: int,
        t: int,
        wall: int,
        n: int,
        beats: dict[str, WatchedBeat],
        *,
        lock_ms: int = 0,
        quiet_ms: int = 0,
        twin_ms: int = 0,
        twin_lives: bool = False,
        lag_ms: int = 0,
        absent_ms: int = 0,
        serving: bool | None = None,
        trips: dict[str, Any] | None = None,
    ) -> None:
        self.now = now  # before anything is worked out
        self.t = t  # the record's time
        self.wall = wall  # the time of day
        self.n = n  # of its write
        self.beats = beats
        self.lock_ms = lock_ms  # for so long it has watched the present renewal of the lock
        self.quiet_ms = quiet_ms  # and the present suspension
        self.twin_ms = twin_ms  # and its own site's heartbeat that another process wrote
        self.twin_lives = twin_lives  # that heartbeat was renewed meanwhile
        self.lag_ms = lag_ms  # so long its last answer took
        self.absent_ms = (
            absent_ms  # one who was there before the store forgot has not shown up: it may lead for so long
        )
        self.serving = serving
        self.trips = trips

    def age_ms(self, site: str) -> int:
        """For how long it has watched a site's present heartbeat."""
        beat = self.beats.get(site)
        return 0 if beat is None else self.now - beat.since

    def ready_ms(self, site: str) -> int:
        """And all of them, since that process of it has stood ready without a pause."""
        beat = self.beats.get(site)
        return 0 if beat is None else self.now - beat.ready_since
