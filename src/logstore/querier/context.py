"""One query's limits, deadline and costs; checked between chunks, so that a query ends soon after it should."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from logstore.logql.errors import CancelledError, LimitError, QueryTimeoutError
from logstore.store.limits import Limits


@dataclass
class Context:
    limits: Limits
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    bytes: int = 0
    lines: int = 0
    chunks: int = 0
    entries: int = 0
    seconds: float | None = None  # unless it may take as long as any query
    used: int = 0  # chunks that a tail is done with, and lines of the next one
    skip: int = 0

    def check(self) -> None:
        """Raises CancelledError or QueryTimeoutError when the query should end."""
        if self.cancelled.is_set():
            raise CancelledError("the query was cancelled")
        allowed = self.limits.query_seconds if self.seconds is None else self.seconds
        if time.monotonic() - self.started > allowed:
            raise QueryTimeoutError(
                f"request timed out, decrease the duration of the request or add more label matchers: "
                f"it took longer than {allowed:g} s"
            )

    def hold(self, size: int) -> None:
        """So many bytes are kept for the answer. Raises LimitError beyond what an answer may have."""
        if size > self.limits.answer_bytes:
            raise LimitError(self.too_large())

    def too_large(self) -> str:
        """What is said of an answer that is too large."""
        return (
            f"the answer would be larger than {self.limits.answer_bytes} bytes; "
            "ask for fewer lines, a shorter time or fewer series"
        )

    def scanned(self, size: int, lines: int) -> None:
        """Counts a chunk. Raises LimitError beyond the bytes that a query may scan."""
        self.bytes += size
        self.lines += lines
        self.chunks += 1
        if self.bytes > self.limits.query_bytes:
            raise LimitError(
                f"the query would read too many bytes (limit: {self.limits.query_bytes} bytes); "
                "consider adding more specific stream selectors or reduce the time range of the query"
            )
        self.check()

    def stats(self) -> dict[str, object]:
        """The part of Loki's statistics that Grafana shows."""
        seconds = time.monotonic() - self.started
        summary = {
            "bytesProcessedPerSecond": int(self.bytes / seconds) if seconds else 0,
            "linesProcessedPerSecond": int(self.lines / seconds) if seconds else 0,
            "totalBytesProcessed": self.bytes,
            "totalLinesProcessed": self.lines,
            "execTime": seconds,
            "queueTime": 0,
            "subqueries": 0,
            "totalEntriesReturned": self.entries,
            "splits": 0,
            "shards": 0,
        }
        store = {"totalChunksRef": self.chunks, "totalChunksDownloaded": self.chunks, "chunksDownloadTime": 0}
        return {"summary": summary, "querier": {"store": store}, "ingester": {"store": {}}}
