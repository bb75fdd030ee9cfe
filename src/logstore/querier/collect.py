"""What a range aggregation keeps of the lines that count, and the series that it becomes.

Where the function only adds up, lines are counted per interval between the windows' edges and never kept; the others
keep the samples of each series.
"""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, islice
from typing import Any, Protocol

from logstore.logql import ast
from logstore.logql.errors import LimitError
from logstore.querier.context import Context
from logstore.querier.overtime import FUNCTIONS
from logstore.querier.windows import Windows
from logstore.store.limits import Limits

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, list[float | None]]
"""Per label set one value for each point in time; None where there is none."""

ADDITIVE = {"count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time"}


@dataclass
class Rows:
    """Lines of one block that count, in order of time."""

    block_times: array[int]
    indexes: Sequence[int]  # in the block; there is one at least
    groups: Sequence[Any] | None  # each line's group; None: all are in `group`
    group: Any
    labels: Callable[[Any], Labels]  # of a group
    values: Sequence[float] | None  # each line's value; None: they are counted only

    @cached_property
    def times(self) -> Sequence[int]:
        times, indexes = self.block_times, self.indexes
        return times[indexes.start : indexes.stop] if isinstance(indexes, range) else [times[at] for at in indexes]

    def intervals(self, windows: Windows) -> Iterator[tuple[int, slice]]:
        """The intervals in which there are some of these lines, and which they are."""
        first, last = (windows.interval(self.block_times[self.indexes[at]]) for at in (0, -1))
        if first == last:
            yield first, slice(0, len(self.indexes))
            return
        position, times, edges = 0, self.times, windows.edges
        while position < len(times):
            interval = windows.interval(times[position])
            end = bisect_right(times, edges[interval], position) if interval < len(edges) else len(times)
            yield interval, slice(position, end)
            position = end


class Collector(Protocol):
    """Keeps what counts, line by line or many lines of a block at once."""

    def add(self, labels: Labels, time: int, value: float | None) -> None:
        """One line; `value` is None where lines are only counted."""

    def add_rows(self, rows: Rows) -> None:
        """Many lines."""

    def check(self, limits: Limits) -> None:
        """Raises LimitError when too much is kept."""

    def series(self) -> Series:
        """What became of it."""


def collector_for(tree: ast.RangeAggregation, windows: Windows, context: Context) -> Collector:
    """What a function needs to know of its lines."""
    if tree.op == "absent_over_time":
        return Absence(tree, windows)
    return Sums(tree, windows) if tree.op in ADDITIVE else Samples(tree, windows, context)


def _check_series(count: int, limits: Limits) -> None:
    if count > limits.query_series * 20:
        raise LimitError(f"maximum of series ({limits.query_series}) reached for a single query")


def _check_samples(count: int, limits: Limits) -> None:
    if count > limits.query_samples:
        raise LimitError(f"the query needs more than {limits.query_samples} samples at once")


class Sums:
    """Per series and interval: how many lines, and the sum of their values."""

    def __init__(self, tree: ast.RangeAggregation, windows: Windows) -> None:
        self._windows = windows
        self._valued = tree.op.startswith("bytes") or tree.unwrap is not None
        self._seconds = windows.length / 1e9 if tree.op in ("rate", "bytes_rate") else 1.0
        self._counts: dict[Labels, dict[int, int]] = {}
        self._values: dict[Labels, dict[int, float]] = {}

    def add(self, labels: Labels, time: int, value: float | None) -> None:
        self._add(labels, self._windows.interval(time), 1, value)

    def _add(self, labels: Labels, interval: int, count: int, value: float | None) -> None:
        counts = self._counts.setdefault(labels, {})
        counts[interval] = counts.get(interval, 0) + count
        if value is not None:
            values = self._values.setdefault(labels, {})
            values[interval] = values.get(interval, 0.0) + value

    def add_rows(self, rows: Rows) -> None:
        for interval, part in rows.intervals(self._windows):
            if rows.groups is None:
                value = None if rows.values is None else sum(rows.values[part])
                self._add(rows.labels(rows.group), interval, part.stop - part.start, value)
                continue
            groups = rows.groups[part]
            totals: dict[Any, float] = {}
            if rows.values is not None:
                for group, value in zip(groups, rows.values[part], strict=True):
                    totals[group] = totals.get(group, 0.0) + value
            for group, count in Counter(groups).items():
                self._add(rows.labels(group), interval, count, totals.get(group))

    def check(self, limits: Limits) -> None:
        _check_series(len(self._counts), limits)

    def series(self) -> Series:
        rows = ((labels, self._row(counts, self._values.get(labels, {}))) for labels, counts in self._counts.items())
        return {labels: row for labels, row in rows if any(value is not None for value in row)}

    def _row(self, counts: dict[int, int], values: dict[int, float]) -> list[float | None]:
        edges = range(len(self._windows.edges))
        running = list(accumulate((counts.get(edge, 0) for edge in edges), initial=0))
        if self._valued:
            total = _total_of([values.get(edge, 0.0) for edge in edges])
        else:

            def total(low: int, high: int) -> float:
                return running[high] - running[low]

        return [
            total(low, high) / self._seconds if running[high] > running[low] else None
            for low, high in self._windows.intervals
        ]


