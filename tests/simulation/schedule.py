"""Schedules of faults, each from one seed: who takes part, how the network is, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Literal

from rectbot.failover import protocol as real_protocol
from rectbot.failover import scribe as real_scribe
from rectbot.failover.commands import obey
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Accepted, Command, Outcome
from rectbot.failover.record import Record
from rectbot.failover.rules import initialise
from rectbot.failover.view import View

from .dice import Dice
from .server import Server
from .site import WALL, Lives, Site
from .world import NAMES, Weather, World

TTL = 1_000
ACTS: tuple[Literal["switch", "hold", "drain"], ...] = ("switch", "switch", "hold", "drain")


def _lives(names: tuple[str, ...], renew: int, stop: int, failback: float) -> Lives:
    base = FailoverConfig(
        site=names[0],
        priority=names,
        lock_ttl_ms=TTL,
        renew_interval_ms=renew,
        stop_timeout_ms=stop,
        hb_ttl_sec=3,
        failback_delay_sec=failback,
        sit_out_ms=100,
        sit_out_max_ms=1_600,
        owner="nobody",
    )
    return Lives(base.validate())


LIVES = {
    (count, failback): [
        _lives(NAMES[:count], renew, stop, failback) for renew, stop in ((333, 250), (400, 100), (430, 60), (250, 400))
    ]
    for count in (1, 2, 3)
    for failback in (0.0, 0.3)
}


class Faults:
    """Everything that can go wrong, with its end. Each takes a duration, where it has one."""

    def __init__(self, world: World, only: Sequence[str] = ()) -> None:
        self.world = world
        self.rng = world.rng
        self.possible = [act for act in FAULTS if not only or act.__name__ in only]
        self.commands = 0

    def strike(self, _: Any) -> None:
        act = self.rng.choice(self.possible)
        lasts = TTL * self.rng.choice((0.05, 0.3, 0.8, 1.05, 1.3))
        if self.world.trace:
            self.world.say("FAULT", f"{act.__name__} for {lasts:.0f} ms")
        act(self, lasts)

    def site(self) -> Site:
        """More often than not the one that leads."""
        live = [site for site in self.world.sites if site.live]
        return self.rng.choice(live if live and self.rng.random() < 0.6 else self.world.sites)

    def _during(self, lasts: float, site: Site | None, end: Callable[[], None], what: str) -> None:
        world = self.world
        world.judge.begins(site)
        if world.trace:
            world.say(site or "store", what)

        def over(_: Any) -> None:
            end()
            world.judge.ends(site)
            if world.trace:
                world.say(site or "store", f"over: {what}")

        world.after(lasts, over)

    def crash(self, lasts: float) -> None:
        site = self.site()
        if site.up:
            site.crash("kill -9")
            self.world.after(lasts, site.boot)

    def pause(self, lasts: float) -> None:
        self._freeze("paused", lasts)

    def suspend(self, lasts: float) -> None:
        self._freeze("suspended", lasts)

    def _freeze(self, kind: str, lasts: float) -> None:
        site = self.site()
        if site.up and not site.frozen:
            site.freeze(kind)
            self._during(lasts, site, site.thaw, kind)

    def stop(self, lasts: float) -> None:
        site = self.site()
        self._during(lasts, site, lambda: None, "is told to stop")
        site.stop()

    def cut(self, lasts: float) -> None:
        site = self.site()
        if not site.wire.cut:
            site.wire.cut = self.rng.choice(("both", "both", "requests", "answers"))
            site.wire.holds = self.rng.random() < 0.5
            kind = "holds" if site.wire.holds else "drops"
            self._during(lasts, site, site.wire.heal, f"cut off: {kind} {site.wire.cut}")

    def fade(self, _: float) -> None:
        """A link that dies by degrees: first answers come late, then none do."""
        site = self.site()
        if site.wire.cut:
            return
        site.wire.cut, site.wire.holds = "answers", True

        def die() -> None:
            site.wire.heal()
            site.wire.cut, site.wire.holds = "requests", False
            self._during(1.3 * TTL, site, site.wire.heal, "its link is dead")

        self._during(self.rng.uniform(0.1, 0.4) * TTL, site, die, "its link fades")

    def storm(self, lasts: float) -> None:
        world, rng = self.world, self.rng
        before = world.weather
        world.weather = Weather(
            latency=before.latency,
            tail=rng.choice((0.0, 0.3, 0.6)),
            worst=rng.choice((50.0, 400.0, 900.0)),
            loss=rng.choice((0.0, 0.2, 0.5)),
            twice=rng.choice((0.0, 0.5)),
        )

        def end() -> None:
            world.weather = Weather(latency=before.latency)

        self._during(lasts, None, end, f"{world.weather}" if world.trace else "")

    def sicken(self, lasts: float) -> None:
        site = self.site()
        site.sick = 1.0

        def end() -> None:
            site.sick = 0.0

        self._during(lasts * 2, site, end, "its workload fails")
        if site.live:
            site.fail(site.run_number)

    def hang(self, lasts: float) -> None:
        site = self.site()
        site.hangs = True

        def end() -> None:
            site.hangs = False

        self._during(lasts * 2, site, end, "its workload does not stop when told")

    def reconnect(self, lasts: float) -> None:
        site, times = self.site(), self.rng.choice((1, 2, 3))
        self.world.judge.disturbed(site)
        for _ in range(times):
            self.world.after(lasts * self.rng.random(), lambda _: site.reconnect())

    def late_answers(self, lasts: float) -> None:
        """A site that is heard at once, and hears late."""
        site = self.site()
        site.wire.lag = self.rng.choice((0.1, 0.25, 0.4, 0.8)) * TTL

        def end() -> None:
            site.wire.lag = 0.0

        self._during(lasts * 2, site, end, f"its answers come {site.wire.lag:.0f} ms late")

    def store_restart(self, lasts: float) -> None:
        self._store_down(lasts, lambda server: server.record, "restarts with its data")

    def store_loses_all(self, lasts: float) -> None:
        self._store_down(self.rng.choice((0.0, lasts)), lambda _: None, "restarts without data")

    def store_promotion(self, lasts: float) -> None:
        copies = self.world.server.copies
        if copies:
            copy = self.rng.choice(copies)
            self._store_down(lasts / 4, lambda _: copy, "fails; a replica is promoted")

    def _store_down(self, lasts: float, left: Callable[[Server], Record | None], what: str) -> None:
        world, server = self.world, self.world.server
        server.up = False

        def end() -> None:
            self._remembers(server, left(server))
            world.judge.unsure_at = world.t
            server.restart()
            if server is world.server:
                world.announce(anew=True)

        self._during(lasts, None, end, what)

    def _remembers(self, server: Server, record: Record | None) -> None:
        """It may be less than it has known."""
        if record is not server.record:
            self.world.judge.on_memory_lost(entirely=record is None)
            server.put(record)

    def store_falls_back(self, _: float) -> None:
        """Somebody restores a backup, or empties it, while it runs."""
        server = self.world.server
        if server.up:
            record = self.rng.choice([None, *server.copies])
            self.world.judge.disturbed()
            if record is not None:
                self.world.misleads(record)
            self._remembers(server, record)
            self.world.say("store", "falls back to an older record, or to none")

    def store_flips(self, lasts: float) -> None:
        """The address names another server for a while: an empty one, a replica, or one that was used before."""
        world, here = self.world, self.world.server
        there = world.servers[1 - world.servers.index(here)]
        if self.rng.random() < 0.4:
            there.put(here.record)
        self._flip(there)
        self._during(lasts, None, lambda: self._flip(here), "its address names another server")

    def _flip(self, server: Server) -> None:
        world = self.world
        world.misleads(None)
        world.server = server
        world.judge.bent = True
        world.judge.on_memory_lost(entirely=True)
        world.announce(anew=True)

    def store_pause(self, lasts: float) -> None:
        server = self.world.server
        server.paused = True

        def end() -> None:
            server.paused = False
            backlog, server.backlog = server.backlog, []
            for ask in backlog:
                self.world.arrive(ask)

        self._during(lasts, None, end, "hangs")

    def operator(self, lasts: float) -> None:
        world, judge, rng = self.world, self.world.judge, self.rng
        if not world.server.up or world.server.record is None:
            return  # nobody hears the command
        name = rng.choice(world.sites).known_as
        act = rng.choice(ACTS)
        judge.disturbed()
        judge.bent = True
        outcome = self._command(Command(act, "eve", "", name, int(lasts)))
        leads = judge.holder is not None and judge.holder.known_as == name
        judge.switch_to = name if act == "switch" and isinstance(outcome, Accepted) and not leads else ""
        if act == "drain":
            judge.drained.add(name)

            def undrain(_: Any) -> None:
                judge.drained.discard(name)
                self._command(Command("undrain", "eve", "", name))

            world.after(lasts, undrain)

    def _command(self, command: Command) -> Outcome:
        world, record = self.world, self.world.server.record
        if record is None:
            return Accepted(False)
        self.commands += 1
        config = world.lives.config_of("operator", 0)
        made, outcome = obey(config, record, command, View(0, record.t, WALL + int(world.t), self.commands, {}))
        if world.trace:
            world.say("operator", f"{command} -> {outcome}")
        if made is not None:
            world.server.put(made)
            world.announce()
        return outcome

    def copy(self, _: Any) -> None:
        """What a replica knows, for a promotion to come."""
        self.world.server.copies.append(self.world.server.record)


WEIGHTS = {
    Faults.crash: 4,
    Faults.pause: 3,
    Faults.suspend: 3,
    Faults.stop: 2,
    Faults.cut: 5,
    Faults.fade: 2,
    Faults.storm: 4,
    Faults.sicken: 2,
    Faults.hang: 2,
    Faults.reconnect: 1,
    Faults.store_restart: 2,
    Faults.store_loses_all: 2,
    Faults.store_promotion: 2,
    Faults.store_pause: 2,
    Faults.store_falls_back: 1,
    Faults.store_flips: 2,
    Faults.late_answers: 2,
    Faults.operator: 2,
}
FAULTS = [act for act, weight in WEIGHTS.items() for _ in range(weight)]


def build(
    seed: int, *, trace: bool = False, only: Sequence[str] = (), odd: float | None = None, **changes: Any
) -> tuple[World, float]:
    """The world of a seed, ready to run, and until when things go wrong in it.

    `only` names the faults that may strike, and `odd` says how the sites are configured, in place of a throw.
    """
    rng = Dice(seed)
    count = rng.choice((2, 2, 2, 3))
    lives = rng.choice(LIVES[count, rng.choice((0.0, 0.3))])
    odd = rng.random() if odd is None else odd
    if odd < 0.04:
        lives = _contradictory(rng, lives)
    names = NAMES[:count] + ((rng.choice(NAMES[:count]) + "'",) if odd > 0.97 else ())
    world = World(rng, lives, names, trace=trace, child=rng.random() < 0.5, **changes)
    world.weather = Weather(latency=rng.choice((0.5, 5.0, 20.0)))
    world.poll = rng.choice((0.0, 0.0, 0.0, 0.06)) * TTL
    world.judge.bent = odd < 0.04 or odd > 0.97
    if rng.random() < 0.9:
        world.server.put(
            initialise(lives.config_of("operator", 0), None, View(0, 0, 0, 0, {}), world.server.incarnation)
        )
    else:
        world.judge.poor_from, world.judge.unsure_at = 0, 0.0
    for site in world.sites:
        site.stop_share = rng.choice((0.0, 0.2, 0.97, 0.97))
        world.at(rng.random() * (30 if site.name in NAMES else TTL), site.boot)
    faults = Faults(world, only)
    horizon = rng.choice((1.15, 1.15, 1.6, 2.3)) * TTL
    if rng.random() < 0.06:
        _spend_budget(world, rng.choice((0, 1, 1, 2, 3)))
        for _ in range(3):
            world.at(rng.uniform(0.1, 0.9) * horizon, faults.reconnect, 0.2 * TTL)
    strikes = rng.choice((1, 1, 2, 2, 3, 4))
    for _ in range(strikes):
        world.at(rng.random() * 0.8 * horizon, faults.strike)
    if rng.random() < 0.2:
        world.at(rng.random() * 0.5 * horizon, faults.copy)
    if rng.random() < 0.15:
        faults.storm(horizon * rng.random())
    world.tail = rng.random() < 0.06
    return world, horizon


def _contradictory(rng: Dice, lives: Lives) -> Lives:
    """One site is configured as the others are not."""
    base = lives.base
    site = rng.choice(base.priority)
    if rng.random() < 0.5:
        return Lives(base, {site: {"priority": base.priority[::-1]}})
    ttl = rng.choice((700, 1_500))
    stop = min(base.stop_timeout_ms, ttl // 4)
    return Lives(base, {site: {"lock_ttl_ms": ttl, "renew_interval_ms": ttl // 3, "stop_timeout_ms": stop}})


def _spend_budget(world: World, left: int) -> None:
    """So many logins are left of the last 24 hours, and none comes back before the schedule is over."""
    base, record = world.base, world.server.record
    if record is None:
        return
    record.owed_until = (base.login_burst - left) * base.login_ms
    world.judge.allowed, world.judge.bent = float(left), True


def run(
    seed: int,
    *,
    protocol: ModuleType = real_protocol,
    scribe: ModuleType = real_scribe,
    **changes: Any,
) -> World:
    """Runs one schedule. Raises Violation."""
    world, horizon = build(seed, protocol=protocol, scribe=scribe, **changes)
    play(world, horizon)
    return world


def play(world: World, horizon: float) -> None:
    """Runs a world to its horizon, and on until all is well again, if that is to be seen. Raises Violation."""
    world.run(horizon)
    if not world.tail or world.judge.bent:  # where an operator has changed the rules, no end is the right one
        return
    limit = horizon + 7 * TTL
    while world.t < limit and not world.judge.is_well(1.5 * TTL):
        world.run(min(world.t + 0.25 * TTL, limit))
    world.judge.check_end()
