"""Parameters of requests, read as Loki reads them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl

from logstore.logql.errors import LimitError, QueryError
from logstore.logql.units import parse_duration
from logstore.store.limits import Limits

_MOST_FIELDS = 200
_LONGEST = 64  # characters of a number or a time
_HOUR = 3600 * 10**9
Params = Mapping[str, str]


def pairs(query: str, form: bytes) -> list[tuple[str, str]]:
    """The parameters of a request, as pairs, those of its form last, since they win. Raises QueryError."""
    try:
        read = [parse_qsl(part, True, errors="strict", max_num_fields=_MOST_FIELDS) for part in (query, form.decode())]
    except UnicodeError:
        raise QueryError("the request is not UTF-8") from None
    except ValueError:
        raise QueryError(f"more than {_MOST_FIELDS} parameters") from None
    return [*read[0], *read[1]]


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 from seconds (with a fraction, or up to ten digits), nanoseconds, or RFC 3339."""
    try:
        if len(text) > _LONGEST:
            raise ValueError
        if re.fullmatch(r"-?\d+", text):
            return _in_range(int(text) * (10**9 if len(text) <= 10 else 1))
        if re.fullmatch(r"-?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d+)", text):
            return _in_range(round(float(text) * 1000) * 10**6)
        match = re.fullmatch(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:\d\d)", text)
        if match is None:
            raise ValueError
        whole = datetime.fromisoformat(match[1] + ("+00:00" if match[3] in "Zz" else match[3]))
        return int(whole.timestamp()) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    except (ValueError, OverflowError):
        shown = text[:_LONGEST]
        raise QueryError(f"could not parse 'time' parameter: cannot parse \"{shown}\" to a valid timestamp") from None


def _in_range(nanoseconds: int) -> int:
    if not -(1 << 63) <= nanoseconds < 1 << 63:
        raise ValueError
    return nanoseconds


def time_range(params: Params) -> tuple[int, int]:
    """start and end; without them the last hour, or `since`."""
    now = time.time_ns()
    end = parse_time(params["end"]) if params.get("end") else now
    since = _duration(params["since"], "since") if params.get("since") else _HOUR
    start = parse_time(params["start"]) if params.get("start") else min(end, now) - since
    return start, end


def _duration(text: str, name: str) -> int:
    try:
        if len(text) > _LONGEST:
            raise ValueError
        if re.fullmatch(r"\d++(?:\.\d*+)?|\.\d++", text):
            return _in_range(int(float(text) * 1e9))
        return _in_range(parse_duration(text, calendar=True))
    except (ValueError, OverflowError):
        shown = text[:_LONGEST]
        raise QueryError(f"could not parse '{name}' parameter: cannot parse \"{shown}\" to a valid duration") from None


def integer(params: Params, name: str, default: int) -> int:
    """A whole number."""
    text = params.get(name)
    if not text:
        return default
    problem = "invalid syntax"
    if re.fullmatch(r"[+-]?[0-9]+", text) is not None:
        if len(text) <= _LONGEST and -(1 << 63) <= int(text) < 1 << 63:
            return int(text)
        problem = "value out of range"
    raise QueryError(f'strconv.Atoi: parsing "{text[:_LONGEST]}": {problem}')


def entry_limit(params: Params, limits: Limits, *, checked: bool = True) -> int:
    """How many lines a query may return; `checked` by the server's limit."""
    limit = integer(params, "limit", 100)
    if limit <= 0:
        raise QueryError("limit must be a positive value")
    if checked and limit > limits.query_entries:
        raise LimitError(
            "max entries limit per query exceeded, "
            f"limit > max_entries_limit_per_query ({limit} > {limits.query_entries})"
        )
    return limit


def newest_first(params: Params) -> bool:
    """The direction of a log query."""
    direction = params.get("direction") or "backward"
    if direction.lower() not in ("forward", "backward"):
        raise QueryError(f"invalid direction '{direction}'")
    return direction.lower() == "backward"


def step_of(params: Params, start: int, end: int) -> int:
    """How far the points of a range query lie apart."""
    text = params.get("step")
    step = _duration(text, "step") if text else max(1, (end - start) // (250 * 10**9)) * 10**9
    if step <= 0:
        raise QueryError("zero or negative query resolution step widths are not accepted. Try a positive integer")
    return step


def interval_of(params: Params) -> int:
    """The least time between the lines of a log query's answer; 0: none."""
    text = params.get("interval")
    interval = _duration(text, "interval") if text else 0
    if interval < 0:
        raise QueryError("interval must be >= 0")
    return interval


def steps(params: Params, start: int, end: int, limits: Limits) -> list[int]:
    """The points in time of a range query: from start to end by step."""
    step = step_of(params, start, end)
    if (end - start) // step > limits.query_steps:
        raise QueryError(
            f"exceeded maximum resolution of {limits.query_steps:,} points per time series. "
            "Try increasing the value of the step parameter"
        )
    return list(range(start, end + 1, step))


def check_range(start: int, end: int, limits: Limits) -> None:
    """Raises QueryError for a time that is none or longer than allowed."""
    if end < start:
        raise QueryError("end timestamp must not be before or equal to start time")
    if end - start > limits.query_length_seconds * 1e9:
        hours = (end - start) / _HOUR
        raise LimitError(
            f"the query time range exceeds the limit (query length: {hours:.0f}h0m0s, "
            f"limit: {limits.query_length_seconds / 3600:.0f}h0m0s)"
        )
