"""The lease store in memory: the transitions of lua/*.lua, for the simulator and for tests of a workload.

`LeaseTable` is what Redis holds, and each of its transitions is one script; operators' commands are in orders.py. `now`
is the server's clock in milliseconds. The same conformance tests, and the same random walks, run on it and on the
scripts in a real Redis, and must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import ceil

from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Event
from rectbot.failover.messages import (
    Campaign,
    Granted,
    Logins,
    Lost,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
    Request,
)
from rectbot.failover.records import Beat, Lock, Obstructed, Operator
from rectbot.failover.watch import Seal

_LOST_EPOCHS = 1_000  # as many as a server that lost its memory may have forgotten
_LOST_LOGINS = 10  # so many are left when it may have forgotten some
_ONE_LOGIN = Logins(1)
_NO_SEAL = Seal(0, None, 0, 0)


def _me(config: FailoverConfig) -> tuple[str, str]:
    return config.site, config.owner


@dataclass(slots=True)
class LeaseTable:
    """What the store remembers. `run` names the server's process, `known_run` the one that is known to know it all."""

    run: int = 0
    known_run: int | None = None
    epoch: int | None = None
    suspended_until: int = 0
    lock: Lock | None = None
    holder: str = ""  # the last that was granted the lock and did not release it
    holder_owner: str = ""
    renewed: tuple[int, int] = (0, 0)  # when its lock was, and for how long
    reserved: tuple[str, int] = ("", -1)  # for which site, until when
    beats: dict[str, Beat] = field(default_factory=dict)
    owed_until: int = 0  # the login budget's leaky bucket
    told: dict[str, tuple[str, int]] = field(default_factory=dict)  # the logins that each site's process has told of
    losses: dict[str, tuple[int, int]] = field(default_factory=dict)  # how many, and the last one's time
    operator: Operator = field(default_factory=Operator)
    journal: list[Event] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    era: int = 0  # of the clock: what sites have heard of it in another one counts for nothing
    seal: Seal = _NO_SEAL  # of the request that is handled
    announced: bool = False  # by the last transition

    def copy(self) -> LeaseTable:
        """What a replica has at this moment."""
        operator = replace(self.operator, drained=dict(self.operator.drained))
        kept = replace(self, beats=dict(self.beats), losses=dict(self.losses), told=dict(self.told), operator=operator)
        kept.journal, kept.counts = list(self.journal), Counter(self.counts)
        return kept

    def handle(self, config: FailoverConfig, request: Request, now: int, seal: Seal) -> tuple[Reply, int] | None:
        """The reply, and the doubt that a campaign left. None: another request of this owner has overtaken it."""
        self.announced = False
        newest = self.beats.get(config.site)
        if newest and now <= newest.until and newest.owner == config.owner and newest.number >= seal.number:
            return None
        self.seal = seal
        match request:
            case Campaign():
                return self._campaign(config, request, now, seal)
            case Renew():
                return self._renew(config, request, now), 0
            case Release():
                return self._release(config, request, now), 0

    # --- campaign.lua

    def _campaign(
        self, config: FailoverConfig, request: Campaign, now: int, seal: Seal
    ) -> tuple[Granted | Refused, int]:
        epoch, suspended = self._read_memory(config, now)
        self.epoch = epoch = max(epoch, request.epoch_seen)
        self._count_logins(config, request.logins, now)
        lock = self.read_lock(now)
        if lock and lock.owner == config.owner:
            self.lock = lock = None
            self.holder = self.holder_owner = ""
        if lock:
            lock = self._bound_lock(lock, now)
        foreign = self.holder if self.holder_owner != config.owner else ""
        seen = self._any_in_doubt(config, foreign, now)
        doubt = max(seen, seal.doubt) if foreign or self.suspended_until else 0
        obstacle = self._obstacle(config, request.eligible, lock, now)
        if obstacle is None and suspended > 0:
            obstacle = Obstructed("suspended", "", max(suspended, doubt))
        if obstacle is None and doubt > 0:
            obstacle = Obstructed("in doubt", foreign, doubt)
        if obstacle is None:
            obstacle = self._not_this_one(config, now)
        said = self._write_beat(config, request.eligible, obstacle.why if obstacle else "", now)
        if obstacle:
            why, by, wait = obstacle
            if why != said and why in ("preferred", "budget"):
                kind = "refused-by-budget" if why == "budget" else "refused-by-priority"
                self.enter(kind, _me(config), epoch, by, now)
            return Refused(why, wait, epoch, by), seen
        if foreign:
            self.enter("expired", (self.holder, self.holder_owner), epoch, "not renewed", now)
            self._count_loss(config, (self.holder, self.holder_owner), epoch, now)
        epoch += 1
        self._write_lock(config, epoch, now, now)
        self.suspended_until = 0
        self._spend_logins(config, _ONE_LOGIN, now)
        self.told[config.site] = (config.owner, request.logins.count)
        self.reserved = ("", -1)
        self.enter("acquired", _me(config), epoch, "", now)
        self._note_move(config)
        return Granted(epoch, self.logins_left(config, now)), 0

    def _any_in_doubt(self, config: FailoverConfig, foreign: str, now: int) -> int:
        over, whole = float(self.suspended_until), config.lock_ttl_ms
        if foreign:
            if self.renewed[0] > now:
                self._next_era(now)
            renewed, lease = self.renewed = min(self.renewed[0], now), self.renewed[1]
            whole, over = max(whole, lease), max(over, renewed + 0.99 * lease)
        return self._in_doubt(over, whole, now)

    def _obstacle(self, config: FailoverConfig, eligible: bool, lock: Lock | None, now: int) -> Obstructed | None:
        if config.site in self.operator.drained:
            return Obstructed("drained")
        if lock:
            return Obstructed("held", lock.site, lock.until - now + 1)
        if not eligible:
            return Obstructed("ineligible")
        return None

    def _not_this_one(self, config: FailoverConfig, now: int) -> Obstructed | None:
        if (wait := self.next_login_in(config, now)) > 0:
            return Obstructed("budget", "", wait)
        return self._other_first(config, now)

    def _other_first(self, config: FailoverConfig, now: int) -> Obstructed | None:
        """A site that goes before this one: by a hand-over, by an operator's will, or by preference."""
        reserved, its_time = self._read_reserved(config, now)
        if reserved:
            switched = self.operator.switch_to == reserved
            if switched and reserved == config.site:
                return None
            if reserved != config.site and (switched or not self._goes_before(config, reserved, now)):
                return Obstructed("reserved", reserved, its_time + 1)
        if (hold := self.operator.hold_until - now) > 0:
            holder = self.operator.hold_site
            return None if holder == config.site else Obstructed("on hold", holder, hold)
        return self._ready_other(config, now)

    def _read_reserved(self, config: FailoverConfig, now: int) -> tuple[str, int]:
        site, until = self.reserved
        if now > until:
            return "", 0
        if until - now > config.reserve_ms:
            until = now + config.reserve_ms
            self.reserved = (site, until)
        return site, until - now

    def _goes_before(self, config: FailoverConfig, other: str, now: int) -> bool:
        beat = self.beats.get(other)
        known = beat is not None and now <= beat.until
        return known and config.priority.index(config.site) < config.priority.index(other)

    def _ready_other(self, config: FailoverConfig, now: int) -> Obstructed | None:
        """A site that stands ready and goes before this one; before a damped site goes every other."""
        pause = self.damped_for(config, config.site, now)
        for site in config.priority:
            if site == config.site:
                if pause == 0:
                    return None
                continue
            beat = self.beats.get(site)
            if self.is_ready(beat, now) and self.damped_for(config, site, now) == 0:
                assert beat is not None
                its_time = beat.fresh_until - now
                return (
                    Obstructed("damped", site, min(pause, its_time))
                    if pause
                    else Obstructed("preferred", site, its_time)
                )
        return None

    def _note_move(self, config: FailoverConfig) -> None:
        operator = self.operator
        if operator.switch_to == config.site:
            operator.pinned = config.site
            operator.forget_switch()
        elif operator.pinned != config.site:
            operator.pinned = ""
        if operator.hold_until:
            operator.hold_site = config.site

    # --- renew.lua

    def _renew(self, config: FailoverConfig, request: Renew, now: int) -> Renewed | Lost:
        epoch, suspended = self._read_memory(config, now)
        self._count_logins(config, request.logins, now)
        lock = self.read_lock(now)
        mine = lock is not None and lock.owner == config.owner and lock.epoch == request.epoch
        forgotten = suspended > 0 and (lock is None or lock.epoch < request.epoch)
        if lock is None and self.holder_owner == config.owner and self.epoch == request.epoch:
            forgotten = True
        if not mine and not forgotten:
            why = f"held by {lock.site}" if lock else "no lock"
            self.enter("renew-refused", _me(config), request.epoch, why, now)
            return Lost(lock.site if lock else "")
        self._write_lock(config, request.epoch, lock.since if mine and lock else now, now)
        self.epoch = max(epoch, request.epoch)
        if not mine:
            self.enter("restored", _me(config), request.epoch, "the store had forgotten it", now)
        self._write_beat(config, True, "", now)
        doubt = self._in_doubt(self.suspended_until, config.lock_ttl_ms, now)
        if doubt == 0:
            self.suspended_until = 0
        return self._to_whom(config, doubt, now)

    def _to_whom(self, config: FailoverConfig, doubt: int, now: int) -> Renewed:
        """Who waits for the asker's lock, by an operator's will or by the order of preference."""
        operator, left = self.operator, self.logins_left(config, now)
        if config.site in operator.drained:
            return Renewed("", None, operator.drained[config.site], left)
        if doubt > 0:
            return Renewed("", doubt, "", left)
        if left < 2:
            return Renewed("", self.next_login_in(config, now) + config.login_ms, "", left)
        to = operator.switch_to
        if to and to != config.site and now < operator.switch_until and self.is_ready(self.beats.get(to), now):
            return Renewed(to, None, operator.switch_why, left)
        soonest: int | None = None
        if operator.pinned != config.site and operator.hold_until <= now:
            for site in config.priority[: config.priority.index(config.site)]:
                beat = self.beats.get(site)
                if not self.is_ready(beat, now):
                    continue
                assert beat is not None
                due = beat.eligible_since + config.failback_ms - now
                wait = max(0, due, self.damped_for(config, site, now))
                if wait == 0:
                    return Renewed(site, None, "", left)
                soonest = wait if soonest is None else min(soonest, wait)
        return Renewed("", soonest, "", left)

    # --- release.lua

    def _release(self, config: FailoverConfig, request: Release, now: int) -> Released:
        self._count_logins(config, request.logins, now)
        lock = self.read_lock(now)
        mine = lock is not None and lock.owner == config.owner and (request.leaving or lock.epoch == request.epoch)
        if mine:
            self.lock = None
        if mine or (lock is None and self.holder_owner == config.owner):
            self.holder = self.holder_owner = ""
            if request.to:
                self.reserved = (request.to, now + config.reserve_ms)
            epoch = lock.epoch if lock else request.epoch
            self.enter(request.ending, _me(config), epoch, request.why, now)
            if request.ending in ("renew-failed", "workload-failed"):
                self._count_loss(config, _me(config), epoch, now)
        if not request.leaving:
            self._write_beat(config, request.eligible, "", now)
        elif (beat := self.beats.get(config.site)) and beat.owner == config.owner:
            del self.beats[config.site]
        self.announced = True
        return Released()

    # --- initialise.lua

    def initialise(self, config: FailoverConfig, now: int) -> bool:
        if self.known_run == self.run:
            return False
        self.known_run, self.epoch = self.run, self.epoch or 0
        self.enter("initialised", _me(config), self.epoch, "nothing was lost", now)
        return True

    # --- common.lua

    def read_lock(self, now: int) -> Lock | None:
        return self.lock if self.lock is not None and now <= self.lock.until else None

    def _bound_lock(self, lock: Lock, now: int) -> Lock:
        if lock.until - now > lock.ttl:
            self.lock = lock = lock._replace(until=now + lock.ttl)
        return lock

    def _next_era(self, now: int) -> None:
        self.era = max(self.era + 1, now)

    def _may_be_set_back(self, now: int) -> bool:
        _, heard_at, heard_ms, _, era = self.seal
        return self.renewed[0] > now or heard_at is None or era != self.era or now < heard_at + 0.99 * heard_ms

    def _in_doubt(self, over: float, whole: int, now: int) -> int:
        _, heard_at, heard_ms, _, era = self.seal
        if over == 0:
            return 0
        if heard_at is None or era != self.era:
            return whole
        ahead = max(0.0, now - heard_at - 0.99 * heard_ms)
        return ceil(max(min(over - now + ahead, whole), 0))

    def _write_lock(self, config: FailoverConfig, epoch: int, since: int, now: int) -> None:
        if self._may_be_set_back(now):
            self._next_era(now)
        ttl = config.lock_ttl_ms
        self.lock = Lock(config.owner, config.site, epoch, since, now + ttl, ttl)
        self.epoch = epoch
        self.holder, self.holder_owner, self.renewed = config.site, config.owner, (now, ttl)

    def _owed(self, config: FailoverConfig, now: int) -> int:
        return max(0, min(self.owed_until - now, config.login_burst * config.login_ms))

    def logins_left(self, config: FailoverConfig, now: int) -> int:
        return int((config.login_burst * config.login_ms - self._owed(config, now)) // config.login_ms)

    def next_login_in(self, config: FailoverConfig, now: int) -> int:
        return max(0, self._owed(config, now) - (config.login_burst - 1) * config.login_ms)

    def _spend_logins(self, config: FailoverConfig, logins: Logins, now: int) -> None:
        if not logins.count and logins.left is None:
            return
        full = config.login_burst * config.login_ms
        debt = self._owed(config, now) + logins.count * config.login_ms
        if logins.left is not None:
            debt = max(debt, full - max(0, logins.left) * config.login_ms)
        self.owed_until = now + min(debt, full)
        if logins.count:
            self.counts[f"login:{config.site}"] += logins.count

    def _count_logins(self, config: FailoverConfig, logins: Logins, now: int) -> None:
        if not logins.count and logins.left is None:
            return
        owner, before = self.told.get(config.site, ("", 0))
        before = before if owner == config.owner else logins.count
        self._spend_logins(config, Logins(max(0, logins.count - before), logins.left), now)
        self.told[config.site] = (config.owner, logins.count)

    def _read_memory(self, config: FailoverConfig, now: int) -> tuple[int, int]:
        epoch = self.epoch or 0
        if self.suspended_until > now + config.lock_ttl_ms:
            self._next_era(now)
        until = self.suspended_until = min(self.suspended_until, now + config.lock_ttl_ms)
        if self.known_run != self.run:
            why = "no memory" if self.known_run is None else "another server process"
            if self.epoch is None:
                epoch = now
                self._spend_logins(config, Logins(0, _LOST_LOGINS), now)
            else:
                epoch += _LOST_EPOCHS
            self._next_era(now)
            until = now + config.lock_ttl_ms
            self.known_run, self.epoch, self.suspended_until = self.run, epoch, until
            self.enter("suspended", _me(config), epoch, why, now)
        return epoch, until - now

    def losses_of(self, config: FailoverConfig, site: str, now: int) -> tuple[int, int]:
        losses, lost_at = self.losses.get(site, (0, 0))
        return (losses, lost_at) if lost_at <= now <= lost_at + 2 * config.damping_max_ms else (0, 0)

    def damped_for(self, config: FailoverConfig, site: str, now: int) -> int:
        if not self.losses:
            return 0
        losses, lost_at = self.losses_of(config, site, now)
        if losses < 2:
            return 0
        damping = min(config.damping_ms << min(losses - 2, 30), config.damping_max_ms)
        return max(0, lost_at + damping - now)

    def _count_loss(self, config: FailoverConfig, who: tuple[str, str], epoch: int, now: int) -> None:
        site = who[0]
        losses = self.losses_of(config, site, now)[0] + 1
        self.losses[site] = (losses, now)
        if (pause := self.damped_for(config, site, now)) > 0:
            why = f"{losses} losses: leaves the lead to others for {pause // 1000} s"
            self.enter("damped", who, epoch, why, now)

    def is_ready(self, beat: Beat | None, now: int) -> bool:
        return (
            beat is not None
            and beat.eligible
            and now < beat.fresh_until <= now + beat.ttl
            and now <= beat.until
            and beat.site not in self.operator.drained
            and beat.waits != "in doubt"
        )

    def _write_beat(self, config: FailoverConfig, eligible: bool, waits: str, now: int) -> str:
        site, ttl = config.site, config.lock_ttl_ms
        before = self.beats.get(site)
        was_ready = self.is_ready(before, now)
        same = was_ready and before is not None and before.owner == config.owner
        since = before.eligible_since if same and before else now
        until = now + round(config.hb_ttl_sec * 1000)
        self.beats[site] = Beat(
            config.owner, site, eligible, now, ttl, now + ttl, since, waits, until, self.seal.number
        )
        ready = eligible and site not in self.operator.drained and waits != "in doubt"
        if (ready and not same) or (was_ready and not ready):
            self.announced = True
        return before.waits if before and now <= before.until else ""

    def enter(self, kind: str, who: tuple[str, str], epoch: int, why: str, now: int) -> None:
        site, owner = who
        self.journal.append(Event(f"{now}-{len(self.journal)}", now / 1000, kind, site, owner, epoch, why))
        self.counts[f"{kind}:{site}"] += 1
