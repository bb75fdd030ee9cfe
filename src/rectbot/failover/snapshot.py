"""What an operator sees of the record, at one moment."""

from __future__ import annotations

from rectbot.failover.budget import damped_for, logins_left, losses_of, next_login_in
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Hold, Leader, Renewals, Site, Snapshot, iso
from rectbot.failover.record import Beat, Record
from rectbot.failover.rules import is_ready


def snapshot(config: FailoverConfig, record: Record | None, age_ms: int, *, suspended: bool) -> Snapshot:
    """`age_ms` is how long ago the record was written; `suspended`: the store may have forgotten something since.

    A lease or a heartbeat that is older than its TTL by now counts for nothing, whatever the record says.
    """
    if record is None:
        return Snapshot(None, {}, suspended_ms=config.lock_ttl_ms if suspended else 0)
    t = record.t + age_ms
    lock, quiet, operator = record.lock, record.suspended, record.operator
    left = lock.t + lock.ttl - t if lock else 0
    wait = config.lock_ttl_ms if suspended else max(0, quiet.t + quiet.ttl - t) if quiet else 0
    hold = operator.hold_until - t
    return Snapshot(
        leader=Leader(lock.site, lock.owner, lock.epoch, iso(lock.since), left) if lock and left > 0 else None,
        sites={
            site: _site(config, record, site, t)
            for site in config.priority
            if site in record.beats and t - record.beats[site].t <= config.hb_ttl_sec * 1000
        },
        suspended_ms=wait,
        epoch=record.epoch,
        hold=Hold(hold / 1000, operator.hold_site, operator.hold_why) if hold > 0 else None,
        switch_to=operator.switch_to if t < operator.switch_until else "",
        pinned=operator.pinned,
        drained=dict(operator.drained),
        logins_left=logins_left(config, record, t),
        next_login_s=next_login_in(config, record, t) / 1000,
        counts=dict(record.counts),
    )


def _site(config: FailoverConfig, record: Record, site: str, t: int) -> Site:
    beat = record.beats[site]
    age = t - beat.t
    return Site(
        heartbeat_age_s=max(0, age) / 1000,
        eligible=is_ready(record, site, age),
        priority=config.priority.index(site),
        owner=beat.owner,
        waits=beat.waits,
        damped_s=damped_for(config, record, site, t) / 1000,
        losses=losses_of(config, record, site, t),
        serving=beat.serving,
        renewals=_renewals(beat),
        ttl_ms=beat.ttl,
    )


def _renewals(beat: Beat) -> Renewals | None:
    trips = beat.trips
    return Renewals(tuple(trips["counts"]), trips["total_ms"] / 1000, trips["failed"]) if trips else None
