"""Sites, a store and the network between them, in virtual time: no clock, no socket, no process.

The sites run the very protocol of production; the store is the model in `rectbot.failover.table`, which passes the same
tests as the Lua scripts. Global time is a float of milliseconds; every site, and the store, sees it through a clock of
its own, with its own rate. Everything that happens comes from one seeded generator, so that a seed is a schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from types import ModuleType
from typing import Any

from rectbot.failover import protocol as real_protocol
from rectbot.failover import table as real_table
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import (
    Action,
    Answered,
    Changed,
    Event,
    Extend,
    Failed,
    Finish,
    Granted,
    Kill,
    Refused,
    Renewed,
    Reply,
    Send,
    Start,
    Stop,
    StopWorkload,
    Tick,
    WorkloadEnded,
    WorkloadStopped,
)
from rectbot.failover.watch import Seal, Watch

from .judge import Judge

NEVER = float("inf")
TICK = Tick()
LIVELOCK = 20_000  # events; a schedule has some hundreds
NAMES = ("a", "b", "c")


@cache
def config_of(base: FailoverConfig, site: str, life: int) -> FailoverConfig:
    """The configuration of one life of a site's process: each has an owner of its own."""
    return replace(base, site=site, owner=f"{site}{life}")


@dataclass(slots=True)
class Weather:
    """What the network does to messages, for the time being."""

    latency: float = 1.0  # of most messages, one way
    tail: float = 0.0  # how probable it is that one takes far longer
    worst: float = 0.0  # so long
    loss: float = 0.0
    twice: float = 0.0


@dataclass(slots=True)
class Message:
    """A request on its way, and where its answer belongs."""

    site: Site
    life: int
    config: FailoverConfig
    send: Send
    seal: Seal
    sent_at: int
    not_after: int


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


