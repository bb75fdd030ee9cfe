"""What a site and the store say to each other: one request and one reply for each atomic transition.

The store is a Redis with the scripts in lua/, or the model that the simulator uses. All times are durations in
milliseconds: a time of day of one clock means nothing to another.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Campaign:
    """Heartbeat of a site that does not lead. Wins the lock if `eligible` and nothing stands in the way."""

    eligible: bool
    epoch_seen: int  # the highest that this site knows of, for a store that has lost its memory


@dataclass(frozen=True, slots=True)
class Renew:
    """Heartbeat of the leader: keeps the lock for another TTL if it is still its own."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Release:
    """Gives the lock up, if it is still held, and tells the other sites. The workload is gone."""

    epoch: int  # of the lock that is released
    why: str
    to: str = ""  # keep the lock for this site, shortly
    eligible: bool = False  # what the heartbeat says from now on
    leaving: bool = False  # the site goes away: no heartbeat stays behind


Request = Campaign | Renew | Release


@dataclass(frozen=True, slots=True)
class Granted:
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    why: str  # held, reserved, preferred, suspended or ineligible
    wait_ms: int | None  # when this obstacle will be gone by itself; None: not by waiting
    epoch: int  # the last that was granted
    by: str = ""  # the site that stands in the way


@dataclass(frozen=True, slots=True)
class Renewed:
    yield_to: str = ""  # a preferred site that has been eligible for the failback delay
    yield_in_ms: int | None = None  # when there will be one, as things stand


@dataclass(frozen=True, slots=True)
class Lost:
    """The lock is no longer the asker's."""

    holder: str


@dataclass(frozen=True, slots=True)
class Released:
    """Done; also when there was nothing to release."""


Reply = Granted | Refused | Renewed | Lost | Released
