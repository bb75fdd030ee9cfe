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

    def look(self, owner: str, n: int, now: int) -> bool:
        """It is there now. Seeing it again changes nothing; returns whether it was another one."""
        if self.n != n or self.owner != owner:
            self.owner, self.n, self.since = owner, n, now
            return True
        return False


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


class RollCall:
    """Who has to show up at the register before we may rely on it: any of them may lead under a lease from elsewhere.

    A heartbeat that we have not found there before proves that its site has been there since.
    """

    def __init__(self) -> None:
        self._missing: dict[str, tuple[str, int]] = {}  # and its last heartbeat
        self._over_at = 0  # then any such lease is over

    def begin(self, beats: dict[str, Beat], own_site: str, over_at: int) -> None:
        for site, beat in beats.items():
            owner, n = self._missing.get(site, ("", 0))
            if site != own_site and (beat.owner != owner or beat.n > n):
                self._missing[site] = (beat.owner, beat.n)
        self._over_at = over_at

    def look(self, beats: dict[str, Beat]) -> None:
        """These are there now."""
        for site, (owner, n) in tuple(self._missing.items()):
            if (beat := beats.get(site)) is None:
                continue
            if beat.owner != owner:
                self._missing[site] = (beat.owner, beat.n)
            elif beat.n > n:
                del self._missing[site]

    @property
    def missed(self) -> bool:
        return bool(self._missing)

    def wait_ms(self, now: int) -> int:
        return self._over_at - now if self._missing else 0


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
        away_ms: int = 0,
        missed: bool = False,
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
        self.absent_ms = absent_ms  # who was there before has not shown up since: it may lead elsewhere for so long
        self.away_ms = away_ms  # the same, since it came back itself, and has not seen the lock move
        self.missed = missed  # somebody still has not, however long that was
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
