"""How was our month: the figures of a period, from the database."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from rectbot.history import record, schema
from rectbot.history.figures import Report, figures, without
from rectbot.history.story import Leadership, Span


def report(connection: Connection, span: Span) -> Report:
    """The figures of this period."""
    first = connection.execute(select(func.min(schema.event.c.time_ms))).scalar()
    switch, event, alert = schema.switch.c, schema.event.c, schema.alert.c
    within = (switch.at_ms >= span.start, switch.at_ms < span.end)
    ready = (event.kind == "ready", event.time_ms >= span.start, event.time_ms < span.end)
    fired = (alert.fired_ms >= span.start, alert.fired_ms < span.end)
    count = func.count()
    return figures(
        span,
        [] if first is None else without(Span(first, max(first, span.end)), record.lacks(connection)),
        leases(connection, span.end),
        planned=[row.planned for row in connection.execute(select(switch.planned).where(*within))],
        logins=connection.execute(select(count).select_from(schema.event).where(*ready)).scalar_one(),
        alerts={
            row.name: row.fired
            for row in connection.execute(
                select(alert.name, count.label("fired")).where(*fired).group_by(alert.name).order_by(alert.name)
            )
        },
    )


def leases(connection: Connection, until: int | None = None) -> list[Leadership]:
    """All leaderships that began before `until`."""
    table = schema.leadership.c
    columns = (table.site, table.owner, table.epoch, table.began_ms, table.ready_ms, table.ended_ms)
    query = select(*columns, table.end_kind, table.end_why).order_by(table.id)
    if until is not None:
        query = query.where(table.began_ms < until)
    return [Leadership(*row) for row in connection.execute(query)]
