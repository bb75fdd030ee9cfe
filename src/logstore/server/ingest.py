"""From a push to what the store takes: limits, the service's name, order, duplicates, packing."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice

from logstore.pipeline.keys import sanitize
from logstore.server.wire import Metadata, Pushed
from logstore.store.chunk import Encoded, encode
from logstore.store.index import Index, stream_key
from logstore.store.limits import Limits
from logstore.store.store import Store

Batch = tuple[str, Encoded]  # a stream's key, and a chunk for it
_WIDEST = 4  # bytes of a character in UTF-8
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Where Loki looks for the name of the service that a stream comes from.
_SERVICE = (
    *("service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container", "container_name"),
    *("k8s_container_name", "component", "workload", "job", "k8s_job_name"),
)


class RejectedError(Exception):
    """Some lines were not taken: `str` is Loki's answer, with status 400, or 429 for too many streams."""

    status = 400


def show(labels: Metadata) -> str:
    """Labels as Loki writes them into messages."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def _named(metadata: dict[int, Metadata]) -> dict[int, Metadata]:
    """Structured metadata with names that labels may have: a query could not ask for others."""
    if all(_NAME.fullmatch(name) for fields in metadata.values() for name in fields):
        return metadata
    return {place: {sanitize(name): value for name, value in fields.items()} for place, fields in metadata.items()}


class Ingest:
    """Checks pushes for one store."""

    def __init__(self, store: Store) -> None:
        self.limits: Limits = store.limits
        self.index: Index = store.index
        self.store = store
        self._keys: dict[tuple[tuple[str, str], ...], str] = {}
        self._known = 0  # bytes of those keys
        self.lines = self.bytes = self.rejected = 0

    def batches(self, pushed: Iterable[Pushed]) -> tuple[list[Batch], RejectedError | None]:
        """What the store should take, and the last complaint about what it should not."""
        batches: list[Batch] = []
        fresh: dict[str, int] = {}
        complaint: RejectedError | None = None
        for labels, times, lines, metadata in pushed:
            if not times:
                continue
            try:
                key = self._key(labels, fresh)
            except RejectedError as error:
                complaint = error
                self.rejected += len(times)
                continue
            if not self._all_good(times, lines):
                times, lines, metadata, problem = self._good_ones(labels, times, lines, metadata)  # noqa: PLW2901
                complaint = problem or complaint
            if times:
                batches += [(key, chunk) for chunk in encode(times, lines, _named(metadata))]
        self.lines += sum(chunk.lines for _, chunk in batches)
        self.bytes += sum(chunk.size - chunk.lines for _, chunk in batches)
        return batches, complaint

    def _key(self, labels: Metadata, fresh: dict[str, int]) -> str:
        """The key of a stream; `fresh` are the sizes of those that this push makes. Raises RejectedError."""
        pairs = tuple(labels.items())
        key = self._keys.get(pairs)
        if key is None:
            self._check_labels(labels)
            full = labels
            if "service_name" not in labels:
                name = next((labels[name] for name in _SERVICE if labels.get(name)), "unknown_service")
                full = {**labels, "service_name": name}
            key = stream_key({name: value for name, value in full.items() if value})
            if key not in self.index and key not in fresh:
                self._check_room(labels, fresh)
                fresh[key] = len(key)
            if len(self._keys) > 10_000 or self._known > self.limits.label_bytes // 4:
                self._keys.clear()
                self._known = 0
            self._keys[pairs] = key
            self._known += len(key)
        return key

    def _check_room(self, labels: Metadata, fresh: dict[str, int]) -> None:
        """Whether one stream more may be made. Raises RejectedError."""
        limits, index = self.limits, self.index
        size = index.label_bytes + sum(fresh.values())
        if len(index) + len(fresh) >= limits.streams or size >= limits.label_bytes:
            error = RejectedError(f"maximum active stream limit exceeded when trying to create stream {show(labels)}")
            error.status = 429
            raise error

    def _check_labels(self, labels: Metadata) -> None:
        limits, shown = self.limits, show(labels)
        if not labels:
            raise RejectedError("error at least one label pair is required per stream")
        if len(labels) > limits.label_names:
            raise RejectedError(f"entry for stream '{shown}' has {len(labels)} label names; limit {limits.label_names}")
        for name, value in labels.items():
            if not _NAME.fullmatch(name):
                raise RejectedError(f"error parsing labels {shown}: invalid label name {name!r}")
            if len(name) > limits.label_name_length:
                raise RejectedError(f"stream '{shown}' has label name too long: '{name}'")
            if len(value) > limits.label_value_length:
                raise RejectedError(f"stream '{shown}' has label value too long: '{value[:200]}'")

    def _bounds(self) -> tuple[int, int]:
        return self.store.oldest(), time.time_ns() + int(self.limits.ahead_seconds * 1e9)

    def _all_good(self, times: list[int], lines: Sequence[str]) -> bool:
        """In strict order of time, so that nothing is there twice, and within the limits: the usual case."""
        oldest, newest = self._bounds()
        ordered = all(map(operator.lt, times, islice(times, 1, None)))
        longest = max(map(len, lines)) * _WIDEST
        return ordered and oldest <= times[0] and times[-1] <= newest and longest <= self.limits.line_bytes

    def _short(self, line: str) -> bool:
        limit = self.limits.line_bytes
        return len(line) * _WIDEST <= limit or len(line.encode(errors="replace")) <= limit

    def _good_ones(
        self, labels: Metadata, times: list[int], lines: Sequence[str], metadata: dict[int, Metadata]
    ) -> tuple[list[int], Sequence[str], dict[int, Metadata], RejectedError | None]:
        oldest, newest = self._bounds()
        bad = -1  # the last one that is not taken
        seen: set[tuple[int, str]] = set()
        kept: list[int] = []
        for index in sorted(range(len(times)), key=times.__getitem__):
            at, line = times[index], lines[index]
            if not (oldest <= at <= newest and self._short(line)):
                bad = index
                self.rejected += 1
            elif (at, line) not in seen:
                seen.add((at, line))
                kept.append(index)
        complaint = self._problem(labels, times[bad], lines[bad]) if bad >= 0 else None
        fields = {place: metadata[index] for place, index in enumerate(kept) if index in metadata}
        return [times[index] for index in kept], [lines[index] for index in kept], fields, complaint

    def _problem(self, labels: Metadata, at: int, line: str) -> RejectedError:
        oldest, newest = self._bounds()
        if not oldest <= at <= newest:
            shown = datetime.fromtimestamp(max(-(2**31), min(at // 10**9, 2**32)), UTC).isoformat()
            word = "new" if at > newest else "old"
            return RejectedError(f"entry for stream '{show(labels)}' has timestamp too {word}: {shown}")
        return RejectedError(
            f"Max entry size '{self.limits.line_bytes}' bytes exceeded for stream '{show(labels)}' "
            f"while adding an entry with length '{len(line.encode(errors='replace'))}' bytes"
        )
