"""What the store in memory remembers: the records of table.py. Times are milliseconds of the store's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rectbot.failover.messages import Obstacle


class Lock(NamedTuple):
    owner: str
    site: str
    epoch: int
    since: int
    until: int  # it is there up to this millisecond, and not after
    ttl: int


class Beat(NamedTuple):
    """A heartbeat."""

    owner: str
    site: str
    eligible: bool
    at: int
    ttl: int
    fresh_until: int
    eligible_since: int
    waits: str
    until: int  # operators see it until then
    number: int  # of the request that wrote it


@dataclass(slots=True)
class Operator:
    """What operators have asked for."""

    hold_until: int = 0
    hold_site: str = ""
    hold_why: str = ""
    switch_to: str = ""
    switch_until: int = 0
    switch_why: str = ""
    pinned: str = ""
    drained: dict[str, str] = field(default_factory=dict)

    def forget_switch(self) -> None:
        self.switch_to, self.switch_until, self.switch_why = "", 0, ""


class Obstructed(NamedTuple):
    """Why the lock cannot be granted, by which site, and when that will have passed by itself."""

    why: Obstacle
    by: str = ""
    wait_ms: int | None = None
