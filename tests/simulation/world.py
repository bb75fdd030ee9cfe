"""Sites, a store and the network between them, in virtual time: no clock, no socket, no process.

The sites run the very protocol, scribe and rules of production; the store is a register, as server.py has it. Global
time is a float of milliseconds; every site sees it through a clock of its own, with its own rate. Everything that
happens comes from one seeded generator, so that a seed is a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from types import ModuleType
from typing import Any

from rectbot.failover import protocol as real_protocol
from rectbot.failover import scribe as real_scribe
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Event
from rectbot.failover.protocol import Actions, State
from rectbot.failover.record import Record, Seen

from .dice import Dice
from .judge import Judge
from .server import Server
from .site import Ask, Lives, Site

MISLED_REST = 1.2  # TTLs
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
        scribe: ModuleType = real_scribe,
        trace: bool = False,
        child: bool = False,
        clock_stops: bool = False,
        compares_not: bool = False,
    ) -> None:
        self.rng = rng
        self.lives = lives
        self.base = lives.base
        self.protocol = protocol
        self.step: Callable[[FailoverConfig, State, Event, int], tuple[State, Actions]] = protocol.step
        self.wake_at: Callable[[FailoverConfig, State], int | None] = protocol.wake_at
        self.scribe = scribe
        self.trace = trace
        self.child = child  # the workload is a process of its own: a kill spares the elector
        self.clock_stops = clock_stops  # a mutant: the sites' clocks stand still while the machine is suspended
        self.compares_not = compares_not  # a mutant: the register swaps in whatever comes
        self.tail = False  # it goes on until all is well again
        self.t = 0.0
        self.queue: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self.count = 0
        self.lines: list[Line] = []
        self.weather = Weather()
        rates = (0.995, 1.0, 1.005)
        self.servers = [Server("m"), Server("n")]
        self.server = self.servers[0]  # that the address names
        self.misled_at = -1e9  # when it began to name another, or that fell back while it ran
        self.witnesses: dict[str, int] = {}  # who knows of what was before, and has not spoken since: in which life
        self.poll = 0.0  # at which interval a register is asked that cannot tell of changes; 0: it tells
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
        for site in self.sites:
            site.asked = None
            site.wire.kept.clear()
            site.backlog.clear()
        self.sites.clear()
        for server in self.servers:
            server.backlog.clear()
        del self.judge

    def latency(self) -> float:
        weather, rng = self.weather, self.rng
        if weather.tail and rng.random() < weather.tail:
            return weather.worst * rng.random()
        return weather.latency * (0.5 + rng.random())

    def misleads(self, older: Record | None) -> None:
        """From now on the store is not what it was, and only who has seen a later record than that can tell.

        What then becomes of a site that begins, or has seen no more than that, is said to be beyond what we promise:
        so it begins anew, when the lease that it cannot know of is over.
        """
        self.misled_at = self.t
        self.witnesses = {}
        for site in self.sites:
            if site.up and site.has_seen(older):
                self.witnesses[site.name] = site.life
            elif site.up:
                site.crash("has seen nothing that would tell it")
                self.after(0, site.boot)
        if not self.witnesses:
            self.judge.top_epoch = 0

    def blind_for(self) -> float:
        """How long who begins now would know nothing of what the store has forgotten; 0: not at all."""
        rest = self.misled_at + MISLED_REST * self.base.lock_ttl_ms - self.t
        if rest > 0:
            return rest
        if not self.witnesses:
            return 0.0
        if any(site.up and self.witnesses.get(site.name) == site.life for site in self.sites):
            return 0.1 * self.base.lock_ttl_ms
        self.witnesses = {}
        self.judge.top_epoch = 0  # nobody is left who could tell
        return 0.0

    # --- the store's side

    def arrive(self, ask: Ask) -> None:
        server = self.server
        if ask.server is not server and self.rng.random() < 0.5:
            ask.server.take(ask, self)  # its connection was cut, with the request in it
        elif not server.up or ask.server is not server:
            ask.site.wire.carry("answers", ask.site.refused, ask)
        elif server.paused:
            server.backlog.append(ask)
        else:
            self.execute(ask)

    def execute(self, ask: Ask) -> None:
        site, done = ask.site, self.server.take(ask, self)
        if done and self.trace:
            assert ask.draft is not None
            self.say("store", f"{site}: {ask.send.request} -> {ask.draft.reply}")
        if done:
            if self.witnesses.get(site.name) == ask.life:
                self.witnesses = {}
            self.judge.on_executed(ask)
            self.announce()
        site.wire.carry("answers", site.receive, (ask, self.server.seen()))

    def announce(self, anew: bool = False) -> None:
        """A change, or that one may have been missed, as connections were made anew."""
        if self.poll:
            return
        seen: Seen | None = None if anew else self.server.seen()
        for site in self.sites:
            if site.up:
                site.wire.carry("answers", site.overhear, (site.life, seen))
