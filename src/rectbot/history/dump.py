"""All of a history as lines, from one database to another: for backups. `export` has the events alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, select

from rectbot.errors import RectbotError
from rectbot.history import record, schema
from rectbot.history.story import Told

_NOTES = ("pruned_ms", "posted", record.LACKS)  # the recorder's mark belongs to the store that it has read


def dump(connection: Connection) -> Iterator[str]:
    """A JSON object a line; in one transaction, so of one moment."""
    for event in record.events(connection):
        yield json.dumps({"event": event._asdict()})
    for row in connection.execute(select(schema.alert).order_by(schema.alert.c.fired_ms)):
        yield json.dumps({"alert": {name: value for name, value in row._mapping.items() if name != "id"}})
    for name in _NOTES:
        if value := record.note(connection, name):
            yield json.dumps({"note": [name, value]})


def load(connection: Connection, lines: Iterable[str]) -> int:
    """Enters what is not there yet; returns how many events that were. Raises RectbotError for what is no dump."""
    events: list[Told] = []
    alerts: list[dict[str, Any]] = []
    try:
        for line in lines:
            found = json.loads(line)
            if "event" in found:
                events.append(Told(**found["event"]))
            elif "alert" in found:
                alerts.append(found["alert"])
            else:
                record.remember(connection, *found["note"])
        record.restore_alerts(connection, alerts)
    except (ValueError, TypeError, KeyError) as error:
        raise RectbotError(f"the history in the backup cannot be read: {error}") from None
    return record.add_events(connection, events)
