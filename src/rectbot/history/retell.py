"""The recorded history for who shows it: read by a program of its own, so that no database holds others up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from rectbot.history import record, schema
from rectbot.history.database import opened, reading_much
from rectbot.history.known import LATEST, Fired, Recorded
from rectbot.history.report import leases

if TYPE_CHECKING:
    from rectbot.settings import Settings

_by = func.coalesce(schema.alert.c.acknowledged_by, "")


def retold(settings: Settings) -> Recorded:
    """All that was recorded, of one moment. Raises ConfigError, HistoryUnavailable."""
    with reading_much(), opened(settings) as engine, engine.connect() as connection, connection.begin():
        return _read(connection)


def _read(connection: Connection) -> Recorded:
    event, alert, switch = schema.event.c, schema.alert.c, schema.switch.c
    found = leases(connection)
    since = found[-LATEST].began if len(found) >= LATEST else 0
    fields = (alert.name, alert.severity, alert.summary, alert.fired_ms, alert.resolved_ms, alert.acknowledged_ms)
    return Recorded(
        leases=found,
        who=["", *connection.execute(select(switch.who).order_by(switch.id)).scalars()] if found else [],
        events=record.events(connection, since),
        first=connection.execute(select(func.min(event.time_ms))).scalar(),
        logins=list(
            connection.execute(select(event.time_ms).where(event.kind == "ready").order_by(event.time_ms)).scalars()
        ),
        lacks=record.lacks(connection),
        alerts=[Fired(*row) for row in connection.execute(select(*fields, _by).order_by(alert.fired_ms, alert.id))],
    )
