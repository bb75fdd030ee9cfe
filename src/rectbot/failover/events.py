"""What an operator sees of the failover: its state at one moment, and its journal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Leader:
    site: str
    owner: str
    epoch: int
    since: str  # when it was granted the lock, ISO 8601 in UTC by the store's clock
    lease_remaining_ms: int


@dataclass(frozen=True, slots=True)
class Site:
    heartbeat_age_s: float
    eligible: bool  # it would lead now, as far as its last heartbeat says, and that is fresh
    priority: int  # 0 is the most preferred
    owner: str = ""  # the process
    waits: str = ""  # why it does not lead, by its last heartbeat: see Obstacle
    damped_s: float = 0  # for so long it leaves the lead to others, after repeated losses
    losses: int = 0  # of the lead, lately
    serving: bool | None = None  # a leader's: whether its workload is well; None: it does not lead
    renewals: Renewals | None = None


@dataclass(frozen=True, slots=True)
class Renewals:
    """What a site's process has measured of its renewals since it began."""

    counts: tuple[int, ...]  # of answers in each of link.BUCKETS_MS, and beyond
    total_s: float
    failed: int  # not answered in time


@dataclass(frozen=True, slots=True)
class Hold:
    """An operator wants no automatic moves."""

    remaining_s: float
    site: str  # the only one that may lead; empty: none
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    leader: Leader | None
    sites: dict[str, Site]  # without those whose heartbeat is forgotten, after HB_TTL_SEC
    suspended_ms: int = 0  # nobody is granted the lock for so long: the store may have lost its memory
    epoch: int = 0  # the last that was granted
    hold: Hold | None = None
    switch_to: str = ""  # an operator's switch that is under way
    pinned: str = ""  # a site that keeps the lead from preferred ones, as an operator switched to it
    drained: dict[str, str] = field(default_factory=dict)  # sites that an operator does not want to lead, and why
    logins_left: int = 0  # in the login budget, at once
    next_login_s: float = 0  # until one is left
    counts: dict[str, int] = field(default_factory=dict)  # of events, by `kind:site`; and of logins, as `login:site`

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Event:
    """One transition, as the store recorded it. docs/failover.md lists the kinds."""

    id: str  # of the Redis stream; grows
    time: float  # seconds since 1970 by the store's clock
    kind: str
    site: str
    owner: str
    epoch: int
    why: str


def iso(ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
