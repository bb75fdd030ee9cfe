"""Log queries: the newest or oldest lines that pass a pipeline, and their labels."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Iterator, Sequence
from itertools import compress, takewhile
from operator import attrgetter

from logstore.logql import ast
from logstore.pipeline.build import build
from logstore.pipeline.entry import Entry, Stage
from logstore.querier.columns import Columns, Mask, SlowError, masks_of
from logstore.querier.context import Context
from logstore.querier.scan import Group, Scanned, plan, scan, split_stages
from logstore.store.index import Stream
from logstore.store.levels import entry_of
from logstore.store.reader import Reader

_HOUR = 3600 * 10**9
_PAGE = 500  # lines that are looked at at once


def entry_at(found: Scanned, index: int) -> Entry:
    """A line with all labels it has before any parser."""
    block = found.block
    return entry_of(found.stream.labels, block.metadata.get(index), block.times[index], block.line(index))


def parted(found: Scanned, names: frozenset[str]) -> tuple[Scanned, Scanned]:
    """The JSON lines whose labels of these names can be had the fast way, and the other lines."""
    stream, block, indexes = found.stream, found.block, found.indexes
    plain = Columns(stream, block, indexes, json=True).plain(names)
    fast, others = list(compress(indexes, plain)), list(compress(indexes, map(operator.not_, plain)))
    return Scanned(stream, block, fast), Scanned(stream, block, others)


def prefilter(stages: Sequence[ast.Stage], found: Scanned) -> Sequence[int]:
    """Fewer indexes: label filters right after `json`, applied to all lines at once. Never drops what would pass."""
    if not stages or stages[0] != ast.Json() or len(found.indexes) < 4:
        return found.indexes
    filters = list(takewhile(lambda stage: isinstance(stage, ast.LabelFilter), stages[1:]))
    masks = masks_of(filters)
    if not masks:
        return found.indexes
    names = frozenset().union(*(names for _, names in masks))
    tests = [test for test, _ in masks]
    try:
        return _kept(found, tests, names)
    except SlowError:
        fast, rest = parted(found, names)
    try:
        return sorted([*_kept(fast, tests, names), *rest.indexes])
    except SlowError:
        return found.indexes


def _kept(found: Scanned, tests: Sequence[Mask], names: frozenset[str]) -> Sequence[int]:
    if not found.indexes:
        return ()
    columns = Columns(found.stream, found.block, found.indexes, json=True)
    columns.load(names)
    first, *others = (test(columns) for test in tests)
    for other in others:
        first = list(map(operator.and_, first, other))
    return list(compress(found.indexes, first))


def _passing(
    found: Scanned, trees: Sequence[ast.Stage], stages: Sequence[Stage], context: Context, *, newest: bool
) -> Iterator[Entry]:
    indexes = prefilter(trees, found)
    for number, index in enumerate(reversed(indexes) if newest else indexes):
        if not number % 32:
            context.check()
        entry = entry_at(found, index)
        if all(stage(entry) for stage in stages):
            yield entry


def select(  # noqa: PLR0917
    store: Reader, query: ast.Logs, start: int, end: int, limit: int, context: Context, *, newest: bool = True
) -> list[Entry]:
    """At most `limit` entries with start <= time < end, from the newest back or from the oldest on."""
    filters, rest = split_stages(query.stages)
    stages = build(rest, context.check)
    work = plan(store, query.matchers, start, end)
    sign = -1 if newest else 1

    def edge(item: tuple[Stream, Group]) -> int:
        return -max(map(attrgetter("last"), item[1])) if newest else item[1][0].first

    work.sort(key=edge)
    heap: list[tuple[int, int, Entry]] = []  # the worst entry kept is on top
    order = held = 0
    for batch in _batches(work):
        if len(heap) == limit and edge(batch[0]) > -heap[0][0]:
            break
        for found in scan(store, batch, filters, start, end, context):
            for entry in _passing(found, rest, stages, context, newest=newest):
                order += 1
                item = (-sign * entry.time, -order, entry)
                if len(heap) < limit:
                    heapq.heappush(heap, item)
                elif item[0] > heap[0][0]:
                    held -= heapq.heapreplace(heap, item)[2].size()
                else:
                    break  # the following ones of this block are even farther away
                held += entry.size()
                context.hold(held)
    entries = [entry for _, _, entry in sorted(heap, key=lambda item: item[:2], reverse=True)]
    context.entries = len(entries)
    return entries


def spaced(
    store: Reader, query: ast.Logs, between: tuple[int, int], context: Context, *,
    limit: int, interval: int, newest: bool,
) -> list[Entry]:  # fmt: skip
    """The same with at least `interval` nanoseconds from each line to the next. Loki counts anew in each hour."""
    found: list[Entry] = []
    held = 0
    hours = list(_hours(*between))
    for hour in reversed(hours) if newest else hours:
        for entry in _spaced(store, query, hour, context, interval=interval, newest=newest):
            found.append(entry)
            held += entry.size()
            context.hold(held)
            if len(found) == limit:
                break
        if len(found) == limit:
            break
    context.entries = len(found)
    return found


def _hours(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        following = min(end, start - start % _HOUR + _HOUR)
        yield start, following
        start = following


def _spaced(
    store: Reader, query: ast.Logs, between: tuple[int, int], context: Context, *, interval: int, newest: bool
) -> Iterator[Entry]:
    low, high = between
    last: int | None = None
    while low < high:
        page = select(store, query, low, high, _PAGE, context, newest=newest)
        for entry in page:
            if last is None or abs(entry.time - last) >= interval:
                last = entry.time
                yield entry
        if len(page) < _PAGE or last is None:
            return
        edge = page[-1].time
        if newest:
            high = min(edge, last - interval + 1)
        else:
            low = max(edge + 1, last + interval)


def _batches(work: list[tuple[Stream, Group]]) -> Iterator[list[tuple[Stream, Group]]]:
    """Few chunks first: often they are enough. Then more, so that the threads stay busy."""
    position, size = 0, 2
    while position < len(work):
        yield work[position : position + size]
        position += size
        size = min(size * 2, 16)


def by_stream(entries: Sequence[Entry]) -> list[dict[str, object]]:
    """Loki's `streams` result: entries grouped by their labels, in the order given."""
    grouped: dict[tuple[tuple[str, str], ...], tuple[dict[str, str], list[list[str]]]] = {}
    for entry in entries:
        labels = entry.everything()
        _, values = grouped.setdefault(tuple(sorted(labels.items())), (labels, []))
        values.append([str(entry.time), entry.line.decode(errors="replace")])
    return [{"stream": labels, "values": values} for labels, values in grouped.values()]
