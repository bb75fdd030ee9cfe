"""A site of the simulation: the protocol of production, a workload, and a way to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    LoggedIn,
    Logins,
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
from rectbot.failover.protocol import State
from rectbot.failover.watch import Seal, Watch

if TYPE_CHECKING:
    from .world import World

NEVER = float("inf")
TICK = Tick()
HEARD = (Granted, Refused, Renewed)  # answers that tell the store's time


class Lives:
    """The configuration of each life of a site's process, which has an owner of its own; the schedules share them."""

    def __init__(self, base: FailoverConfig) -> None:
        self.base = base
        self._known: dict[tuple[str, int], FailoverConfig] = {}

    def config_of(self, site: str, life: int) -> FailoverConfig:
        known = self._known.get((site, life))
        if known is None:
            known = self._known[site, life] = replace(self.base, site=site, owner=f"{site}{life}")
        return known


class Message:
    """A request on its way, and where its answer belongs."""

    def __init__(self, site: Site, send: Send, seal: Seal, sent_at: int, not_after: int) -> None:
        self.site = site
        self.life = site.life
        self.config = site.config
        self.send = send
        self.seal = seal
        self.sent_at = sent_at
        self.not_after = not_after


class Wire:
    """A site's way to the store, and back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cut = ""  # "requests", "answers" or "both" do not get through
        self.holds = False  # what the cut keeps is delivered when it heals
        self.kept: list[tuple[Callable[[Any], None], Any]] = []

    def carry(self, leg: str, act: Callable[[Any], None], what: Any) -> None:
        """Hands something to the network: a request to the store, or an answer to the site."""
        world = self.world
        weather = world.weather
        if self.cut and self.cut in (leg, "both"):
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


class Site:
    """A machine with one site's process, its workload, and a guardian."""

    state: State  # since it was booted

    def __init__(self, world: World, name: str, rate: float, offset: int) -> None:
        self.world = world
        self.lives = world.lives
        self.name = name
        self.place = world.base.priority.index(name)
        self.rate = rate
        self.offset = offset
        self.life = 0
        self.config = self.lives.config_of(name, 0)
        self.up = False
        self.frozen = ""  # "paused": the process; "suspended": the whole machine
        self.frozen_at = 0.0
        self.wire = Wire(world)
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
        self.logins_left: int | None = None  # under this lease
        self.sent = 0  # the last request's number
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
        """The global time at which our clock shows `local`; now, if it has shown that."""
        t = (local + 1e-6 - self.offset) / self.rate + self.slept
        return t if t > self.world.t else self.world.t

    # --- life and death of the process

    def boot(self, _: Any = None) -> None:
        if self.up:
            return
        self.life += 1
        self.config = self.lives.config_of(self.name, self.life)
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
        self.state, actions = world.step(self.config, self.state, event, self.clock())
        if world.trace:
            world.say(self, f"{event} -> {self.state.role}")
        for action in actions:
            self.perform(action)
        if self.up:
            self.arm()

    def arm(self) -> None:
        local = self.world.wake_at(self.config, self.state)
        if self.state.pending is not None and (local is None or self.give_up_at < local):
            local = self.give_up_at
        self.due = local
        if local is not None and local < self.armed:
            self.armed = float(local)
            self.world.at(self.when(local), self.ring, local)

    def ring(self, local: int) -> None:
        if local != self.armed:
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
            world.say(self, f"    {action}")
        match action:
            case Send(give_up_at=give_up_at):
                self.give_up_at, self.sent = give_up_at, action.id
                self.post(action)
            case Extend(deadline=deadline, logins_left=left):
                self.guard, self.logins_left = deadline, left
            case Start(epoch=epoch, deadline=deadline, logins_left=left):
                self.logins_left = left
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

    def reconnect(self) -> None:
        """The bot's session has ended: it logs in again under its lease, as Lease.login() allows it to."""
        if not self.live or self.frozen or self.told_to_stop or self.guard is None or self.clock() >= self.guard:
            return
        if self.logins_left is not None and self.logins_left < 1:
            self.fail(self.run_number)
            return
        self.logins_left = None if self.logins_left is None else self.logins_left - 1
        self.world.judge.on_login(self)
        self.feed(LoggedIn(Logins(1)))

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

    # --- what it sends and receives

    def post(self, send: Send) -> None:
        world, now = self.world, self.clock()
        if self.ahead is None:  # a new connection asks for the time first
            self.ahead = world.store.clock(world.t) - now + int(world.latency())
        seal = self.watch.seal(send.id, now)
        message = Message(self, send, seal, now, send.give_up_at + self.ahead)
        if world.trace:
            world.say(self, f"    sends {send.request}")
        self.wire.carry("requests", world.arrive, message)

    def receive(self, answer: tuple[Message, Reply | None, int, int, int]) -> None:
        message, reply, store_now, era, doubt = answer
        if message.life != self.life or not self.up:
            return
        self.ahead = store_now - message.sent_at
        if reply is None:
            pending = self.state.pending
            asked = not self.frozen and pending is not None and pending.id == message.send.id
            if asked and self.clock() < message.send.give_up_at:
                self.post(message.send)
            return
        if isinstance(reply, HEARD):
            self.watch.heard(self.clock(), store_now, era, doubt)
        self.feed(Answered(message.send.id, reply))

    def refused(self, message: Message) -> None:
        if message.life == self.life and self.up:
            self.feed(Failed(message.send.id, "connection refused"))

    def hear(self, life: int) -> None:
        if life == self.life:
            self.feed(Changed())
