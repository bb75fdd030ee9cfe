"""What an operator's command does to a store in memory: the transition of lua/command.lua. See table.py."""

from __future__ import annotations

from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Accepted, Command, Declined, Outcome
from rectbot.failover.table import LeaseTable

_FOR_EVER_MS = 100 * 365 * 86_400_000


def obey(table: LeaseTable, config: FailoverConfig, command: Command, now: int) -> Outcome:
    """Carries the command out, or declines it."""
    table.announced = False
    operator, site = table.operator, command.site
    because = f"{command.by}: {command.why}" if command.why else command.by
    changed = True
    match command.act:
        case "switch":
            return _switch(table, config, command, because, now)
        case "hold":
            lock = table.read_lock(now)
            operator.hold_until = now + (command.for_ms or _FOR_EVER_MS)
            operator.hold_site = site = lock.site if lock else table.holder
            operator.hold_why = because
        case "unhold":
            changed, site = operator.hold_until > now, ""
            operator.hold_until, operator.hold_site, operator.hold_why = 0, "", ""
        case "drain":
            changed = site not in operator.drained
            operator.drained.setdefault(site, f"drained by {because}")
        case "undrain":
            changed = operator.drained.pop(site, None) is not None
    return _accepted(table, command, site, now, changed=changed)


def _switch(table: LeaseTable, config: FailoverConfig, command: Command, because: str, now: int) -> Outcome:
    operator, site = table.operator, command.site
    lock = table.read_lock(now)
    if lock and lock.site == site:
        stays = operator.pinned == site
        operator.pinned = site
        operator.forget_switch()
        return _accepted(table, command, site, now, changed=not stays)
    if why := _why_not_ready(table, config, site, now):
        return Declined(f"{site} cannot lead now: {why}")
    operator.switch_to, operator.switch_until = site, now + 2 * config.lock_ttl_ms
    operator.switch_why = f"switch by {because}"
    if lock is None:
        table.reserved = (site, now + config.reserve_ms)
    return _accepted(table, command, site, now, changed=True)


def _why_not_ready(table: LeaseTable, config: FailoverConfig, site: str, now: int) -> str:
    beat = table.beats.get(site)
    if site in table.operator.drained:
        return "it is drained: undrain it first"
    if beat is None or now > beat.until or now >= beat.fresh_until:
        return "it is not running, or is cut off from Redis"
    if not beat.eligible:
        return "it sits out after a failure, or is stopping"
    if (wait := table.next_login_in(config, now)) > 0:
        return f"the login budget is spent; the next one in {wait // 1000} s"
    return ""


def _accepted(table: LeaseTable, command: Command, site: str, now: int, *, changed: bool) -> Accepted:
    if changed:
        table.enter(command.act, (site, command.by), table.epoch or 0, command.why, now)
        table.announced = True
    return Accepted(changed)
