"""`query` and `query_range`: from parameters to the body of the answer. Runs in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from logstore.logql import ast
from logstore.logql.errors import LimitError, QueryError
from logstore.logql.parse import parse
from logstore.logql.units import format_number
from logstore.querier.collect import Series
from logstore.querier.context import Context
from logstore.querier.logs import by_stream, select, spaced
from logstore.querier.metrics import Evaluator
from logstore.server import params as read
from logstore.server.params import Params
from logstore.store.reader import MovedError, Reader

_NO_LOGS = "log queries are not supported as an instant query type, please change your query to a range query type"
Answer = dict[str, Any]
T = TypeVar("T")


def again(run: Callable[[], T], context: Context) -> T:
    """Runs again when a chunk was moved by compaction meanwhile; the news of it may be on its way."""
    for attempt in range(30):
        try:
            return run()
        except MovedError:
            context.check()
            time.sleep(min(0.002 * 1.5**attempt, 0.2))
    raise QueryError("the store changed too quickly to be read; try again")


def seconds(nanoseconds: int) -> float | int:
    """A time as Prometheus' API gives it: seconds, with milliseconds if there are any."""
    milliseconds = nanoseconds // 10**6
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def _limited(series: Series, context: Context) -> Series:
    if len(series) > context.limits.query_series:
        raise LimitError(f"maximum of series ({context.limits.query_series}) reached for a single query")
    return series


def instant(store: Reader, params: Params, context: Context) -> Answer:
    """Answers `/loki/api/v1/query`. Raises QueryError."""
    tree = parse(params.get("query", ""))
    if isinstance(tree, ast.Logs):
        raise QueryError(_NO_LOGS)
    at = read.parse_time(params["time"]) if params.get("time") else read.time_range({})[1]
    result = Evaluator(store, [at], context).evaluate(tree)
    if isinstance(result, float | int):
        return {"resultType": "scalar", "result": [seconds(at), format_number(result)]}
    vector = [
        {"metric": dict(labels), "value": [seconds(at), format_number(row[0])]}
        for labels, row in _limited(result, context).items()
        if row[0] is not None
    ]
    return {"resultType": "vector", "result": vector}


def ranged(store: Reader, params: Params, context: Context) -> Answer:
    """Answers `/loki/api/v1/query_range`. Raises QueryError."""
    tree = parse(params.get("query", ""))
    start, end = read.time_range(params)
    read.check_range(start, end, context.limits)
    interval = read.interval_of(params)
    read.step_of(params, start, end)  # all parameters must make sense, even those that are not used
    newest = read.newest_first(params)
    limit = read.entry_limit(params, context.limits, checked=isinstance(tree, ast.Logs))
    if isinstance(tree, ast.Logs):
        if interval:
            entries = spaced(store, tree, (start, end), context, limit=limit, interval=interval, newest=newest)
        else:
            entries = select(store, tree, start, end, limit, context, newest=newest)
        return {"resultType": "streams", "result": by_stream(entries)}
    points = read.steps(params, start, end, context.limits)
    result = Evaluator(store, points, context).evaluate(tree)
    series: Series = result if isinstance(result, dict) else {(): [float(result)] * len(points)}
    return {"resultType": "matrix", "result": _matrix(_limited(series, context), points, context)}


def _matrix(series: Series, points: Sequence[int], context: Context) -> list[msgspec.Raw]:
    """Each series as JSON already: a value in Python's lists takes five times as much."""
    times, found, size = [seconds(point) for point in points], list[msgspec.Raw](), 0
    for labels, row in sorted(series.items()):
        context.check()
        values = [[time, format_number(value)] for time, value in zip(times, row, strict=True) if value is not None]
        found.append(msgspec.Raw(msgspec.json.encode({"metric": dict(labels), "values": values})))
        size += len(bytes(found[-1]))
        context.hold(size)
    return found


def body(store: Reader, run: Callable[[Reader, Params, Context], Answer], params: Params, context: Context) -> bytes:
    """The whole answer as JSON. Raises QueryError."""
    data = again(lambda: run(store, params, context), context)
    data["stats"] = context.stats()
    return msgspec.json.encode({"status": "success", "data": data})
