"""Events and alerts into the database: each once, however often it is told; and what follows from them, anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from rectbot.history import schema
from rectbot.history.lines import moment, storable, storable_event
from rectbot.history.story import Span, Told, leaderships, switches

_BATCH = 1_000
LACKS = "lacks"


def digest(event: Told) -> str:
    """What tells an event from all others: all that it says. The journal's numbers begin anew with a new store."""
    return _hash(json.dumps(event))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def add_events(connection: Connection, events: Iterable[Told]) -> int:
    """Enters those that are not there yet, and says how many; then leaderships and switches follow."""
    rows = [
        {
            "digest": digest(event),
            "time_ms": event.time,
            "last_renewal_ms": event.last_renewal,
            **{name: getattr(event, name) for name in ("kind", "site", "owner", "epoch", "why")},
        }
        for event in map(storable_event, events)
    ]
    before = _count(connection)
    for start in range(0, len(rows), _BATCH):
        connection.execute(_new_only(connection, schema.event), rows[start : start + _BATCH])
    added = _count(connection) - before
    if added:
        follow(connection)
    return added


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(schema.event)).scalar_one())


def _new_only(connection: Connection, table: Table) -> Any:
    # A report needs neither of the two, and they cost a tenth of its time.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    return dialect.insert(table).on_conflict_do_nothing(index_elements=["digest"])


def events(connection: Connection, since: int = 0) -> list[Told]:
    """All events from `since` on, in the order of their times."""
    table = schema.event.c
    columns = (table.time_ms, table.kind, table.site, table.owner, table.epoch, table.why, table.last_renewal_ms)
    query = select(*columns).where(table.time_ms >= since).order_by(table.time_ms, table.id)
    return [Told(*row) for row in connection.execute(query)]


def follow(connection: Connection) -> None:
    """Leaderships and switches, from all events."""
    known = events(connection)
    leases = leaderships(known)
    reasons = ["", *(lease.end_kind for lease in leases)]
    _replace(
        connection,
        schema.leadership,
        [
            {
                "site": lease.site,
                "owner": lease.owner,
                "epoch": lease.epoch,
                "began_ms": lease.began,
                "ready_ms": lease.ready,
                "ended_ms": lease.ended,
                "began_why": reason,
                "end_kind": lease.end_kind,
                "end_why": lease.end_why,
            }
            for lease, reason in zip(leases, reasons, strict=False)
        ],
    )
    _replace(
        connection,
        schema.switch,
        [
            {
                "at_ms": switch.at,
                "from_site": switch.from_site,
                "to_site": switch.to_site,
                "planned": switch.planned,
                "gap_ms": switch.gap,
                "who": switch.who,
                "kind": switch.kind,
                "why": switch.why,
            }
            for switch in switches(leases, known)
        ],
    )


