"""How a site tells that the store's clock was set forward, and what it says to the store beside its requests.

Redis ends a lock by its wall clock. If that is set forward, the lock is gone before the lease is. So every campaign
says what its site has seen of that clock, and how much time has passed since by CLOCK_BOOTTIME, which nobody sets; the
store grants nothing while the two leave a doubt that the last lease is over (see lua/campaign.lua). A site that has not
watched the store for long enough waits for one TTL, but only if the last leader did not release its lock.

A clock that is set back and later forward again shows nothing to a site that heard of it only before and after; but a
lease that was renewed in between is written down too early. So whoever writes the lock compares as well, and the store
counts eras: what a site has heard in another era than the present one counts for nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Seal(NamedTuple):
    """Goes with a request."""

    number: int  # of this owner's requests: an older one that arrives after a newer one has no effect
    heard_at: int | None  # the store's clock in the last answer; None: we have heard nothing yet
    heard_ms: int  # how long ago that was, at least
    doubt: int  # for how long, as far as we know, the last lease may still be in use
    era: int = 0  # of the store's clock when we heard it

    def fields(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value is not None}


class Watch:
    """One site's observations, in one life of its process."""

    def __init__(self) -> None:
        self._requests = 0
        self._heard_at: int | None = None
        self._heard = 0  # when that was
        self._over_at = 0
        self._era = 0

    def number(self) -> int:
        """For the next request. To send one again, void as it was, keep its number."""
        self._requests += 1
        return self._requests

    def seal(self, number: int, now: int) -> Seal:
        """For a request that is sent `now`, in milliseconds of CLOCK_BOOTTIME."""
        return Seal(number, self._heard_at, now - self._heard, max(0, self._over_at - now), self._era)

    def heard(self, now: int, store_now: int, era: int, doubt: int) -> None:
        """An answer to a campaign or a renewal came `now`."""
        self._heard_at, self._heard, self._era = store_now, now, era
        self._over_at = max(self._over_at, now + doubt)
