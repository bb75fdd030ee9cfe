"""The policy of the lease: what a request makes of the record. Pure, and the only place where it is written.

    judge(config, record, request, view) -> (the next record, the reply)

A site reads the record, makes the next one here, and swaps it in if the record is still the one that it has read (see
stores/base.py). No store knows a rule, and no clock but the asker's own counts.

**Why there is never a second leader.**

1. A leader stops for good by its deadline: 98 % of a TTL, less 20 ms, after the moment at which it *began to work out*
   the renewal that got through last (protocol.py; a watchdog sees to it when the process cannot).
2. A lock goes to another site only when it was released, which its owner does when nothing runs any more; or when the
   asker has watched the very same renewal for a whole TTL by its own CLOCK_BOOTTIME (`View.lock_ms`). It cannot have
   seen it before it was worked out, so a TTL has passed since then, by a clock whose rate is within 1 % of real time.
   The leader's rate is, too: 0.99 TTL of real time at least for the watcher, 0.98 / 0.99 TTL at most for the leader.
   It is the longer of the two TTLs that counts, if sites disagree. Seeing a renewal again does not begin a new watch.
   Who has just started has seen nothing: it waits one TTL for a lock that was not released.
3. The swap compares. A grant that arrives late, twice, or after its sender gave it up meets either the very record that
   it was made from, in which case what was true then is true still; or another, in which case it does nothing. No
   record is ever written twice: `owner` and `n` are in each. A sender that gave up and finds its grant in the record
   counts its deadline from when it worked it out, and leads while that allows, or releases.
4. A record may be lost, or fall back to an older one: another server process, an emptied or replaced server, a promoted
   replica, an address that names another server. Who notices (scribe.py) begins to watch anew, and enters a
   `Suspension`: the lock of an owner whom nobody knows, which is watched for a TTL like any other, by those who start
   later as well. All heartbeats are forgotten with it.
5. A leader within its deadline is itself the proof that no other lease is in force. So it writes its lock again, if
   nobody was granted a later one, and ends the suspension. But others may still watch the server that is gone, and its
   lock there: that renewal moves the deadline on only when every other site that was there has shown up here.

6. Who has heard no answer for a TTL cannot know whether the address led elsewhere meanwhile, where somebody else was
   granted a lease, and back. So it reads before it writes, and takes no lock, not even its own, until it sees the lock
   move here (whoever wrote that leads, so nobody else does), or all who were there have shown up, or a TTL has passed.
   And a watch is begun anew, once, after a failure, where the leader cannot have known of the watcher by 5.

What may run slow or fast without harm is the record's time, `View.t`: damping, holds and the login budget are counted
in it. Whether a site stands ready, and for how long it has, each site counts by its own clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rectbot.failover.budget import (
    count_logins,
    count_loss,
    damped_for,
    logins_left,
    next_login_in,
    spend_logins,
    told_logins,
)
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import iso
from rectbot.failover.messages import (
    Campaign,
    Granted,
    Lost,
    Obstacle,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
    Request,
)
from rectbot.failover.record import Beat, Lock, Record, Suspension, Twin
from rectbot.failover.view import View

LOST_EPOCHS = 1_000  # as many as a store that lost its memory may have forgotten
LOST_LOGINS = 10  # so many are left when it may have forgotten some


class Forgetful(NamedTuple):
    """A store that may have forgotten a lease."""

    server: str
    why: str
    ttl: int  # the longest of any lease that the asker has seen there
    epoch: int = 0  # the highest that it has seen, at whichever server


class Obstructed:
    """Why the lock cannot be granted, by which site, and when that will have passed by itself."""

    def __init__(self, why: Obstacle, by: str = "", wait_ms: int | None = None) -> None:
        self.why, self.by, self.wait_ms = why, by, wait_ms


def judge(config: FailoverConfig, record: Record, request: Request, view: View) -> tuple[Record | None, Reply]:
    """The record after the request, and the reply. None: there is nothing to write."""
    match request:
        case Campaign():
            return _campaign(config, record, request, view)
        case Renew():
            return _renew(config, record, request, view)
        case Release():
            return _release(config, record, request, view)


def _me(config: FailoverConfig) -> tuple[str, str]:
    return config.site, config.owner


def begin(config: FailoverConfig, record: Record, view: View) -> Record:
    """A copy that the asker may change: the next version."""
    record = record.copy()
    record.seq += 1
    record.owner, record.n = config.owner, view.n
    record.t, record.wall = max(record.t, view.t), view.wall
    for site, beat in tuple(record.beats.items()):
        age = view.age_ms(site)
        if site == config.site or age < beat.ttl:
            continue
        if age > round(config.hb_ttl_sec * 1000):
            del record.beats[site]
        elif beat.eligible:  # told to those who begin now, and have not watched it
            record.beats[site] = beat._replace(eligible=False)
    record.reserved_until = min(record.reserved_until, record.t + config.lock_ttl_ms)
    for site, twin in tuple(record.twins.items()):
        if view.t > twin.t + 2 * config.lock_ttl_ms:
            del record.twins[site]
    return record


def suspend(config: FailoverConfig, record: Record | None, view: View, found: Forgetful) -> Record:
    """The record of a store that may have forgotten a lease, and what it may have forgotten is taken into account.

    `record` is what it still has; None if it has none, or none that is ours.
    """
    ttl = found.ttl
    if record is None:
        record = Record(epoch=view.wall, number=view.wall)
        record.owed_until = max(0, config.login_burst - LOST_LOGINS) * config.login_ms
    else:
        record = record.copy()
        record.epoch = max(record.epoch, found.epoch) + LOST_EPOCHS
        ttl = max(ttl, *(beat.ttl for beat in record.beats.values()), record.lock.ttl if record.lock else 0, 0)
    record.server, record.lineage, record.beats, record.twins = found.server, f"{config.owner} {view.n}", {}, {}
    record.suspended = Suspension(config.owner, view.n, ttl, max(record.t, view.t))
    record.wall = view.wall
    record.enter("suspended", _me(config), found.why)
    return record


def initialise(config: FailoverConfig, record: Record | None, view: View, server: str) -> Record:
    """The first record of a server that has lost nothing of what its predecessor knew, as the caller knows."""
    record = begin(config, record or Record(number=view.wall), view)
    record.server, record.lineage = server, f"{config.owner} {view.n}"
    record.enter("initialised", _me(config), "nothing was lost")
    return record


# --- a site that does not lead


def _campaign(config: FailoverConfig, record: Record, request: Campaign, view: View) -> tuple[Record | None, Reply]:
    mine = record.beats.get(config.site)
    if mine is not None and mine.owner != config.owner and (wait := twin_wait_ms(mine) - view.twin_ms) > 0:
        return _stand_aside(config, record, wait, view)
    record = begin(config, record, view)
    record.epoch = max(record.epoch, request.epoch_seen)
    if mine is None or mine.owner != config.owner:
        record.order = config.priority
        record.twins.pop(config.site, None)
    if record.lock and record.lock.owner == config.owner:  # who campaigns runs nothing
        record.lock = None
    count_logins(config, record, request.logins, view)
    obstacle = obstacle_for(config, record, request.eligible, view)
    said = mine.waits if mine else ""
    if obstacle:
        _write_beat(config, record, request, obstacle.why, view)
        if obstacle.why != said and obstacle.why in ("preferred", "budget"):
            kind = "refused-by-budget" if obstacle.why == "budget" else "refused-by-priority"
            record.enter(kind, _me(config), obstacle.by)
        return record, Refused(obstacle.why, obstacle.wait_ms, record.epoch, obstacle.by, notice(config, record))
    _grant(config, record, view)
    _write_beat(config, record, request, "", view)
    return record, Granted(record.epoch, view.now, logins_left(config, record, view.t))


def twin_wait_ms(beat: Beat) -> int:
    """A heartbeat that was not renewed for so long is of a process that is gone."""
    return beat.every * 5 // 2


def _stand_aside(config: FailoverConfig, record: Record, wait: int, view: View) -> tuple[Record | None, Reply]:
    """Another process runs as this site; or it did just now, and may be the one that we replace."""
    other = record.beats[config.site]
    if not view.twin_lives:
        return None, Refused("twin", wait, record.epoch, "")
    said = Refused("twin", wait, record.epoch, other.owner, _twin(config, other.owner))
    before = record.twins.get(config.site)
    record = begin(config, record, view)
    record.twins[config.site] = Twin(config.owner, view.t)
    if before is None or before.owner != config.owner:
        record.enter("twin", _me(config), f"{other.owner} runs as this site")
    return record, said


def _grant(config: FailoverConfig, record: Record, view: View) -> None:
    if last := record.lock:
        why = f"not renewed since {iso(last.wall)}"
        record.enter("expired", (last.site, last.owner), why)
        count_loss(config, record, (last.site, last.owner), view)
    if view.missed:  # as a store begins with the wall's time: the one that is missing may have had a higher one there
        record.epoch = max(record.epoch, view.wall)
    record.epoch += 1
    _write_lock(config, record, record.epoch, view.wall, view)
    record.suspended, record.reserved, record.reserved_until = None, "", 0
    spend_logins(config, record, 1, None, view)
    record.enter("acquired", _me(config), "")
    _note_move(config, record)


def obstacle_for(config: FailoverConfig, record: Record, eligible: bool, view: View) -> Obstructed | None:
    """What keeps this site from leading now."""
    lock = record.lock
    if config.site in record.operator.drained:
        return Obstructed("drained")
    if lock and (wait := _lock_in(config, record, view)) > 0:
        return Obstructed("held", lock.site, wait)
    if not eligible:
        return Obstructed("ineligible")
    if (wait := memory_in(config, record, view)) > 0:
        return Obstructed("suspended", "", wait)
    if (wait := next_login_in(config, record, view.t)) > 0:
        return Obstructed("budget", "", wait)
    return _other_first(config, record, view)


def _lock_in(config: FailoverConfig, record: Record, view: View) -> int:
    """For how many milliseconds another site may still lead under its lock."""
    lock = record.lock
    if lock is None or lock.owner == config.owner:
        return 0
    return max(lock.ttl, config.lock_ttl_ms) - view.lock_ms


def memory_in(config: FailoverConfig, record: Record, view: View) -> int:
    """And under one that the store may have forgotten."""
    if record.suspended is None:
        return max(view.absent_ms, view.away_ms)
    return max(view.absent_ms, view.away_ms, max(record.suspended.ttl, config.lock_ttl_ms) - view.quiet_ms)


def _other_first(config: FailoverConfig, record: Record, view: View) -> Obstructed | None:
    """A site that goes before this one: by a hand-over, by an operator's will, or by preference."""
    operator, reserved, t = record.operator, record.reserved, view.t
    its_time = min(record.reserved_until - t, config.lock_ttl_ms)
    if reserved and its_time > 0:
        switched = operator.switch_to == reserved
        if switched and reserved == config.site:
            return None
        if reserved != config.site and (switched or not _goes_before(config, record, reserved)):
            return Obstructed("reserved", reserved, its_time)
    if (hold := operator.hold_until - t) > 0:
        holder = operator.hold_site
        return None if holder == config.site else Obstructed("on hold", holder, hold)
    return _ready_other(config, record, view)


