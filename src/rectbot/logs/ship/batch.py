"""The body of a push: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]

_COMPRESSION = 6  # measured on JSON lines: 9 is three times slower and saves 2 %
_SAME_TIME_NS = 1_000_000


class Line(NamedTuple):
    """One line of the stream with these labels; `time` in nanoseconds since 1970."""

    labels: Labels
    time: int
    text: str


class Clock:
    """Gives lines times that differ.

    Loki takes an entry with the time and the text of another one of its stream for a repetition, and keeps one. So a
    batch may be sent again without harm, but two equal lines of one moment must be told apart.
    """

    def __init__(self) -> None:
        self._last = 0

    def stamp(self, time: int) -> int:
        """`time`, or the next nanosecond that is free. A clock that was set back is followed."""
        if self._last - _SAME_TIME_NS <= time <= self._last:
            time = self._last + 1
        self._last = time
        return time


def encode(lines: Iterable[Line]) -> bytes:
    """The lines as compressed JSON, in their order within each stream."""
    streams: dict[Labels, list[tuple[str, str]]] = {}
    for line in lines:
        streams.setdefault(line.labels, []).append((str(line.time), line.text))
    body = {"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(errors="replace"), _COMPRESSION, mtime=0)  # a lone surrogate is no UTF-8
