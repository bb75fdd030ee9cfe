"""A site of the simulation: the protocol and the scribe of production, a workload, and a way to the store."""

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
    Kill,
    LoggedIn,
    Logins,
    Reply,
    Send,
    Serves,
    Start,
    Stop,
    StopWorkload,
    Tick,
    WorkloadEnded,
    WorkloadStopped,
)
from rectbot.failover.protocol import State
from rectbot.failover.record import Draft, Record, Seen
from rectbot.failover.scribe import Scribe

if TYPE_CHECKING:
    from .world import World

NEVER = float("inf")
WALL = 1_000_000  # the time of day at the beginning
TICK = Tick()


class Lives:
    """The configuration of each life of a site's process, which has an owner of its own; the schedules share them."""

    def __init__(self, base: FailoverConfig, changes: dict[str, dict[str, Any]] | None = None) -> None:
        self.base = base
        self.changes = changes or {}  # by which a site's configuration contradicts that of the others
        self._known: dict[tuple[str, int], FailoverConfig] = {}

    def config_of(self, site: str, life: int) -> FailoverConfig:
        known = self._known.get((site, life))
        if known is None:
            changes = self.changes.get(site, {})
            known = replace(self.base, site=site.rstrip("'"), owner=f"{site}{life}", **changes)
            self._known[site, life] = known
        return known


class Ask:
    """A read or a swap on its way, and where its answer belongs."""

    def __init__(self, site: Site, send: Send, draft: Draft | None) -> None:
        self.site = site
        self.life = site.life
        self.send = send
        self.draft = draft  # None: a read
        self.mark = site.scribe.mark
        self.server = site.world.server  # at which it was when it was sent