def order_of(config: FailoverConfig, record: Record) -> tuple[str, ...]:
    """All sites, most preferred first, as all sites see it."""
    if not record.order or record.order == config.priority:
        return config.priority
    return record.order + tuple(site for site in config.priority if site not in record.order)


def _goes_before(config: FailoverConfig, record: Record, other: str) -> bool:
    order = order_of(config, record)
    return other in record.beats and order.index(config.site) < order.index(other)


def _ready_other(config: FailoverConfig, record: Record, view: View) -> Obstructed | None:
    """A site that stands ready and goes before this one; before a damped site goes every other."""
    t = view.t
    pause = damped_for(config, record, config.site, t)
    for site in order_of(config, record):
        if site == config.site:
            if pause == 0:
                return None
            continue
        beat = record.beats.get(site)
        if beat is None or not is_ready(record, site, view.age_ms(site)) or damped_for(config, record, site, t) > 0:
            continue
        if _must_wait_longer(record, beat, view.age_ms(site)):
            continue
        its_time = beat.ttl - view.age_ms(site)
        return Obstructed("damped", site, min(pause, its_time)) if pause else Obstructed("preferred", site, its_time)
    return None


def _must_wait_longer(record: Record, beat: Beat, age_ms: int) -> bool:
    """Whether a site, that began lately, has not watched the last lease for long enough, and will not soon have."""
    began = record.lock.t if record.lock else record.suspended.t if record.suspended else beat.t + 1
    return beat.t >= began and beat.wait_ms - age_ms > beat.ttl // 4


