"""Requests to delete lines: kept in the database, done by the compactor."""

from __future__ import annotations

import time
from typing import Any

from logstore.logql.errors import QueryError
from logstore.server import params as read
from logstore.store.database import Database
from logstore.store.index import Change
from logstore.store.store import Store

_MOST_OPEN = 100  # requests that wait
_MOST_SHOWN = 1000


def ask(store: Store, query_string: str, form: bytes = b"") -> None:
    """Puts a request down. Raises QueryError."""
    from logstore.store.doomed import Doomed  # noqa: PLC0415 - LogQL, for who deletes

    params = dict(read.pairs(query_string, form))
    query = params.get("query", "")
    if not query:
        raise QueryError("query not set")
    Doomed(query)
    if not params.get("start"):
        raise QueryError("start time not set")
    now = time.time_ns()
    first = read.parse_time(params["start"])
    last = read.parse_time(params["end"]) if params.get("end") else now
    if first > last:
        raise QueryError("start time can't be greater than end time")
    if last > now:
        raise QueryError("deletes in the future are not allowed")
    with store.database.reading() as connection:
        (open_,) = connection.execute("SELECT count(*) FROM deletion WHERE status = 'received'").fetchone()
    if open_ >= _MOST_OPEN:
        error = QueryError(f"{open_} delete requests wait to be done; try again later")
        error.status = 429
        raise error

    def work(database: Database) -> list[Change]:
        database.writer.execute(
            "INSERT INTO deletion (query, first, last, created, status) VALUES (?, ?, ?, ?, 'received')",
            (query, first, last, now),
        )
        return []

    store.submit(work).result()


def cancel(store: Store, number: str) -> None:
    """Takes a request back that has not been done. Raises QueryError."""
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise QueryError("could not find delete request with given id")

    def work(database: Database) -> list[Change]:
        found = database.writer.execute(
            "DELETE FROM deletion WHERE id = ? AND status = 'received'", (int(number),)
        ).rowcount
        if not found:
            raise QueryError("could not find delete request with given id")
        return []

    store.submit(work).result()


def all_(store: Store) -> list[dict[str, Any]]:
    """All requests, done and not."""
    with store.database.reading() as connection:
        rows = connection.execute(
            "SELECT id, query, first, last, created, status FROM deletion ORDER BY id DESC LIMIT ?",
            (_MOST_SHOWN,),
        ).fetchall()
    return [
        {
            "request_id": str(number),
            "start_time": first / 1e9,
            "end_time": last / 1e9,
            "query": query,
            "status": status,
            "created_at": created / 1e9,
        }
        for number, query, first, last, created, status in reversed(rows)
    ]