class Wire:
    """A site's way to the store, and back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cut = ""  # "requests", "answers" or "both" do not get through
        self.holds = False  # what the cut keeps is delivered when it heals
        self.lag = 0.0  # what comes to the site takes so much longer
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
        lag = self.lag if leg == "answers" else 0.0
        world.after(world.latency() + lag, act, what)
        if weather.twice and world.rng.random() < weather.twice:
            world.after(world.latency() + weather.worst * world.rng.random(), act, what)

    def heal(self) -> None:
        kept, self.kept, self.cut = self.kept, [], ""
        for act, what in kept:
            self.world.after(self.world.latency(), act, what)


class Site:
    """A machine with one site's process, its workload, and a guardian."""

    state: State  # since it was booted

    scribe: Scribe

    def __init__(self, world: World, name: str, rate: float, offset: int) -> None:
        self.world = world
        self.lives = world.lives
        self.name = name  # of a twin, with a mark
        self.known_as = name.rstrip("'")
        self.place = world.base.priority.index(self.known_as)
        self.rate = rate
        self.offset = offset
        self.life = 0
        self.config = self.lives.config_of(name, 0)
        self.up = False
        self.frozen = ""  # "paused": the process; "suspended": the whole machine
        self.frozen_at = 0.0
        self.wire = Wire(world)
        self.backlog: list[tuple[Callable[[Any], None], Any]] = []
        self.armed = NEVER
        self.due: int | None = None  # by our clock: when the next Tick is
        self.request: Send | None = None  # that is to be answered
        self.asked: Ask | None = None  # in flight
        self.ask_until = 0
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
        if (blind_for := self.world.blind_for()) > 0:
            self.world.after(blind_for, self.boot)
            return
        self.life += 1
        self.config = self.lives.config_of(self.name, self.life)
        self.state = self.world.protocol.State()
        self.scribe = self.world.scribe.Scribe(self.config)
        self.up, self.frozen, self.armed = True, "", NEVER
        self.request = self.asked = None
        self.backlog.clear()
        self.world.judge.on_boot(self)
        self.feed(Tick())
        if self.world.poll:
            self.world.after(self.world.poll * self.world.rng.random(), self.poll, self.life)

    def crash(self, why: str) -> None:
        """The process is gone, and the workload with it: inside of it, or killed by the guardian whose pipe closed."""
        if self.world.trace:
            self.world.say(self, f"process ends: {why}")
        self.up, self.frozen = False, ""
        self.life += 1  # answers to it are lost
        self.end_workload()
        self.world.judge.on_down(self)

    def has_seen(self, older: Record | None) -> bool:
        """Something, and a later record than that."""
        known = self.scribe.known
        if known is None or known.record is None:
            return False
        return older is None or known.record.seq > older.seq

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
        for act, what in backlog:
            act(what)
        if self.late_stop:
            self.stopped(self.late_stop)
        self.world.judge.check_alone(self)

    # --- the runner's part

    def feed(self, event: Event) -> None:
        if not self.up:
            return
        if self.frozen:
            if not isinstance(event, Tick):
                self.backlog.append((self.feed, event))
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
        if self.asked is not None and (local is None or self.ask_until < local):
            local = self.ask_until
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
        if self.asked is not None and now >= self.ask_until:
            self.fail_request("no answer")
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
            case Send():
                self.request, self.sent = action, action.id
                world.after(0, self.go_on, self.life)
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
        self.scribe.serving = False
        self.world.judge.on_start(self)
        self.world.after(1, self.serves, self.run_number)
        if self.sick and self.world.rng.random() < self.sick:
            self.world.after(self.world.rng.uniform(1, 50), self.fail, self.run_number)

    def serves(self, run: int) -> None:
        if self.live and run == self.run_number and not self.frozen:
            self.scribe.serving = True
            self.feed(Serves())

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
        if self.up:
            self.scribe.serving = None

    def stop(self, _: Any = None) -> None:
        self.feed(Stop())

    # --- what it sends and receives: as store.py does it

    def go_on(self, life: int) -> None:
        """The next read or swap for the request, once the one before is answered."""
        if life != self.life or not self.up or self.request is None or self.asked is not None:
            return
        if self.frozen:
            self.backlog.append((self.go_on, life))
            return
        send, now = self.request, self.clock()
        if now >= send.give_up_at:
            self.fail_request("no answer")
            return
        made = self.scribe.propose(send.request, now, WALL + int(self.world.t))
        if made is None or isinstance(made, Draft):
            self.ask_until = min(now + self.config.patience_ms, send.give_up_at)
            self.asked = Ask(self, send, made)
            if self.world.trace:
                self.world.say(self, f"    {'swaps for' if made else 'reads for'} {send.request}")
            self.wire.carry("requests", self.world.arrive, self.asked)
            self.arm()
        else:
            self.answer(send, made)

    def answer(self, send: Send, reply: Reply) -> None:
        self.request = None
        self.feed(Answered(send.id, reply))
        self.look_again()

    def fail_request(self, why: str) -> None:
        self.scribe.failed()
        ask, self.asked = self.asked, None
        if ask is not None and ask.send is not self.request:
            self.go_on(self.life)
            return
        request, self.request = self.request, None
        if request is not None:
            self.feed(Failed(request.id, why))

    def receive(self, answer: tuple[Ask, Seen]) -> None:
        ask, seen = answer
        if ask is not self.asked or not self.up:
            return
        if self.frozen:
            self.backlog.append((self.receive, answer))
            return
        self.asked = None
        now, reply = self.clock(), None
        if ask.draft is None:
            self.scribe.has_read(seen, ask.mark, now)
        else:
            reply = self.scribe.settle(ask.draft, seen, now)
        if reply is None or self.request is not ask.send:
            self.go_on(self.life)
        else:
            self.answer(ask.send, reply)

    def refused(self, ask: Ask) -> None:
        if ask is self.asked and self.up:
            if self.frozen:
                self.backlog.append((self.refused, ask))
            else:
                self.fail_request("connection refused")

    def overhear(self, told: tuple[int, Seen | None]) -> None:
        """The register tells of a change."""
        life, seen = told
        if life != self.life or not self.up:
            return
        if self.frozen:
            self.backlog.append((self.overhear, told))
            return
        if self.scribe.overhear(seen, self.clock()):
            self.look_again()

    def look_again(self) -> None:
        if self.request is not None or self.state.role not in ("candidate", "leader"):
            return
        now = self.clock()
        due = self.scribe.due(self.state.role == "leader", now)
        if due is not None and now + due < self.state.next_at:
            self.feed(Changed(due))

    def poll(self, life: int) -> None:
        """For a register that cannot tell of a change."""
        if life != self.life or not self.up:
            return
        world = self.world
        world.after(world.poll, self.poll, life)
        if world.server.up and not world.server.paused and not self.wire.cut and not self.frozen:
            self.wire.carry("answers", self.overhear, (life, world.server.seen()))