def _note_move(config: FailoverConfig, record: Record) -> None:
    operator = record.operator
    if operator.switch_to == config.site:
        operator = replace(operator, pinned=config.site, switch_to="", switch_until=0, switch_why="")
    elif operator.pinned and operator.pinned != config.site:
        operator = replace(operator, pinned="")
    if operator.hold_until and operator.hold_site != config.site:
        operator = replace(operator, hold_site=config.site)
    record.operator = operator


# --- the leader


def _renew(config: FailoverConfig, record: Record, request: Renew, view: View) -> tuple[Record | None, Reply]:
    lock = record.lock
    mine = lock is not None and lock.owner == config.owner and lock.epoch == request.epoch
    forgotten = record.suspended is not None and (lock is None or lock.epoch < request.epoch)
    record = begin(config, record, view)
    count_logins(config, record, request.logins, view)
    if not mine and not forgotten:
        record.enter("renew-refused", _me(config), f"held by {lock.site}" if lock else "no lock", request.epoch)
        return record, Lost(lock.site if lock else "")
    _write_lock(config, record, request.epoch, lock.since if mine and lock else view.wall, view)
    record.epoch, record.suspended = max(record.epoch, request.epoch), None
    if not mine:
        why = "the store had forgotten it"
        record.enter("restored", _me(config), why, request.epoch)
    if _write_beat(config, record, request, "", view):
        record.enter("ready", _me(config), "", request.epoch)
    return record, whom_to_yield_to(config, record, view)