def _replace(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(delete(table))
    for start in range(0, len(rows), _BATCH):
        connection.execute(insert(table), rows[start : start + _BATCH])


def add_alerts(connection: Connection, notices: Iterable[dict[str, Any]]) -> int:
    """Enters what Alertmanager tells, a webhook's body each; returns how many of the alerts in them were understood.

    And what operators have acknowledged: see `spool.acknowledgement`.
    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    """
    understood = 0
    for notice in notices:
        for alert in _listed(notice, "alerts"):
            if (row := _alert(alert)) is not None:
                resolved = row["resolved_ms"]
                connection.execute(_new_only(connection, schema.alert), row)
                if resolved is not None:
                    same = schema.alert.c.digest == row["digest"]
                    connection.execute(update(schema.alert).where(same).values(resolved_ms=resolved))
                understood += 1
        for alert in _listed(notice, "acknowledged"):
            _acknowledge(connection, alert)
    return understood


def _listed(notice: dict[str, Any], name: str) -> list[Any]:
    found = notice.get(name)
    return found if isinstance(found, list) else []


def _acknowledge(connection: Connection, alert: Any) -> None:
    """The first time counts. The alert itself may not have been told yet."""
    row = _alert(alert)
    if row is None:
        return
    try:
        at, by, why = moment(alert["at"], "at"), storable(str(alert["by"])), storable(str(alert.get("why") or ""))
    except (KeyError, ValueError):
        return
    connection.execute(_new_only(connection, schema.alert), row)
    table = schema.alert.c
    first = (table.digest == row["digest"]) & table.acknowledged_ms.is_(None)
    told = {"acknowledged_ms": at, "acknowledged_by": by, "acknowledged_why": why}
    connection.execute(update(schema.alert).where(first).values(told))


def restore_alerts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Enters rows of the table that are not there yet."""
    if rows:
        connection.execute(_new_only(connection, schema.alert), rows)


def _alert(found: Any) -> dict[str, Any] | None:
    try:
        labels = {storable(str(name)): storable(str(value)) for name, value in found["labels"].items()}
        fired = moment(found["startsAt"], "startsAt")
        resolved = moment(found["endsAt"], "endsAt") if found["status"] == "resolved" else None
        notes = found.get("annotations") or {}
        text = json.dumps(labels, sort_keys=True, ensure_ascii=False)
        return {
            "digest": _hash(f"{fired} {text}"),
            "name": labels.get("alertname", ""),
            "severity": labels.get("severity", ""),
            "labels": text,
            "summary": storable(str(notes.get("summary") or notes.get("description") or "")),
            "fired_ms": fired,
            "resolved_ms": resolved,
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def set_sites(connection: Connection, priority: Sequence[str]) -> None:
    """Which sites there are, the most preferred first."""
    table = schema.site
    known = {row.name: row.place for row in connection.execute(select(table))}
    wanted = {name: place for place, name in enumerate(priority)}
    if known != wanted:
        _replace(connection, table, [{"name": name, "place": place} for name, place in wanted.items()])


def knows(connection: Connection, events: Sequence[Told]) -> bool:
    """Whether one of these is recorded; or nothing is at all, so that nothing lies between."""
    digests = [digest(event) for event in map(storable_event, events)]
    for start in range(0, len(digests), _BATCH):
        some = schema.event.c.digest.in_(digests[start : start + _BATCH])
        if connection.execute(select(schema.event.c.id).where(some).limit(1)).first() is not None:
            return True
    return _count(connection) == 0


def lack_until(connection: Connection, end: int) -> None:
    """Remembers that between the last event that was recorded and this time others were, which nobody knows."""
    start = connection.execute(select(func.max(schema.event.c.time_ms))).scalar()
    if start is not None and start < end:
        _remember_lacks(connection, [*lacks(connection), Span(start, end)])


def lacks(connection: Connection) -> list[Span]:
    """The times of which it is known that events were not recorded, in order."""
    return sorted(Span(*pair) for pair in json.loads(note(connection, LACKS) or "[]"))


def fill(connection: Connection, events: Iterable[Told]) -> None:
    """Another history knows what happened in a time that this one lacks."""
    times = {event.time for event in events}
    known = lacks(connection)
    left = [span for span in known if not any(span.start < time < span.end for time in times)]
    if left != known:
        _remember_lacks(connection, left)


def _remember_lacks(connection: Connection, spans: Sequence[Span]) -> None:
    remember(connection, LACKS, json.dumps(spans))


def note(connection: Connection, name: str) -> str:
    """What was remembered under this name; empty: nothing."""
    return str(connection.execute(select(schema.note.c.value).where(schema.note.c.name == name)).scalar() or "")


def remember(connection: Connection, name: str, value: str) -> None:
    """For `note`."""
    connection.execute(delete(schema.note).where(schema.note.c.name == name))
    connection.execute(insert(schema.note).values(name=name, value=value))


def prune(connection: Connection, before: int) -> tuple[int, int]:
    """Forgets events and alerts from before a time, and says how many of each.

    What a leadership that was in force then began with is kept, so that no later figure changes.
    """
    lease = schema.leadership.c
    began = connection.execute(select(func.max(lease.began_ms)).where(lease.began_ms <= before)).scalar()
    until = before if began is None else min(before, began)
    events = connection.execute(delete(schema.event).where(schema.event.c.time_ms < until)).rowcount
    over = func.coalesce(schema.alert.c.resolved_ms, schema.alert.c.fired_ms) < before
    alerts = connection.execute(delete(schema.alert).where(over)).rowcount
    if events:
        follow(connection)
    remember(connection, "pruned_ms", str(max(until, int(note(connection, "pruned_ms") or 0))))
    return events, alerts
