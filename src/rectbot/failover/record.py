"""The record: all that the sites share. What becomes of it is decided in rules.py; codec.py writes it as JSON.

Times without another word are milliseconds of the record's own time, which every write moves on: see scribe.py. It
orders what need not be exact (holds, damping, how the login budget refills), and no safety hangs on it. `wall` is the
time of day at some site, milliseconds since 1970, and only for people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rectbot.failover.events import Event
from rectbot.failover.messages import Reply

OUTBOX = 16  # so many of the last events are in the record, for a writer that died before it journaled them


class Lock(NamedTuple):
    """The lead. It stays in the record until it is released, or another site has outwaited it."""

    owner: str
    site: str
    epoch: int
    n: int  # of its owner's write: each renewal has another, so that it is seen to be new
    ttl: int
    t: int  # when it was renewed
    since: int  # when it was granted, by the wall
    wall: int  # when it was renewed, by the wall


class Suspension(NamedTuple):
    """A lease that the store may have forgotten: a lock that nobody is known to hold, and nobody renews."""

    owner: str  # who noticed
    n: int  # by which of its writes
    ttl: int  # the longest that it knew of
    t: int


class Beat(NamedTuple):
    """The heartbeat of a site."""

    owner: str
    n: int  # of its owner's write
    t: int
    ttl: int  # it is fresh for so long
    every: int  # the interval at which it is renewed
    eligible: bool
    wait_ms: int  # for so long it still has to watch the last lease before it can be granted another
    lag_ms: int  # so long its last answer took
    waits: str = ""  # why it does not lead
    logins: int = 0  # those that this owner has told of
    serving: bool | None = None  # a leader's workload; None: it does not lead
    trips: dict[str, Any] | None = None  # how long its renewals took: see trips.py
    unsure_ms: int = 0  # for so long it cannot lead even if the lock is released, as the store may have forgotten


class Twin(NamedTuple):
    """A second process that runs as a site, and stands aside."""

    owner: str
    t: int


class Losses(NamedTuple):
    """Of the lead, by one site."""

    times: int
    at: int  # of the last one


@dataclass(frozen=True, slots=True)
class Operator:
    """What operators have asked for."""

    hold_until: int = 0
    hold_site: str = ""
    hold_why: str = ""
    switch_to: str = ""
    switch_until: int = 0
    switch_why: str = ""
    pinned: str = ""
    drained: dict[str, str] = field(default_factory=dict)  # and why


NO_OPERATOR = Operator()


@dataclass(slots=True)
class Record:
    """One version of the record. A writer changes a copy."""

    seq: int = 0  # rises by one with each write
    owner: str = ""  # who wrote it
    n: int = 0  # by which of its writes: so no record is ever written twice
    server: str = ""  # the server's incarnation under which it is complete
    lineage: str = ""  # another one after each suspension
    t: int = 0
    wall: int = 0
    epoch: int = 0  # the last that was granted
    lock: Lock | None = None
    suspended: Suspension | None = None
    reserved: str = ""  # a released lock is kept for this site
    reserved_until: int = 0
    order: tuple[str, ...] = ()  # of preference, as the process that began last has it
    beats: dict[str, Beat] = field(default_factory=dict)
    twins: dict[str, Twin] = field(default_factory=dict)
    owed_until: int = 0  # the login budget's leaky bucket
    losses: dict[str, Losses] = field(default_factory=dict)
    operator: Operator = NO_OPERATOR
    counts: dict[str, int] = field(default_factory=dict)  # of events, by `kind:site`
    number: int = 0  # of the last event
    outbox: tuple[Event, ...] = ()

    def copy(self) -> Record:
        """As dataclasses.replace does, in a fraction of the time: the simulator makes millions."""
        twin = Record.__new__(Record)
        twin.seq, twin.owner, twin.n, twin.server = self.seq, self.owner, self.n, self.server
        twin.lineage = self.lineage
        twin.t, twin.wall, twin.epoch = self.t, self.wall, self.epoch
        twin.lock, twin.suspended = self.lock, self.suspended
        twin.reserved, twin.reserved_until = self.reserved, self.reserved_until
        twin.order, twin.beats, twin.owed_until = self.order, dict(self.beats), self.owed_until
        twin.twins, twin.losses, twin.operator = dict(self.twins), dict(self.losses), self.operator
        twin.counts, twin.number, twin.outbox = dict(self.counts), self.number, self.outbox
        return twin

    def enter(self, kind: str, who: tuple[str, str], why: str, epoch: int | None = None) -> None:
        """Adds an event, of a site and its owner, to the journal and to the count of its kind."""
        self.number += 1
        site, owner = who
        epoch = self.epoch if epoch is None else epoch
        event = Event(str(self.number), self.wall / 1000, kind, site, owner, epoch, why)
        self.outbox = (*self.outbox[1 - OUTBOX :], event)
        self.count(kind, site)

    def count(self, kind: str, site: str, by: int = 1) -> None:
        name = f"{kind}:{site}"
        self.counts[name] = self.counts.get(name, 0) + by


class Seen:
    """What the register held."""

    def __init__(
        self, token: str, server: str, record: Record | None, flaw: str = "", raw: bytes | None = None
    ) -> None:
        self.token, self.server = token, server
        self.record = record
        self.flaw = flaw  # why what is there is not taken for a record
        self.raw = raw  # as it is there


class Draft:
    """What is to be swapped in for what was seen, and the reply that it would be."""

    def __init__(self, seen: Seen, record: Record, reply: Reply) -> None:
        self.seen, self.record, self.reply = seen, record, reply