def whom_to_yield_to(config: FailoverConfig, record: Record, view: View) -> Renewed:
    """Who waits for the asker's lock, by an operator's will or by the order of preference."""
    operator, left, t = record.operator, logins_left(config, record, view.t), view.t
    extends, said = view.absent_ms <= 0, notice(config, record)
    if config.site in operator.drained:
        return Renewed(view.now, extends, "", None, operator.drained[config.site], left, said)
    if left < 2:  # a move costs the next site a login, and must leave it one in reserve
        wait = next_login_in(config, record, t) + config.login_ms
        return Renewed(view.now, extends, "", wait, "", left, said)
    to = operator.switch_to
    soonest: int | None = None
    if to and to != config.site and t < operator.switch_until and is_ready(record, to, view.age_ms(to)):
        soonest = _unsure_for(record, to, view)
        if soonest == 0:
            return Renewed(view.now, extends, to, None, operator.switch_why, left, said)
    if operator.pinned != config.site and operator.hold_until <= t:
        order = order_of(config, record)
        for site in order[: order.index(config.site)]:
            if not is_ready(record, site, view.age_ms(site)):
                continue
            waits = config.failback_ms - view.ready_ms(site), damped_for(config, record, site, t)
            wait = max(*waits, _unsure_for(record, site, view))
            if wait == 0:
                return Renewed(view.now, extends, site, None, "", left, said)
            soonest = wait if soonest is None else min(soonest, wait)
    return Renewed(view.now, extends, "", soonest, "", left, said)


def _unsure_for(record: Record, site: str, view: View) -> int:
    """For how long a site would not take the lead, if it were handed that."""
    return max(0, record.beats[site].unsure_ms - view.age_ms(site))


