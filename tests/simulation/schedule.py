"""Schedules of faults, each from one seed: who takes part, how the network is, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

from rectbot.failover import protocol as real_protocol
from rectbot.failover import table as real_table
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Accepted, Command, Outcome
from rectbot.failover.orders import obey

from .dice import Dice
from .site import Lives, Site
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

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng

    def strike(self, _: Any) -> None:
        act = self.rng.choice(FAULTS)
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

    def store_restart(self, lasts: float) -> None:
        self._store_down(lasts, self.world.store.table, "restarts with its data")

    def store_loses_all(self, lasts: float) -> None:
        self._store_down(self.rng.choice((0.0, lasts)), self.world.table.LeaseTable(), "restarts without data")

    def store_promotion(self, lasts: float) -> None:
        store = self.world.store
        if store.copies:
            self._store_down(lasts / 4, self.rng.choice(store.copies), "fails; a replica is promoted")

    def _store_down(self, lasts: float, table: Any, what: str) -> None:
        store, judge = self.world.store, self.world.judge
        store.up = False

        def end() -> None:
            if store.table is not table:  # also when another fault has ended meanwhile, and something was written since
                judge.on_memory_lost(entirely=table.epoch is None)
            store.restart(table)

        self._during(lasts, None, end, what)

    def store_pause(self, lasts: float) -> None:
        store = self.world.store
        store.paused = True

        def end() -> None:
            store.paused = False
            backlog, store.backlog = store.backlog, []
            for message in backlog:
                self.world.arrive(message)

        self._during(lasts, None, end, "hangs")

    def store_clock_back(self, _: float) -> None:
        self._step_clock(-1)

    def store_clock_forward(self, _: float) -> None:
        self._step_clock(1)

    def _step_clock(self, sign: int) -> None:
        step = sign * self.rng.choice((20, 200, 900, 3_000, 100_000))
        self.world.store.base += step
        self.world.judge.disturbed()
        self.world.judge.allowed += max(0, step) / self.world.base.login_ms
        if self.world.trace:
            self.world.say("store", f"its clock is set by {step} ms")

    def operator(self, lasts: float) -> None:
        world, judge, rng = self.world, self.world.judge, self.rng
        if not world.store.up:
            return  # nobody hears the command
        site = rng.choice(world.sites)
        act = rng.choice(ACTS)
        judge.disturbed()
        judge.bent = True
        outcome = self._command(Command(act, "eve", "", site.name, int(lasts)))
        moves = act == "switch" and isinstance(outcome, Accepted) and judge.holder is not site
        judge.switch_to = site.name if moves else ""
        if act == "drain":
            judge.drained.add(site.name)

            def undrain(_: Any) -> None:
                judge.drained.discard(site.name)
                self._command(Command("undrain", "eve", "", site.name))

            world.after(lasts, undrain)

    def _command(self, command: Command) -> Outcome:
        world = self.world
        outcome = obey(world.store.table, world.base, command, world.store.clock(world.t))
        if world.trace:
            world.say("operator", f"{command} -> {outcome}")
        if world.store.table.announced:
            world.announce(None)
        return outcome

    def copy(self, _: Any) -> None:
        """What a replica knows, for a promotion to come."""
        self.world.store.copies.append(self.world.store.table.copy())


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
    Faults.store_clock_back: 2,
    Faults.store_clock_forward: 1,
    Faults.operator: 2,
}
FAULTS = [act for act, weight in WEIGHTS.items() for _ in range(weight)]


def build(seed: int, *, trace: bool = False, **changes: Any) -> tuple[World, float]:
    """The world of a seed, ready to run, and until when things go wrong in it."""
    rng = Dice(seed)
    count = rng.choice((2, 2, 2, 3))
    lives = rng.choice(LIVES[count, rng.choice((0.0, 0.3))])
    world = World(rng, lives, NAMES[:count], trace=trace, child=rng.random() < 0.5, **changes)
    world.weather = Weather(latency=rng.choice((0.5, 5.0, 20.0)))
    if rng.random() < 0.9:
        world.store.table.initialise(world.base, world.store.clock(0))
    else:
        world.judge.poor_from = 0
    for site in world.sites:
        site.stop_share = rng.choice((0.0, 0.2, 0.97, 0.97))
        world.at(rng.random() * 30, site.boot)
    faults = Faults(world)
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


def _spend_budget(world: World, left: int) -> None:
    """So many logins are left of the last 24 hours, and none comes back before the schedule is over."""
    base, store = world.base, world.store
    store.table.owed_until = store.clock(0) + (base.login_burst - left) * base.login_ms
    world.judge.allowed, world.judge.bent = float(left), True


def run(
    seed: int,
    *,
    protocol: ModuleType = real_protocol,
    table: ModuleType = real_table,
    trace: bool = False,
    **changes: Any,
) -> World:
    """Runs one schedule. Raises Violation."""
    world, horizon = build(seed, trace=trace, protocol=protocol, table=table, **changes)
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
