"""Asking Loki: https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import urllib3
from urllib3.exceptions import HTTPError

from rectbot.errors import ConfigError, RectbotError
from rectbot.logs.client.push import explain_failure, said
from rectbot.logs.client.target import Target
from rectbot.pool import Pool

RANGE_PATH = "/loki/api/v1/query_range"
TIMEOUT_SECONDS = 70.0  # Loki itself gives up after a minute
PAGE = 1_000


class Entry(NamedTuple):
    """A line that was found; `time` in nanoseconds since 1970."""

    time: int
    labels: dict[str, str]
    text: str


def entries(streams: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """The lines of Loki's streams, in the order given."""
    return [
        Entry(int(time), stream["stream"], text) for stream in streams for time, text, *_ in stream.get("values", ())
    ]


class Sample(NamedTuple):
    """A value that was computed; `time` in seconds since 1970, the value as Prometheus writes numbers."""

    time: float
    labels: dict[str, str]
    value: str


class Range(NamedTuple):
    """From `start`, up to and without `end`: nanoseconds since 1970."""

    start: int
    end: int


class QueryClient:
    """Asks one server."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool = Pool(ssl_context=target.tls, retries=False, timeout=TIMEOUT_SECONDS)

    def ask(self, query: str, within: Range, limit: int, *, forward: bool, step: float | None = None) -> dict[str, Any]:
        """The `data` of one answer; `step` in seconds.

        Raises ConfigError for a wrong query, RectbotError when there is no answer.
        """
        fields: dict[str, str] = {
            "query": query,
            "start": str(within.start),
            "end": str(within.end),
            "limit": str(limit),
            "direction": "forward" if forward else "backward",
        }
        if step is not None:
            fields["step"] = f"{step:.3f}"  # seconds
        url = self._target.url + RANGE_PATH
        try:
            answer = self._pool.request("GET", url, fields=fields, headers=self._target.headers, redirect=False)
        except HTTPError as error:
            raise RectbotError(f"{self._target.url}: {explain_failure(error)}; --url names another server") from None
        if answer.status == 200:
            return _data(answer, url)
        raise _explain(answer, self._target.url)

    def answer(
        self, query: str, within: Range, limit: int | None, *, step: float | None = None
    ) -> Iterator[Entry | Sample]:
        """Of a log query the newest `limit` lines (None: all), oldest first; of a metric query all values, by time."""
        forward = limit is None
        size = PAGE if limit is None else min(PAGE, limit)
        first = self.ask(query, within, size, forward=forward, step=step)
        if first["resultType"] != "streams":
            return iter(_samples(first))
        pages = self._pages(query, within, limit, first)
        return pages if forward else reversed(list(pages))

    def _pages(self, query: str, within: Range, limit: int | None, data: dict[str, Any]) -> Iterator[Entry]:
        """Page by page. The moment at which a page ends is asked for again: other lines of it may have had no room."""
        forward = limit is None
        start, end = within
        size = PAGE if limit is None else min(PAGE, limit)
        seen: list[Entry] = []
        while True:
            page = sorted(entries(data["result"]), key=lambda entry: entry.time, reverse=not forward)
            fresh = [entry for entry in page if entry not in seen]
            yield from fresh[:limit]
            limit = None if limit is None else limit - len(fresh)
            if len(page) < size or (limit is not None and limit <= 0):
                return
            edge = page[-1].time
            seen = [entry for entry in page if entry.time == edge]
            size = len(seen) + (PAGE if limit is None else min(PAGE, limit))
            start, end = (edge, end) if forward else (start, edge + 1)
            data = self.ask(query, Range(start, end), size, forward=forward)


def _samples(data: dict[str, Any]) -> list[Sample]:
    found = [
        Sample(float(time), series["metric"], value) for series in data["result"] for time, value in series["values"]
    ]
    return sorted(found, key=lambda sample: sample.time)


def _data(answer: urllib3.BaseHTTPResponse, url: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = answer.json()["data"]
        data["resultType"], data["result"]
    except (ValueError, KeyError, TypeError):
        raise RectbotError(f"{url}: the answer is not Loki's; is it Loki that listens there?") from None
    return data


def _explain(answer: urllib3.BaseHTTPResponse, url: str) -> RectbotError:
    match answer.status:
        case 400:
            return ConfigError(f"{url} does not take the query: {said(answer)}")
        case 401:
            return RectbotError(f"{url}: 401: wrong user or password; correct LOKI_USER and LOKI_PASSWORD")
        case 404:
            return RectbotError(
                f"{url}: 404: no questions are answered there (the push proxy takes pushes only); "
                "ask on the host where Loki runs, or name another server with --url"
            )
        case _:
            return RectbotError(f"{url}: {answer.status}: {said(answer)}")