def _release(config: FailoverConfig, record: Record, request: Release, view: View) -> tuple[Record | None, Reply]:
    lock, beat = record.lock, record.beats.get(config.site)
    mine = lock is not None and lock.owner == config.owner and (request.leaving or lock.epoch == request.epoch)
    twin = record.twins.get(config.site)
    second = twin is not None and twin.owner == config.owner
    if request.leaving and not mine and not second and (beat is None or beat.owner != config.owner):
        return None, Released()
    record = begin(config, record, view)
    count_logins(config, record, request.logins, view)
    if mine and lock:
        record.lock = None
        if view.absent_ms > 0:  # who is missing may watch this lock elsewhere, and take it
            record.suspended = Suspension(config.owner, view.n, max(lock.ttl, config.lock_ttl_ms), record.t)
        if request.to:
            heir = record.beats.get(request.to)  # it hears of this late, if its answers are late
            its_time = config.reserve_ms + (2 * heir.lag_ms if heir else 0)
            record.reserved, record.reserved_until = request.to, view.t + min(its_time, config.lock_ttl_ms)
        late = request.ending == "renew-failed"  # it is told when the store is back, which may be hours later
        why = f"{request.why}; not renewed since {iso(lock.wall)}" if late else request.why
        record.enter(request.ending, _me(config), why, lock.epoch)
        if request.unused or lock.epoch > request.epoch:  # a grant that was never heard of, or too late
            record.owed_until = max(0, record.owed_until - config.login_ms)
        elif request.ending in ("renew-failed", "workload-failed"):
            count_loss(config, record, _me(config), view)
    if not request.leaving:
        _write_beat(config, record, request, "", view)
    elif beat is not None and beat.owner == config.owner:
        del record.beats[config.site]
    if second:
        record.twins.pop(config.site, None)
    return record, Released()


# --- what they share


def _write_lock(config: FailoverConfig, record: Record, epoch: int, since: int, view: View) -> None:
    ttl = config.lock_ttl_ms
    record.lock = Lock(config.owner, config.site, epoch, view.n, ttl, record.t, since, view.wall)


def _write_beat(config: FailoverConfig, record: Record, request: Request, waits: str, view: View) -> bool:
    """Returns whether a leader's workload serves, which it did not before."""
    before, t, ttl = record.beats.get(config.site), record.t, config.lock_ttl_ms
    told = max(request.logins.count, told_logins(config, record, request.logins))
    eligible = isinstance(request, Renew) or request.eligible
    unsure = max(0, memory_in(config, record, view))
    wait = max(unsure, _lock_in(config, record, view))
    record.beats[config.site] = Beat(  # by place, which is quicker, for the simulator
        config.owner,
        view.n,
        t,
        ttl,
        config.renew_interval_ms,
        eligible,
        wait,
        view.lag_ms,
        waits,
        told,
        view.serving,
        view.trips,
        unsure,
    )
    return bool(view.serving) and not (before and before.owner == config.owner and before.serving)


def is_ready(record: Record, site: str, age_ms: int) -> bool:
    """Whether it would lead. Each heartbeat is the proof that its site hears in time: see scribe.py."""
    beat = record.beats.get(site)
    return beat is not None and beat.eligible and age_ms < beat.ttl and site not in record.operator.drained


def notice(config: FailoverConfig, record: Record) -> str:
    """What does not fit together between this site and the others; empty if all is well."""
    found = []
    if (twin := record.twins.get(config.site)) and twin.owner != config.owner:
        found.append(_twin(config, twin.owner))
    if record.order and record.order != config.priority:
        order = ",".join(record.order)
        found.append(
            f"FAILOVER_PRIORITY differs between the sites: it is {','.join(config.priority)} here, and {order}, of the"
            " site that started last, counts; make them the same"
        )
    for site, beat in record.beats.items():
        if beat.ttl != config.lock_ttl_ms:
            found.append(
                f"LOCK_TTL_MS differs between the sites: it is {config.lock_ttl_ms} here and {beat.ttl} at {site};"
                " the longer one counts; make them the same"
            )
    return "; ".join(found)


def _twin(config: FailoverConfig, owner: str) -> str:
    return (
        f"another process runs as SITE_ID={config.site}: {owner}; only one of the two can lead or stand by:"
        " stop it, or give it a name of its own"
    )
