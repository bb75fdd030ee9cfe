"""What there is: labels, values, series, volumes, fields. What Grafana's Explore asks before and beside a query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from logstore.logql import ast
from logstore.logql.errors import ParseError, QueryError
from logstore.logql.parse import parse, parse_selector
from logstore.logql.units import parse_duration, parse_float, parse_size
from logstore.pipeline.build import build
from logstore.pipeline.labels import stream_test
from logstore.querier.context import Context
from logstore.querier.logs import select
from logstore.server import params as read
from logstore.server.params import Params
from logstore.server.query import seconds
from logstore.store.index import ChunkRef, Stream
from logstore.store.reader import Reader

_MOST_SAMPLED = 1000  # lines that detected_fields looks at


def _matchers(query: str) -> Sequence[ast.Matcher]:
    return parse_selector(query) if query and query.strip() not in ("", "{}") else ()


def _asked(params: Params) -> str:
    """The query of a request for labels: none at all, or one that selects something."""
    query = params.get("query", "")
    if query.strip() == "{}":
        parse(query)
    start, end = read.time_range(params)
    if end < start:
        raise QueryError("this data is no longer available, it is past now - max_query_lookback (0s)")
    return query


def _streams(store: Reader, params: Params, query: str) -> Iterator[tuple[Stream, list[ChunkRef]]]:
    start, end = read.time_range(params)
    return store.index.select(stream_test(_matchers(query)), max(start, store.oldest()), end + 1)


def labels(store: Reader, params: Params, context: Context) -> list[str]:
    """The names of labels."""
    del context
    return sorted({name for stream, _ in _streams(store, params, _asked(params)) for name in stream.labels})


def label_values(store: Reader, params: Params, name: str) -> list[str]:
    """The values of one label."""
    found = {stream.labels.get(name) for stream, _ in _streams(store, params, _asked(params))}
    return sorted(value for value in found if value is not None)


def series(store: Reader, params: Params, matches: Sequence[str]) -> list[dict[str, str]]:
    """The label sets that match any of the selectors."""
    found = {}
    for query in matches or [""]:
        for stream, _ in _streams(store, params, query):
            found[stream.key] = stream.labels
    return list(found.values())


def stats(store: Reader, params: Params) -> dict[str, int]:
    """How much a selector has: Explore shows it before a query is run."""
    query = params.get("query", "")
    tree = parse(query)
    if not isinstance(tree, ast.Logs) or tree.stages:
        raise QueryError("only label matchers are supported")
    total = {"streams": 0, "chunks": 0, "bytes": 0, "entries": 0}
    start, end = read.time_range(params)
    if end < start:
        raise QueryError("end timestamp must not be before or equal to start time")
    for _, refs in store.index.select(stream_test(tree.matchers), max(start, store.oldest()), end + 1):
        total["streams"] += 1
        total["chunks"] += len(refs)
        total["bytes"] += sum(ref.size for ref in refs)
        total["entries"] += sum(ref.lines for ref in refs)
    return total


def _volumes(store: Reader, params: Params, start: int, end: int) -> list[tuple[dict[str, str], int]]:
    query = params.get("query", "")
    if not query:
        raise ParseError("syntax error: unexpected $end")
    matchers = _matchers(query)
    targets = [name for name in params.get("targetLabels", "").split(",") if name]
    by_label = params.get("aggregateBy") == "labels"
    if not targets and not by_label:
        targets = [matcher.name for matcher in matchers]
    totals: dict[tuple[tuple[str, str], ...], int] = {}
    for stream, refs in store.index.select(stream_test(matchers), max(start, store.oldest()), end):
        size = sum(int(ref.size * _share(ref, start, end)) for ref in refs)
        if by_label:
            names = [name for name in (targets or stream.labels) if name in stream.labels]
            keys: list[tuple[tuple[str, str], ...]] = [((name, ""),) for name in names]
        else:
            named = targets or list(stream.labels)  # without a name to go by, each stream is on its own
            whole = all(name in stream.labels for name in named)
            keys = [tuple(sorted((name, stream.labels[name]) for name in set(named)))] if whole else []
        for key in keys:
            totals[key] = totals.get(key, 0) + size
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    return [(dict(key), size) for key, size in ranked[: read.integer(params, "limit", 100)] if size]


def _share(ref: ChunkRef, start: int, end: int) -> float:
    """The part of a chunk that lies in the time, as if its lines came evenly."""
    span = ref.last - ref.first + 1
    return max(0, min(ref.last + 1, end) - max(ref.first, start)) / span


def volume(store: Reader, params: Params, context: Context) -> dict[str, Any]:
    """Bytes by labels, as an instant vector."""
    del context
    start, end = read.time_range(params)
    result = [{"metric": key, "value": [seconds(end), str(size)]} for key, size in _volumes(store, params, start, end)]
    return {"resultType": "vector", "result": result}


def volume_range(store: Reader, params: Params, context: Context) -> dict[str, Any]:
    """The same over time."""
    start, end = read.time_range(params)
    points = read.steps(params, start, end, context.limits)
    step = points[1] - points[0] if len(points) > 1 else end - start
    found: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for point in points:
        context.check()
        last = min(point + step, end) - 10**6  # a volume is told at its end
        for key, size in _volumes(store, params, point, min(point + step, end)):
            found.setdefault(tuple(key.items()), []).append([seconds(last), str(size)])
    return {"resultType": "matrix", "result": [{"metric": dict(key), "values": rows} for key, rows in found.items()]}


def detected_labels(store: Reader, params: Params) -> list[dict[str, Any]]:
    """Labels and how many values they have."""
    values: dict[str, set[str]] = {}
    for stream, _ in _streams(store, params, _asked(params)):
        for name, value in stream.labels.items():
            values.setdefault(name, set()).add(value)
    return [{"label": name, "cardinality": len(found)} for name, found in sorted(values.items())]


_TYPES: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("boolean", lambda text: {"true": True, "false": False}[text]),
    ("int", int),
    ("float", parse_float),
    ("duration", parse_duration),
    ("bytes", parse_size),
)


def _type(value: str) -> str:
    for name, convert in _TYPES:
        try:
            convert(value)
        except (ValueError, KeyError):
            continue
        return name
    return "string"


def detected_fields(
    store: Reader, params: Params, context: Context, only: str | None = None
) -> list[dict[str, Any]] | list[str]:
    """Fields that parsers find in a sample of the lines; with `only` that field's values."""
    tree = parse(params.get("query", ""))
    if not isinstance(tree, ast.Logs):
        raise QueryError("only log selector is supported")
    start, end = read.time_range(params)
    limit = min(read.integer(params, "line_limit", 100), _MOST_SAMPLED)
    entries = select(store, tree, start, end, max(1, limit), context)
    parsers = {"json": build([ast.Json()])[0], "logfmt": build([ast.Logfmt()])[0]}
    values: dict[str, set[str]] = {}
    used: dict[str, set[str]] = {}
    for entry in entries:
        taken = set(entry.labels)
        kind = "json" if entry.line.lstrip()[:1] == b"{" else "logfmt" if re.search(rb"\w=", entry.line) else ""
        if kind:
            parsers[kind](entry)
        for name, value in entry.labels.items():
            if not name.startswith("__") and (name not in taken or name not in entry.taken or name == "detected_level"):
                values.setdefault(name, set()).add(value)
                used.setdefault(name, set()).update({kind} - {""} if name not in taken else ())
    if only is not None:
        return sorted(values.get(only, ()))
    return [
        {
            "label": name,
            "type": _type(next(iter(found))),
            "cardinality": len(found),
            "parsers": sorted(used[name]) or None,
        }
        for name, found in sorted(values.items())[: max(0, read.integer(params, "limit", 1000))]
    ]
