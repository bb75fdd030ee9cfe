"""Sites, a store and the network between them, in virtual time: no clock, no socket, no process.

The sites run the very protocol of production; the store is the model in `rectbot.failover.table`, which passes the same
tests as the Lua scripts. Global time is a float of milliseconds; every site, and the store, sees it through a clock of
its own, with its own rate. Everything that happens comes from one seeded generator, so that a seed is a schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import ModuleType
from typing import Any

from rectbot.failover import protocol as real_protocol
from rectbot.failover import table as real_table
from rectbot.failover.config import FailoverConfig

from .judge import Judge
from .site import Message, Site

LIVELOCK = 20_000  # events; a schedule has some hundreds
NAMES = ("a", "b", "c")


@dataclass(slots=True)
class Weather:
    """What the network does to messages, for the time being."""

    latency: float = 1.0  # of most messages, one way
    tail: float = 0.0  # how probable it is that one takes far longer
    worst: float = 0.0  # so long
    loss: float = 0.0
    twice: float = 0.0


class Store:
    """A server: its clock, its table, and what can happen to it."""

    def __init__(self, table: Any, rate: float, base: int) -> None:
        self.table = table
        self.rate = rate
        self.base = base
        self.up = True
        self.paused = False
        self.backlog: list[Message] = []
        self.copies: list[Any] = []  # what a replica had, at times

    def clock(self, t: float) -> int:
        return int(self.base + t * self.rate)

    def restart(self, table: Any) -> None:
        run = self.table.run
        self.table = table.copy()
        self.table.run = run + 1
        self.up, self.paused = True, False
        self.backlog.clear()


@dataclass(slots=True)
class Line:
    t: float
    who: str
    text: str


@dataclass
class World:
    """Everything, and the queue of what is to happen."""

    rng: Random
    base: FailoverConfig
    names: tuple[str, ...]
    protocol: ModuleType = real_protocol
    table: ModuleType = real_table
    trace: bool = False
    child: bool = False  # the workload is a process of its own: a kill spares the elector
    clock_stops: bool = False  # a mutant: the sites' clocks stand still while the machine is suspended
    tail: bool = False  # it goes on until all is well again
    t: float = 0.0
    queue: list[tuple[float, int, Callable[[Any], None], Any]] = field(default_factory=list)
    count: int = 0
    lines: list[Line] = field(default_factory=list)
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        self.step, self.wake_at = self.protocol.step, self.protocol.wake_at
        rates = (0.995, 1.0, 1.005)
        rng = self.rng
        self.store = Store(self.table.LeaseTable(), rng.choice(rates), 1_000_000)
        self.judge = Judge(self)
        self.sites = [Site(self, self.base, name, rng.choice(rates), rng.randrange(1_000_000)) for name in self.names]

    def say(self, who: object, text: str) -> None:
        if self.trace:
            self.lines.append(Line(self.t, str(who), text))

    def at(self, t: float, act: Callable[[Any], None], what: Any = None) -> None:
        self.count += 1
        heapq.heappush(self.queue, (t, self.count, act, what))

    def after(self, delay: float, act: Callable[[Any], None], what: Any = None) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.t + delay, self.count, act, what))

    def run(self, until: float) -> None:
        queue, pop = self.queue, heapq.heappop
        for _ in range(LIVELOCK):
            if not queue or queue[0][0] > until:
                self.t = until
                return
            self.t, _, act, what = pop(queue)
            act(what)
        self.judge.violated("livelock", "there is no end to what happens")

    def latency(self) -> float:
        weather, random = self.weather, self.rng.random
        if weather.tail and random() < weather.tail:
            return weather.worst * random()
        return weather.latency * (0.5 + random())

    # --- the store's side

    def arrive(self, message: Message) -> None:
        store = self.store
        if not store.up:
            message.site.wire.carry("answers", message.site.refused, message)
        elif store.paused:
            store.backlog.append(message)
        else:
            self.execute(message)

    def execute(self, message: Message) -> None:
        now = self.store.clock(self.t)
        site, request = message.site, message.send.request
        if now > message.not_after:
            if self.trace:
                self.say("store", f"{site}: {request} came too late")
            site.wire.carry("answers", site.receive, (message, None, now, 0, 0))
            return
        done = self.store.table.handle(message.config, request, now, message.seal)
        if self.trace:
            self.say("store", f"{site}: {request} -> {done[0] if done else 'overtaken'}")
        if done is None:
            return
        reply, doubt = done
        self.judge.on_executed(message, reply)
        if self.store.table.announced:
            self.announce(site)
        site.wire.carry("answers", site.receive, (message, reply, now, self.store.table.era, doubt))

    def announce(self, author: Site | None) -> None:
        for site in self.sites:
            if site is not author and site.up:
                site.wire.carry("answers", site.hear, site.life)
