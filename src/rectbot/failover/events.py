"""What an operator sees of the failover: its state at one moment, and its journal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SiteState = Literal["leads", "starting", "standby", "damped", "drained", "out", "silent", "absent"]
"""A leader leads once its workload serves. An absent site has no heartbeat, a silent one an old one."""


@dataclass(frozen=True, slots=True)
class Leader:
    site: str
    owner: str
    epoch: int
    since: str  # when it was granted the lock, ISO 8601 in UTC by that site's clock
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
    ttl_ms: int = 0  # its LOCK_TTL_MS


@dataclass(frozen=True, slots=True)
class Renewals:
    """What a site's process has measured of its renewals since it began."""

    counts: tuple[int, ...]  # of answers in each of trips.BUCKETS_MS, and beyond
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

    def state_of(self, name: str) -> SiteState:
        """What a site does, or why it does not lead."""
        site = self.sites.get(name)
        if site is None:
            return "drained" if name in self.drained else "absent"
        if self.leader is not None and self.leader.site == name:
            return "leads" if site.serving else "starting"
        if name in self.drained:
            return "drained"
        if site.eligible:
            return "damped" if site.damped_s else "standby"
        return "out" if site.waits == "ineligible" else "silent"

    def pin_against(self, priority: tuple[str, ...]) -> str:
        """The site that keeps the lead from preferred ones; empty: none, or the first, which has nobody above it."""
        return self.pinned if self.pinned != priority[0] else ""


class Event(NamedTuple):
    """One transition, as the store recorded it. MEANINGS lists the kinds."""

    id: str  # a number that grows
    time: float  # seconds since 1970, by the clock of the site that says so
    kind: str
    site: str
    owner: str
    epoch: int
    why: str


MEANINGS = {
    "acquired": "The site was granted the lead, with a new epoch. Its login follows at once.",
    "ready": "The leader's bot has logged in, and serves.",
    "released": "The leader gave the lead up in good order: it was stopped, or drained.",
    "handed-over": "The leader released the lead to one site: a preferred one that was due, or an operator's choice.",
    "renew-failed": "The leader could not renew its lease in time and logged out before it ended. Counts as a loss.",
    "workload-failed": "The bot ended, could not log in, or was away too long. The site sits out. Counts as a loss.",
    "expired": "The leader went silent (crash, cut, pause), and another site took over. Counts as a loss of the site.",
    "renew-refused": "A site that took itself for the leader was told that its lock is gone. It logs out.",
    "restored": "The store had forgotten the lock, and the leader wrote it anew within its lease. Nobody logged out.",
    "twin": "A second process runs as this site: it stands aside while the first one's heartbeat goes on.",
    "suspended": "The store is new, was restarted, flushed or replaced: it grants nothing for one TTL.",
    "initialised": "The store was declared to have lost nothing, so that the first grant need not wait.",
    "refused-by-priority": "The site may not lead now, as the preferred site that is named stands ready.",
    "refused-by-budget": "The site may not lead now, as the logins of 24 hours are spent.",
    "damped": "After repeated losses the site leaves the lead to others for a while, longer each time.",
    "switch": "An operator wants the site to lead.",
    "hold": "An operator wants no automatic moves: only the site that is named may lead.",
    "unhold": "An operator allows automatic moves again.",
    "drain": "An operator does not want the site to lead.",
    "undrain": "An operator lets the site lead again.",
}
"""What each kind of event means."""


def iso(ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
