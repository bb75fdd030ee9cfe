"""What an operator's command makes of the record: like rules.py, pure, and swapped in by whoever gives the command."""

from __future__ import annotations

from dataclasses import replace

from rectbot.failover.budget import next_login_in
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Accepted, Command, Declined, Outcome
from rectbot.failover.record import Operator, Record
from rectbot.failover.rules import begin, is_ready
from rectbot.failover.view import View

_FOR_EVER_MS = 100 * 365 * 86_400_000


def obey(
    config: FailoverConfig, record: Record, command: Command, view: View, age_ms: int = 0
) -> tuple[Record | None, Outcome]:
    """Carries the command out, or declines it. None: it was so already, and nothing is to be written.

    `age_ms` is how old the record is, as far as that is known: it tells which heartbeats are fresh.
    """
    operator, site, changed = record.operator, command.site, True
    because = f"{command.by}: {command.why}" if command.why else command.by
    match command.act:
        case "switch":
            return _switch(config, record, command, view, age_ms)
        case "hold":
            site = record.lock.site if record.lock else ""
            until = view.t + (command.for_ms or _FOR_EVER_MS)
            operator = replace(operator, hold_until=until, hold_site=site, hold_why=because)
        case "unhold":
            changed, site = operator.hold_until > view.t, ""
            operator = replace(operator, hold_until=0, hold_site="", hold_why="")
        case "drain":
            changed = site not in operator.drained
            operator = replace(operator, drained=operator.drained | {site: f"drained by {because}"})
        case "undrain":
            changed = site in operator.drained
            drained = {name: why for name, why in operator.drained.items() if name != site}
            operator = replace(operator, drained=drained)
    if not changed:
        return None, Accepted(False)
    return _accepted(config, record, replace(command, site=site), operator, view), Accepted(True)


def _switch(
    config: FailoverConfig, record: Record, command: Command, view: View, age_ms: int
) -> tuple[Record | None, Outcome]:
    operator, site = record.operator, command.site
    if record.lock and record.lock.site == site and is_ready(record, site, _age(record, site) + age_ms):
        if operator.pinned == site:
            return None, Accepted(False)
        operator = replace(operator, pinned=site, switch_to="", switch_until=0, switch_why="")
        return _accepted(config, record, command, operator, view), Accepted(True)
    if why := _why_not_ready(config, record, site, age_ms):
        return None, Declined(f"{site} cannot lead now: {why}")
    because = f"{command.by}: {command.why}" if command.why else command.by
    operator = replace(
        operator, switch_to=site, switch_until=view.t + 2 * config.lock_ttl_ms, switch_why=f"switch by {because}"
    )
    made = _accepted(config, record, command, operator, view)
    if made.lock is None:
        made.reserved, made.reserved_until = site, view.t + config.reserve_ms
    return made, Accepted(True)


def _age(record: Record, site: str) -> int:
    """Of a heartbeat, when the record was written."""
    return record.t - record.beats[site].t if site in record.beats else 0


def _why_not_ready(config: FailoverConfig, record: Record, site: str, age_ms: int) -> str:
    beat = record.beats.get(site)
    if site in record.operator.drained:
        return "it is drained: undrain it first"
    if beat is None or _age(record, site) + age_ms >= beat.ttl:
        return "it is not running, or is cut off from the store"
    if not beat.eligible:
        return "it sits out after a failure, or is stopping"
    if (wait := next_login_in(config, record, record.t)) > 0:
        return f"the login budget is spent; the next one in {wait // 1000} s"
    return ""


def _accepted(config: FailoverConfig, record: Record, command: Command, operator: Operator, view: View) -> Record:
    record = begin(config, record, view)
    record.operator = operator
    record.enter(command.act, (command.site, command.by), command.why)
    return record
