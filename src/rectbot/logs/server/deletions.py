"""Requests to delete lines: kept in the database, done by the upkeep."""

from __future__ import annotations

import time
from typing import Any

from rectbot.logs.logql import ast
from rectbot.logs.logql.errors import QueryError
from rectbot.logs.logql.parse import parse
from rectbot.logs.pipeline.build import build
from rectbot.logs.server import params as read
from rectbot.logs.server.params import Params
from rectbot.logs.store.database import Database
from rectbot.logs.store.index import ChunkRef
from rectbot.logs.store.store import Store

_Changes = list[tuple[str, list[ChunkRef], list[ChunkRef]]]


def ask(store: Store, params: Params) -> None:
    """Puts a request down. Raises QueryError."""
    query = params.get("query", "")
    if not query:
        raise QueryError("query not set")
    tree = parse(query)
    if not isinstance(tree, ast.Logs):
        raise QueryError("unsupported query type: only a selector and filters can tell what to delete")
    build(tree.stages)
    if not params.get("start"):
        raise QueryError("start time not set")
    now = time.time_ns()
    first = read.parse_time(params["start"])
    last = read.parse_time(params["end"]) if params.get("end") else now
    if first > last:
        raise QueryError("start time can't be greater than end time")
    if last > now:
        raise QueryError("deletes in the future are not allowed")

    def work(database: Database) -> _Changes:
        database.writer.execute(
            "INSERT INTO deletion (query, first, last, created, status) VALUES (?, ?, ?, ?, 'received')",
            (query, first, last, now),
        )
        return []

    store.submit(work).result()


def cancel(store: Store, number: str) -> None:
    """Takes a request back that has not been done. Raises QueryError."""
    if not number.isdigit():
        raise QueryError("could not find delete request with given id")

    def work(database: Database) -> _Changes:
        found = database.writer.execute(
            "DELETE FROM deletion WHERE id = ? AND status = 'received'", (int(number) % (1 << 62),)
        ).rowcount
        if not found:
            raise QueryError("could not find delete request with given id")
        return []

    store.submit(work).result()


def all_(store: Store) -> list[dict[str, Any]]:
    """All requests, done and not."""
    with store.database.reading() as connection:
        rows = connection.execute("SELECT id, query, first, last, created, status FROM deletion ORDER BY id").fetchall()
    return [
        {
            "request_id": str(number),
            "start_time": first / 1e9,
            "end_time": last / 1e9,
            "query": query,
            "status": status,
            "created_at": created / 1e9,
        }
        for number, query, first, last, created, status in rows
    ]
