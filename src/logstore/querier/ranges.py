"""Range aggregations: `rate(... [5m])` and the like, for many points in time at once.

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
from itertools import accumulate, compress, islice
from typing import Any

from logstore.logql import ast
from logstore.logql.errors import LimitError, QueryError
from logstore.logql.units import duration_seconds, parse_float, parse_size
from logstore.pipeline.build import build
from logstore.pipeline.entry import ERROR, PRESERVE_ERROR, Entry, Stage
from logstore.pipeline.hints import hints_for
from logstore.querier.columns import Columns, SlowError, mask, texts
from logstore.querier.context import Context
from logstore.querier.logs import entry_at, parted, prefilter
from logstore.querier.overtime import FUNCTIONS
from logstore.querier.scan import Scanned, plan, scan, split_stages
from logstore.store.reader import Reader

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, list[float | None]]
"""Per label set one value for each point in time; None where there is none."""

ADDITIVE = {"count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time"}
_PARSERS = (ast.Json, ast.Logfmt, ast.Pattern, ast.Regexp, ast.Unpack)
_READ_LINES = (*_PARSERS, ast.LineFilter)
_CONVERSIONS: dict[str, Callable[[str], float]] = {
    "": parse_float,
    "bytes": parse_size,
    "duration": duration_seconds,
    "duration_seconds": duration_seconds,
}


@dataclass
class _Sums:
    """Per series and interval: how many lines, and the sum of their values."""

    counts: dict[Labels, dict[int, int]] = field(default_factory=dict)
    values: dict[Labels, dict[int, float]] = field(default_factory=dict)


@dataclass
class _Samples:
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))


class RangeQuery:
    """One range aggregation at the points `steps` (nanoseconds, ascending)."""

    def __init__(
        self, store: Reader, tree: ast.RangeAggregation, steps: Sequence[int], context: Context,
        pushed: ast.Grouping | None,
    ) -> None:  # fmt: skip
        self.store, self.tree, self.steps, self.context = store, tree, steps, context
        self.grouping = tree.grouping if tree.grouping is not None else pushed
        self.unwrap = tree.unwrap
        self.hints = hints_for(tree, self.grouping)
        self.filters, self.rest = split_stages(self._stages())
        self.stages = build(self.rest, context.check)
        self.after = build(self.unwrap.filters, context.check) if self.unwrap else []
        ends = [step - tree.offset for step in steps]
        self.edges = sorted({edge for end in ends for edge in (end - tree.range, end)})
        self.windows = [(bisect_right(self.edges, end - tree.range), bisect_right(self.edges, end)) for end in ends]
        self.additive, self.bytes = tree.op in ADDITIVE, tree.op.startswith("bytes")
        self.sums, self.samples, self.kept = _Sums(), dict[Labels, _Samples](), 0
        self.fast = self._fast_plan()
        self._groups: dict[Labels, Labels] = {}

    def _stages(self) -> Sequence[ast.Stage]:
        """Without the parsers where no label is asked for: as in Loki, lines that they could not read are no error."""
        stages = _without_line_formats(self.tree)
        if not self.hints.nothing:
            return stages
        build(stages)  # what is no pattern is still an error
        return [stage for stage in stages if not isinstance(stage, _PARSERS)]

    def run(self) -> Series:
        """Raises QueryError: limits, cancellation, or lines on which the pipeline failed."""
        start, end = self.edges[0] + 1, self.edges[-1] + 1  # a window is open at its beginning
        work = sorted(plan(self.store, self.tree.logs.matchers, start, end), key=lambda item: item[1][0].first)
        for found in scan(self.store, work, self.filters, start, end, self.context):
            self._add(found)
            self._check()
        if self.tree.op == "absent_over_time":
            return self._absent()
        return self._sum_windows() if self.additive else self._sample_windows()

    def _check(self) -> None:
        series = len(self.sums.counts) if self.additive else len(self.samples)
        limits = self.context.limits
        if self.kept > limits.query_samples:
            raise LimitError(f"the query needs more than {limits.query_samples} samples at once")
        if series > limits.query_series * 20:
            raise LimitError(f"maximum of series ({limits.query_series}) reached for a single query")

    # The fast way

    def _fast_plan(self) -> bool:
        """Whether labels are wanted by name only, and found by `json` or in the stream: then columns will do."""
        stages = self.rest
        if self.tree.op == "absent_over_time" or self.grouping is None or self.grouping.without:
            return False
        self.json = bool(stages) and stages[0] == ast.Json()
        conditions = stages[1:] if self.json else stages
        if not all(isinstance(stage, ast.LabelFilter) for stage in conditions):
            return False
        if self.unwrap is not None and (not self.json or self.unwrap.conversion or self.unwrap.filters):
            return False
        try:
            self.masks = [mask(stage.condition) for stage in conditions if isinstance(stage, ast.LabelFilter)]
        except SlowError:
            return False
        needed = {name for _, names in self.masks for name in names} | set(self.grouping.names)
        self.needed = frozenset(needed | ({self.unwrap.name} if self.unwrap else set()))
        return True

    def _add(self, found: Scanned) -> None:
        """The fast way if it can be, at least for the lines that it is good for."""
        if self.fast and self._add_columns(found):
            return
        if self.fast and self.json:
            fast, rest = parted(found, self.needed)
            if fast.indexes and self._add_columns(fast):
                found = rest
        self._add_lines(found)

    def _add_columns(self, found: Scanned) -> bool:
        """Adds all lines; or none, and is False."""
        try:
            columns = self._columns(found)
        except SlowError:
            return False
        self._add_sorted(found.block.times, *columns)
        return True

    def _columns(self, found: Scanned) -> tuple[Sequence[int], Sequence[Any] | None, Any, Sequence[float] | None]:
        """The indexes of the lines that count; their groups, or the one of all; their values. Raises SlowError."""
        assert self.grouping is not None
        names, stream, indexes = self.grouping.names, found.stream, found.indexes
        fixed = _key([stream.labels.get(name) for name in names])
        keys: Sequence[Any] | None = None
        values: Sequence[float] | None = None
        constant = all(name in stream.labels for name in names)
        if self.json or self.masks or self.bytes or not constant:
            columns = Columns(stream, found.block, indexes, json=self.json)
            columns.load(self.needed)
            if names and not constant:
                grouped = [texts(columns[name]) for name in names]
                keys = grouped[0] if len(grouped) == 1 else list(zip(*grouped, strict=True))
            if self.unwrap is not None:
                values = _numbers(columns[self.unwrap.name])
            elif self.bytes:
                values = [float(len(line)) for line in columns.lines]
            kept = self._masked(columns)
            if kept is not None:
                indexes = list(compress(indexes, kept))
                keys = None if keys is None else list(compress(keys, kept))
                values = None if values is None else list(compress(values, kept))
        return indexes, keys, fixed, values

    def _masked(self, columns: Columns) -> list[bool] | None:
        kept: list[bool] | None = None
        for apply, _ in self.masks:
            mask_ = apply(columns)
            kept = mask_ if kept is None else [a and b for a, b in zip(kept, mask_, strict=True)]
        if self.unwrap is not None:
            there = [value is not None and value != "" for value in columns[self.unwrap.name]]
            kept = there if kept is None else [a and b for a, b in zip(kept, there, strict=True)]
        return kept

    def _add_sorted(
        self, times: array[int], indexes: Sequence[int], keys: Sequence[Any] | None, fixed: Any,
        values: Sequence[float] | None,
    ) -> None:  # fmt: skip
        """Adds lines that are in order of time, interval by interval."""
        if not indexes:
            return
        first, last = (bisect_right(self.edges, times[index] - 1) for index in (indexes[0], indexes[-1]))
        if self.additive and first == last:
            self._add_interval(first, keys, fixed, values, slice(0, len(indexes)))
            return
        at = times[indexes.start : indexes.stop] if isinstance(indexes, range) else [times[index] for index in indexes]
        position = 0
        while position < len(at):
            interval = bisect_right(self.edges, at[position] - 1)
            cut = bisect_right(at, self.edges[interval], position) if interval < len(self.edges) else len(at)
            part = slice(position, cut)
            if not self.additive:
                rows = keys[part] if keys is not None else [fixed] * (cut - position)
                assert values is not None
                for key, time, value in zip(rows, at[part], values[part], strict=True):
                    self._sample(self._labels(key), time, value)
            else:
                self._add_interval(interval, keys, fixed, values, part)
            position = cut

    def _add_interval(
        self, interval: int, keys: Sequence[Any] | None, fixed: Any, values: Sequence[float] | None, part: slice
    ) -> None:
        counted = Counter(keys[part]) if keys is not None else {fixed: part.stop - part.start}
        totals: dict[Any, float] | None = None
        if values is not None and keys is None:
            totals = {fixed: sum(values[part])}
        elif values is not None and keys is not None:
            totals = {}
            for key, value in zip(keys[part], values[part], strict=True):
                totals[key] = totals.get(key, 0.0) + value
        for key, count in counted.items():
            self._sum(self._labels(key), interval, count, None if totals is None else totals[key])

    def _labels(self, key: Any) -> Labels:
        """The labels of a group that `_key` made."""
        assert self.grouping is not None
        names = self.grouping.names
        values = (key,) if len(names) == 1 else key
        return tuple(sorted({name: value for name, value in zip(names, values, strict=True) if value}.items()))

    # The slow way

    def _add_lines(self, found: Scanned) -> None:
        for entry, value in self._passing(found):
            labels = self._grouped(entry)
            if self.additive:
                interval = bisect_right(self.edges, entry.time - 1)
                self._sum(labels, interval, 1, float(len(entry.line)) if self.bytes else value)
            else:
                self._sample(labels, entry.time, 1.0 if value is None else value)

    def _passing(self, found: Scanned) -> Iterator[tuple[Entry, float | None]]:
        stages: list[Stage] = self.stages
        for number, index in enumerate(prefilter(self.rest, found)):
            if not number % 32:
                self.context.check()
            entry = entry_at(found, index)
            entry.hints = self.hints
            if not all(stage(entry) for stage in stages):
                continue
            value: float | None = None
            if self.unwrap is not None:
                text = entry.labels.get(self.unwrap.name, "")
                if not text:
                    continue
                try:
                    value = float(_CONVERSIONS[self.unwrap.conversion](text))
                except ValueError as error:
                    value = 0.0
                    entry.fail("SampleExtractionErr", str(error))
                if not all(stage(entry) for stage in self.after):
                    continue
            yield entry, value

    def _grouped(self, entry: Entry) -> Labels:
        labels, grouping = entry.labels, self.grouping
        if entry.error:
            if PRESERVE_ERROR not in labels:
                raise _pipeline_error(entry.everything())
            return tuple(sorted(entry.everything().items()))  # not grouped, lest the error be lost
        if grouping is not None and not grouping.without:
            return tuple(sorted((name, labels[name]) for name in set(grouping.names) if labels.get(name)))
        out = set(grouping.names) if grouping is not None else set()
        if self.unwrap is not None:
            out.add(self.unwrap.name)
        return tuple(sorted((name, value) for name, value in labels.items() if value and name not in out))

    # What was found

    def _sum(self, labels: Labels, interval: int, count: int, value: float | None) -> None:
        counts = self.sums.counts.setdefault(labels, {})
        counts[interval] = counts.get(interval, 0) + count
        if value is not None:
            values = self.sums.values.setdefault(labels, {})
            values[interval] = values.get(interval, 0.0) + value

    def _sample(self, labels: Labels, time: int, value: float) -> None:
        samples = self.samples.setdefault(labels, _Samples())
        samples.times.append(time)
        samples.values.append(value)
        self.kept += 1

    def _sum_windows(self) -> Series:
        seconds = self.tree.range / 1e9 if self.tree.op in ("rate", "bytes_rate") else 1.0
        valued = self.bytes or self.unwrap is not None
        result: Series = {}
        for labels, counts in self.sums.counts.items():
            running = list(accumulate((counts.get(edge, 0) for edge in range(len(self.edges))), initial=0))
            sums = self.sums.values.get(labels, {})
            dense = [sums.get(edge, 0.0) for edge in range(len(self.edges))] if valued else []
            whole = valued and all(value == int(value) for value in dense if math.isfinite(value)) and all(
                map(math.isfinite, dense)
            )  # fmt: skip
            totals = list(accumulate(map(int, dense), initial=0)) if whole else []
            row: list[float | None] = []
            for low, high in self.windows:
                count = running[high] - running[low]
                if not count:
                    row.append(None)
                elif not valued:
                    row.append(count / seconds)
                else:
                    row.append((totals[high] - totals[low] if whole else sum(dense[low:high])) / seconds)
            if any(value is not None for value in row):
                result[labels] = row
        return result

    def _sample_windows(self) -> Series:
        function = FUNCTIONS[self.tree.op]
        parameter = self.tree.parameter or 0.0
        result: Series = {}
        for labels, samples in self.samples.items():
            times, values = _in_order(samples)
            row: list[float | None] = []
            for step in self.steps:
                self.context.check()
                end = step - self.tree.offset
                low, high = bisect_right(times, end - self.tree.range), bisect_right(times, end)
                window = (
                    function(times[low:high], values[low:high], end, self.tree.range, parameter) if high > low else None
                )
                row.append(window)
            if any(value is not None for value in row):
                result[labels] = row
        return result

    def _absent(self) -> Series:
        """1 where there is nothing, with the labels that the selector spells out."""
        equal: dict[str, list[str]] = {}
        for matcher in self.tree.logs.matchers:
            equal.setdefault(matcher.name, []).append(matcher.value if matcher.op == "=" else "")
        labels = tuple(sorted((name, values[0]) for name, values in equal.items() if len(values) == 1 and values[0]))
        times = sorted(time for samples in self.samples.values() for time in samples.times)
        row: list[float | None] = []
        for step in self.steps:
            end = step - self.tree.offset
            there = bisect_right(times, end) > bisect_right(times, end - self.tree.range)
            row.append(None if there else 1.0)
        return {labels: row} if any(row) else {}


def _in_order(samples: _Samples) -> tuple[array[int], array[float]]:
    """Times and values by time; mostly they are already."""
    times, values = samples.times, samples.values
    if all(map(operator.le, times, islice(times, 1, None))):
        return times, values
    order = sorted(range(len(times)), key=times.__getitem__)
    return array("q", map(times.__getitem__, order)), array("d", map(values.__getitem__, order))


def _without_line_formats(tree: ast.RangeAggregation) -> Sequence[ast.Stage]:
    """Without those whose lines nobody looks at: Loki does not run them, and so meets none of their errors."""
    stages = tree.logs.stages
    if tree.op.startswith("bytes"):
        return stages
    last = max((place for place, stage in enumerate(stages) if isinstance(stage, _READ_LINES)), default=-1)
    return [stage for place, stage in enumerate(stages) if place < last or not isinstance(stage, ast.LineFormat)]


def _key(values: Sequence[str | None]) -> Any:
    """What stands for a line's group: with one label its value, else all of them."""
    return values[0] if len(values) == 1 else tuple(values)


def _numbers(column: Sequence[Any]) -> list[float]:
    numbers = []
    for value in column:
        if type(value) in (int, float):
            numbers.append(float(value))
        elif value is None or value == "":
            numbers.append(0.0)  # left out by the mask
        else:
            try:
                numbers.append(parse_float(value) if isinstance(value, str) else float("x"))
            except ValueError:
                raise SlowError from None
    return numbers


def _pipeline_error(labels: dict[str, str]) -> QueryError:
    kind = labels[ERROR]
    shown = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return QueryError(
        f"pipeline error: '{kind}' for series: '{{{shown}}}'.\n"
        f'Use a label filter to intentionally skip this error. (e.g | __error__!="{kind}").\n'
        'To skip all potential errors you can match empty errors.(e.g __error__="")\n'
        'The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__="" )\n'
    )