class Site:
    """A machine with one site's process, its workload, and a guardian."""

    def __init__(self, world: World, base: FailoverConfig, name: str, rate: float, offset: int) -> None:
        self.world = world
        self.base = base
        self.name = name
        self.place = base.priority.index(name)
        self.rate = rate
        self.offset = offset
        self.life = 0
        self.config = config_of(base, name, 0)
        self.state: Any = None
        self.up = False
        self.frozen = ""  # "paused": the process; "suspended": the whole machine
        self.frozen_at = 0.0
        self.cut = ""  # "requests", "answers" or "both" do not get through
        self.holds = False  # what the cut keeps is delivered when it heals
        self.kept: list[tuple[Callable[[Any], None], Any]] = []
        self.backlog: list[Event] = []
        self.watch = Watch()
        self.ahead: int | None = None  # the store's clock minus ours, at most
        self.armed = NEVER
        self.due: int | None = None  # by our clock: when the next Tick is
        self.give_up_at = 0  # of the request in flight
        self.slept = 0.0  # what the clock of a mutant has missed
        self.late_stop = 0  # the run that has stopped while nothing could run
        self.live = False  # the workload is there, and may send
        self.epoch = 0
        self.guard: int | None = None  # the deadline that the guardian knows
        self.run_number = 0
        self.told_to_stop = False
        self.sick = 0.0  # how probable it is that the workload fails
        self.hangs = False  # the workload does not stop when told
        self.stop_share = 0.0  # of the time to stop, that the workload takes

    def __repr__(self) -> str:
        return self.name

    def clock(self) -> int:
        """CLOCK_BOOTTIME: never jumps, counts suspends."""
        return int(self.offset + (self.world.t - self.slept) * self.rate)

    def when(self, local: float) -> float:
        """The global time at which our clock shows `local`."""
        return max(self.world.t, (local + 1e-6 - self.offset) / self.rate + self.slept)

    # --- life and death of the process

    def boot(self, _: Any = None) -> None:
        if self.up:
            return
        self.life += 1
        self.config = config_of(self.base, self.name, self.life)
        self.state = self.world.protocol.State()
        self.up, self.frozen, self.ahead, self.armed = True, "", None, NEVER
        self.watch = Watch()
        self.backlog.clear()
        self.world.judge.on_boot(self)
        self.feed(Tick())

    def crash(self, why: str) -> None:
        """The process is gone, and the workload with it: inside of it, or killed by the guardian whose pipe closed."""
        if self.world.trace:
            self.world.say(self, f"process ends: {why}")
        self.up, self.frozen = False, ""
        self.life += 1  # answers to it are lost
        self.end_workload()
        self.world.judge.on_down(self)

    def freeze(self, kind: str) -> None:
        self.frozen, self.frozen_at = kind, self.world.t
        if kind == "paused" and self.live and self.guard is not None:
            self.world.at(self.when(self.guard), self.guardian_strikes, self.run_number)

    def guardian_strikes(self, run: int) -> None:
        """It acts for a process that cannot; for one that runs, the protocol has to, or is found out."""
        if self.frozen != "paused" or not self.live or run != self.run_number or self.guard is None:
            return
        if self.clock() < self.guard:
            return
        if self.world.child:
            self.world.say(self, "guardian kills the workload")
            self.end_workload()
        else:
            self.crash("killed by the guardian")
            self.world.after(self.world.rng.uniform(1, 900), self.boot)

    def thaw(self) -> None:
        """The deadline is looked at first; whatever came in the meantime comes now."""
        if not self.frozen or not self.up:
            return
        if self.world.clock_stops and self.frozen == "suspended":
            self.slept += self.world.t - self.frozen_at
        self.frozen = ""
        backlog, self.backlog = self.backlog, []
        self.feed(Tick())
        for event in backlog:
            self.feed(event)
        if self.late_stop:
            self.stopped(self.late_stop)
        self.world.judge.check_alone(self)

    # --- the runner's part

    def feed(self, event: Event) -> None:
        if not self.up:
            return
        if self.frozen:
            if not isinstance(event, Tick):
                self.backlog.append(event)
            return
        world = self.world
        now = self.clock()
        self.state, actions = world.protocol.step(self.config, self.state, event, now)
        if world.trace:
            world.say(self, f"{_shown(event)} -> {self.state.role.value}")
        for action in actions:
            self.perform(action)
        self.arm()

    def arm(self) -> None:
        if not self.up:
            return
        local = self.world.protocol.wake_at(self.config, self.state)
        if self.state.pending is not None:
            local = self.give_up_at if local is None else min(local, self.give_up_at)
        self.due = local
        if local is None:
            return
        at = self.when(local)
        if at < self.armed:
            self.armed = at
            self.world.at(at, self.ring, at)

    def ring(self, at: float) -> None:
        if at != self.armed:
            return
        self.armed = NEVER
        if not self.up or self.frozen:
            return
        now = self.clock()
        pending = self.state.pending
        if pending is not None and now >= self.give_up_at:
            self.ahead = None  # the connection is thrown away
            self.feed(Failed(pending.id, "no answer"))
            return
        if self.due is not None and now >= self.due:
            self.feed(TICK)
        else:
            self.arm()

    def perform(self, action: Action) -> None:
        world = self.world
        if world.trace and not isinstance(action, Send):
            world.say(self, f"    {_shown(action)}")
        match action:
            case Send():
                self.give_up_at = action.give_up_at
                self.post(action)
            case Extend(deadline=deadline):
                self.guard = deadline
            case Start(epoch=epoch, deadline=deadline):
                self.start(epoch, deadline)
            case StopWorkload(by=by):
                self.told_to_stop = True
                if not self.hangs:
                    took = (by - self.clock()) * self.stop_share
                    world.at(self.when(self.clock() + took), self.stopped, self.run_number)
            case Kill() if world.child:
                self.end_workload()
                world.after(0.5, self.stopped, self.run_number)
            case Kill() | Finish():
                self.crash("its lease is over, or it is done")
                world.after(world.rng.uniform(1, 900), self.boot)

    def start(self, epoch: int, deadline: int) -> None:
        self.guard, self.epoch, self.live = deadline, epoch, True
        self.run_number += 1
        self.told_to_stop = False
        self.world.judge.on_start(self)
        if self.sick and self.world.rng.random() < self.sick:
            self.world.after(self.world.rng.uniform(1, 50), self.fail, self.run_number)

    def fail(self, run: int) -> None:
        if self.live and run == self.run_number and not self.frozen:
            if not self.told_to_stop:
                self.world.judge.on_failed(self)
            self.feed(WorkloadEnded("sick"))

    def stopped(self, run: int) -> None:
        """The workload has ended as it was told to; a frozen one ends when it goes on."""
        if run != self.run_number or not self.up:
            return
        if self.frozen and not (self.frozen == "paused" and self.world.child):
            self.late_stop = run
            return
        self.late_stop = 0
        self.end_workload()
        self.feed(WorkloadStopped())

    def end_workload(self) -> None:
        self.live = False

    def stop(self, _: Any = None) -> None:
        self.feed(Stop())

    # --- the network

    def post(self, send: Send) -> None:
        world = self.world
        if self.ahead is None:  # a new connection asks for the time first
            self.ahead = world.store.clock(world.t) - self.clock() + int(world.latency())
        now = self.clock()
        seal = self.watch.seal(send.id, now)
        message = Message(self, self.life, self.config, send, seal, now, send.give_up_at + self.ahead)
        if world.trace:
            world.say(self, f"    sends {send.request}")
        self.through("requests", world.arrive, message)

    def through(self, leg: str, act: Callable[[Any], None], what: Any) -> None:
        """Hands something to the network: to the store, or from it to us."""
        world, weather = self.world, self.world.weather
        if self.cut in (leg, "both"):
            if self.holds:
                self.kept.append((act, what))
            return
        if weather.loss and world.rng.random() < weather.loss:
            return
        world.after(world.latency(), act, what)
        if weather.twice and world.rng.random() < weather.twice:
            world.after(world.latency() + weather.worst * world.rng.random(), act, what)

    def heal(self) -> None:
        kept, self.kept, self.cut = self.kept, [], ""
        for act, what in kept:
            self.world.after(self.world.latency(), act, what)

    def receive(self, answer: tuple[Message, Reply | None, int, int]) -> None:
        message, reply, store_now, doubt = answer
        if message.life != self.life or not self.up:
            return
        self.ahead = store_now - message.sent_at
        if reply is None:
            pending = self.state.pending
            asked = not self.frozen and pending is not None and pending.id == message.send.id
            if asked and self.clock() < message.send.give_up_at:
                self.post(message.send)
            return
        if isinstance(reply, Granted | Refused | Renewed):
            self.watch.heard(self.clock(), store_now, doubt)
        self.feed(Answered(message.send.id, reply))

    def refused(self, message: Message) -> None:
        if message.life == self.life and self.up:
            self.feed(Failed(message.send.id, "connection refused"))

    def hear(self, life: int) -> None:
        if life == self.life:
            self.feed(Changed())


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
        while queue and queue[0][0] <= until:
            self.t, _, act, what = pop(queue)
            act(what)
            if self.count > LIVELOCK:
                self.judge.violated("livelock", "there is no end to what happens")
        self.t = until

    def latency(self) -> float:
        weather, rng = self.weather, self.rng
        if weather.tail and rng.random() < weather.tail:
            return weather.worst * rng.random()
        return weather.latency * (0.5 + rng.random())

    # --- the store's side

    def arrive(self, message: Message) -> None:
        store = self.store
        if not store.up:
            message.site.through("answers", message.site.refused, message)
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
            site.through("answers", site.receive, (message, None, now, 0))
            return
        done = self.store.table.handle(message.config, request, now, message.seal)
        if self.trace:
            self.say("store", f"{site}: {request} -> {done[0] if done else 'overtaken'}")
        if done is None:
            return
        reply, doubt = done
        self.judge.on_executed(message, reply)
        self.announce(site)
        site.through("answers", site.receive, (message, reply, now, doubt))

    def announce(self, author: Site | None) -> None:
        if self.store.table.announced:
            for site in self.sites:
                if site is not author and site.up:
                    site.through("answers", site.hear, site.life)


def _shown(thing: Event | Action) -> str:
    return repr(thing)
