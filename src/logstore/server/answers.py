"""One function per kind of question: from a request to the bytes of its answer. They run in the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from logstore.logql import ast
from logstore.logql.errors import QueryError
from logstore.logql.parse import parse
from logstore.querier.context import Context
from logstore.server import follow, metadata, query
from logstore.server import params as read
from logstore.server.frames import Job
from logstore.server.params import Params
from logstore.store.reader import Reader


class Asked(NamedTuple):
    """A request: its parameters, all `match[]` of it, and the job that it came in."""

    params: Params
    matches: list[str]
    job: Job


Answer = Callable[[Reader, Asked, Context], bytes]
Plain = Callable[[Reader, Params, Context], Any]
_json = msgspec.json.encode


def asked(job: Job, form: bytes) -> Asked:
    """Reads the parameters. Raises QueryError."""
    pairs = read.pairs(job.query, form)
    return Asked(dict(pairs), [value for name, value in pairs if name in ("match[]", "match")], job)


def _success(run: Plain) -> Answer:
    return lambda reader, at, context: _json({"status": "success", "data": run(reader, at.params, context)})


def _query(run: Plain) -> Answer:
    return lambda reader, at, context: query.body(reader, run, at.params, context)


def _stats(reader: Reader, at: Asked, _: Context) -> bytes:
    return _json(metadata.stats(reader, at.params))


def _detected_labels(reader: Reader, at: Asked, _: Context) -> bytes:
    return _json({"detectedLabels": metadata.detected_labels(reader, at.params)})


def _series(reader: Reader, at: Asked, _: Context) -> bytes:
    return _json({"status": "success", "data": metadata.series(reader, at.params, at.matches)})


def _label_values(reader: Reader, at: Asked, _: Context) -> bytes:
    return _json({"status": "success", "data": metadata.label_values(reader, at.params, at.job.name)})


def _detected_fields(reader: Reader, at: Asked, context: Context) -> bytes:
    only, limit = at.job.name or None, read.integer(at.params, "limit", 1000)
    data = query.again(lambda: metadata.detected_fields(reader, at.params, context, only), context)
    return _json({"fields" if only is None else "values": data, "limit": limit})


def _format(_: Reader, at: Asked, __: Context) -> bytes:
    text = at.params.get("query", "")
    parse(text)
    return _json({"status": "success", "data": text.strip()})


def _patterns(_: Reader, at: Asked, __: Context) -> bytes:
    tree = parse(at.params.get("query", ""))
    if not isinstance(tree, ast.Logs):
        raise QueryError("only log selector is supported")
    if tree.stages:
        raise QueryError("only label matchers are supported")
    return _json({"status": "success", "data": []})  # Loki's answer, too, when its pattern ingester is off


ANSWERS: dict[str, Answer] = {
    "labels": _success(metadata.labels),
    "label": _success(metadata.labels),
    "index/stats": _stats,
    "index/volume": _success(metadata.volume),
    "index/volume_range": _success(metadata.volume_range),
    "detected_labels": _detected_labels,
    "query": _query(query.instant),
    "query_range": _query(query.ranged),
    "series": _series,
    "label/{name}/values": _label_values,
    "detected_fields": _detected_fields,
    "detected_field/{name}/values": _detected_fields,
    "format_query": _format,
    "patterns": _patterns,
}
"""By the path behind /loki/api/v1/."""

TAILS: dict[str, Answer] = {
    "tail/begin": lambda reader, at, context: follow.begin(reader, at.params, context),
    "tail/new": lambda reader, at, context: follow.new(reader, at.params, at.job, context),
}
"""What a tail asks."""
