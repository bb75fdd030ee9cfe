"""What an operator sees of the failover: its state at one moment, and its journal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    leader: Leader | None
    sites: dict[str, Site]  # without those whose heartbeat is forgotten, after HB_TTL_SEC
    suspended_ms: int = 0  # nobody is granted the lock for so long: the store may have lost its memory

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
