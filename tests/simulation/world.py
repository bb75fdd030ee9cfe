"""Sites, a store and the network between them, in virtual time: no clock, no socket, no process.

The sites run the very protocol of production; the store is the model in `rectbot.failover.table`, which passes the same
tests as the Lua scripts. Global time is a float of milliseconds; every site, and the store, sees it through a clock of
its own, with its own rate. Everything that happens comes from one seeded generator, so that a seed is a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from types import ModuleType
from typing import Any

from rectbot.failover import protocol as real_protocol
from rectbot.failover import table as real_table
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Event
from rectbot.failover.protocol import Actions, State
from rectbot.failover.table import LeaseTable

from .dice import Dice
from .judge import Judge
from .site import Lives, Message, Site

LIVELOCK = 20_000  # events; a schedule has some hundreds
NAMES = ("a", "b", "c")


class Weather:
    """What the network does to messages, for the time being."""

    def __init__(
        self, latency: float = 1.0, tail: float = 0.0, worst: float = 0.0, loss: float = 0.0, twice: float = 0.0
    ) -> None:
        self.latency = latency  # of most messages, one way
        self.tail = tail  # how probable it is that one takes far longer
        self.worst = worst  # so long
        self.loss = loss
        self.twice = twice

    def __repr__(self) -> str:
        return (
            f"Weather(latency={self.latency}, tail={self.tail}, worst={self.worst}, loss={self.loss},"
            f" twice={self.twice})"
        )


class Store:
    """A server: its clock, its table, and what can happen to it."""

    def __init__(self, table: LeaseTable, rate: float, base: int) -> None:
        self.table = table
        self.rate = rate
        self.base = base
        self.up = True
        self.paused = False
        self.backlog: list[Message] = []
        self.copies: list[LeaseTable] = []  # what a replica had, at times

    def clock(self, t: float) -> int:
        return int(self.base + t * self.rate)

    def restart(self, table: LeaseTable) -> None:
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


class World:
    """Everything, and the queue of what is to happen."""

    __deletable__ = ("judge",)  # mypyc wants to know

    def __init__(
        self,
        rng: Dice,
        lives: Lives,
        names: tuple[str, ...],
        *,
        protocol: ModuleType = real_protocol,
        table: ModuleType = real_table,
        trace: bool = False,
        child: bool = False,
        clock_stops: bool = False,
    ) -> None:
        self.rng = rng
        self.lives = lives
        self.base = lives.base
        self.protocol = protocol
        self.step: Callable[[FailoverConfig, State, Event, int], tuple[State, Actions]] = protocol.step
        self.wake_at: Callable[[FailoverConfig, State], int | None] = protocol.wake_at
        self.table = table
        self.trace = trace
        self.child = child  # the workload is a process of its own: a kill spares the elector
        self.clock_stops = clock_stops  # a mutant: the sites' clocks stand still while the machine is suspended
        self.tail = False  # it goes on until all is well again
        self.t = 0.0
        self.queue: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self.count = 0
        self.lines: list[Line] = []
        self.weather = Weather()
        rates = (0.995, 1.0, 1.005)
        self.store = Store(table.LeaseTable(), rng.choice(rates), 1_000_000)
        self.judge = Judge(self)
        self.sites = [Site(self, name, rng.choice(rates), rng.below(1_000_000)) for name in names]

    def say(self, who: object, text: str) -> None:
        if self.trace:
            self.lines.append(Line(self.t, str(who), text))

    def at(self, t: float, act: Callable[[Any], None], what: Any = None) -> None:
        self.count += 1
        heappush(self.queue, (t, self.count, act, what))

    def after(self, delay: float, act: Callable[[Any], None], what: Any = None) -> None:
        self.count += 1
        heappush(self.queue, (self.t + delay, self.count, act, what))

    def run(self, until: float) -> None:
        queue = self.queue
        for _ in range(LIVELOCK):
            if not queue or queue[0][0] > until:
                self.t = until
                return
            self.t, _, act, what = heappop(queue)
            act(what)
        self.judge.violated("livelock", "there is no end to what happens")

    def end(self) -> None:
        """It holds itself in circles: opened, it goes at once and needs no collector, which would look at it often."""
        self.queue.clear()
        self.sites.clear()
        self.store.backlog.clear()
        del self.judge

    def latency(self) -> float:
        weather, rng = self.weather, self.rng
        if weather.tail and rng.random() < weather.tail:
            return weather.worst * rng.random()
        return weather.latency * (0.5 + rng.random())

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