def _total_of(values: list[float]) -> Callable[[int, int], float]:
    """The sum from one place to another: of whole numbers by one subtraction, of others, which round, term by term."""
    if not all(math.isfinite(value) and value == int(value) for value in values):
        return lambda low, high: sum(values[low:high])
    running = list(accumulate(map(int, values), initial=0))
    return lambda low, high: running[high] - running[low]


@dataclass
class _Kept:
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def in_order(self) -> tuple[array[int], array[float]]:
        """Times and values by time; mostly they are already."""
        times, values = self.times, self.values
        if all(map(operator.le, times, islice(times, 1, None))):
            return times, values
        order = sorted(range(len(times)), key=times.__getitem__)
        return array("q", map(times.__getitem__, order)), array("d", map(values.__getitem__, order))


class Samples:
    """Per series each line's time and value."""

    def __init__(self, tree: ast.RangeAggregation, windows: Windows, context: Context) -> None:
        self._windows, self._context = windows, context
        self._function, self._parameter = FUNCTIONS[tree.op], tree.parameter or 0.0
        self._kept: dict[Labels, _Kept] = {}
        self._count = 0

    def add(self, labels: Labels, time: int, value: float | None) -> None:
        kept = self._kept.setdefault(labels, _Kept())
        kept.times.append(time)
        kept.values.append(1.0 if value is None else value)
        self._count += 1

    def add_rows(self, rows: Rows) -> None:
        groups = rows.groups if rows.groups is not None else [rows.group] * len(rows.indexes)
        assert rows.values is not None
        for group, time, value in zip(groups, rows.times, rows.values, strict=True):
            self.add(rows.labels(group), time, value)

    def check(self, limits: Limits) -> None:
        _check_samples(self._count, limits)
        _check_series(len(self._kept), limits)

    def series(self) -> Series:
        rows = ((labels, self._row(*kept.in_order())) for labels, kept in self._kept.items())
        return {labels: row for labels, row in rows if any(value is not None for value in row)}

    def _row(self, times: array[int], values: array[float]) -> list[float | None]:
        row: list[float | None] = []
        length = self._windows.length
        for end, (low, high) in zip(self._windows.ends, self._windows.of(times), strict=True):
            self._context.check()
            inside = times[low:high], values[low:high]
            row.append(self._function(*inside, end, length, self._parameter) if high > low else None)
        return row


class Absence:
    """1 where there is no line, with the labels that the selector spells out."""

    def __init__(self, tree: ast.RangeAggregation, windows: Windows) -> None:
        self._windows = windows
        equal: dict[str, list[str]] = {}
        for matcher in tree.logs.matchers:
            equal.setdefault(matcher.name, []).append(matcher.value if matcher.op == "=" else "")
        self._labels = tuple(
            sorted((name, values[0]) for name, values in equal.items() if len(values) == 1 and values[0])
        )
        self._times = array("q")

    def add(self, labels: Labels, time: int, value: float | None) -> None:
        self._times.append(time)

    def add_rows(self, rows: Rows) -> None:
        self._times.extend(rows.times)

    def check(self, limits: Limits) -> None:
        _check_samples(len(self._times), limits)

    def series(self) -> Series:
        windows = self._windows.of(sorted(self._times))
        row = [None if high > low else 1.0 for low, high in windows]
        return {self._labels: row} if any(row) else {}
