"""One pass of the recorder: what the lease store's journal and Alertmanager have told since, into the database.

It runs as a program of its own, started by the hub when there is something new, and holds no memory in between. Each
pass reads the journal back to what the one before has seen; what it reads twice is entered once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection

from rectbot.errors import RectbotError
from rectbot.failover.events import Event
from rectbot.failover.store import LeaseStore
from rectbot.failover.wiring import open_observer
from rectbot.history import places, record
from rectbot.history.database import opened, writing
from rectbot.history.period import month_before, month_span
from rectbot.history.report import report
from rectbot.history.spool import Spool
from rectbot.history.story import Told, is_whole, told

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rectbot.settings import Settings

log = logging.getLogger(__name__)
FIRST, MOST = 64, 20_000  # events that are asked for: at first, and of a journal that is kept to 10,000 or so
_OVERLAP = 16  # so many before the last one that was seen, for those that came into the journal late
_MARK, _POSTED, _PRUNED = "recorded", "posted", "pruned_ms"


def bring_in(settings: Settings) -> None:
    """One pass. What can be recorded is, also when something else cannot; raises RectbotError for that at the end."""
    failed: list[RectbotError] = []
    with opened(settings) as engine:
        with engine.connect() as connection:
            mark, pruned = record.note(connection, _MARK), int(record.note(connection, _PRUNED) or 0)
        journal = Journal([], whole=True)
        try:
            journal = asyncio.run(_journal(settings, mark))
        except RectbotError as error:
            failed.append(error)
        with Spool(places.alerts(settings)).taken() as notices:
            if journal.events or notices:
                with writing(engine) as connection:
                    _enter(connection, settings, journal, pruned)
                    record.add_alerts(connection, notices)
        if settings.report_monthly:
            try:
                post_month(engine, settings, time.time_ns() // 1_000_000)
            except RectbotError as error:
                failed.append(error)
    if failed:
        raise failed[0]


def _enter(connection: Connection, settings: Settings, journal: Journal, pruned: int) -> None:
    record.set_sites(connection, settings.failover_priority)
    if not (events := journal.events):
        return
    began = time.monotonic()
    if not journal.whole and not record.knows(connection, events):
        record.lack_until(connection, events[0].time)
        log.warning("the store's journal has forgotten events that were not recorded: the time of them is unknown")
    added = record.add_events(connection, [event for event in events if event.time >= pruned])
    record.remember(connection, _MARK, record.digest(events[-1]))
    if added:
        log.info("%d new events are in the history, in %.1f s", added, time.monotonic() - began)


class Journal(NamedTuple):
    """The newest events of a store, oldest first; `whole`: it has forgotten none that came before them."""

    events: Sequence[Told]
    whole: bool


async def _journal(settings: Settings, mark: str) -> Journal:
    store = open_observer(settings)
    try:
        return await read_since(store, mark)
    finally:
        await store.close()


async def read_since(store: LeaseStore, mark: str) -> Journal:
    """The journal's events back to the one with this digest, and some before it.

    All there are, if it is not among them: the store was replaced, emptied or trimmed, or this is the first time.
    """
    count = FIRST
    while True:
        found: list[Event] = await store.events(count)
        events = [told(event) for event in found]
        seen = next((place for place in reversed(range(len(events))) if record.digest(events[place]) == mark), -1)
        if seen >= _OVERLAP or len(found) < count or count >= MOST:
            return Journal(events, whole=is_whole(events))
        count = min(4 * count, MOST)


def post_month(engine: Engine, settings: Settings, now: int) -> None:
    """Posts the report of the month that is over, once. The month in which the history began is the first."""
    month = month_before(now)
    with engine.connect() as connection:
        if record.note(connection, _POSTED) >= month:
            return
        found = report(connection, month_span(month))
    if found.availability is not None:
        from rectbot.history.commands import post  # noqa: PLC0415 - once a month

        post(settings, found)
    with writing(engine) as connection:
        record.remember(connection, _POSTED, month)
