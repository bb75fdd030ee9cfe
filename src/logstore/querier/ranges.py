"""Range aggregations: `rate(... [5m])` and the like, for many points in time at once.

The planner reads the query and says who evaluates its lines, the quickest first: by column where that can be, and line
by line, which can do all. Each takes what it can of a block, and leaves the rest to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from logstore.logql import ast
from logstore.pipeline.build import build
from logstore.pipeline.hints import hints_for
from logstore.pipeline.lines import LineFilter
from logstore.querier import scan
from logstore.querier.bycolumn import by_column
from logstore.querier.byline import ByLine
from logstore.querier.collect import Collector, Series, collector_for
from logstore.querier.context import Context
from logstore.querier.scan import Scanned, split_stages
from logstore.querier.windows import Windows
from logstore.store.reader import Reader

_PARSERS = (ast.Json, ast.Logfmt, ast.Pattern, ast.Regexp, ast.Unpack)
_READ_LINES = (*_PARSERS, ast.LineFilter)


class Strategy(Protocol):
    """A way to evaluate lines."""

    def take(self, found: Scanned, into: Collector) -> Scanned | None:
        """Evaluates lines of a block; gives back those that it cannot do, None if there are none. Raises QueryError."""


@dataclass(frozen=True)
class Plan:
    """How a range aggregation is run."""

    filters: Sequence[LineFilter]  # a block is searched for these as a whole
    strategies: Sequence[Strategy]  # the last one can do every line


def plan(tree: ast.RangeAggregation, grouping: ast.Grouping | None, context: Context) -> Plan:
    """Raises QueryError for what is no pipeline."""
    hints = hints_for(tree, grouping)
    filters, stages = split_stages(_needed_stages(tree, parsed=not hints.nothing))
    by_line = ByLine(tree, stages, grouping, hints, context)
    columnar = by_column(tree, stages, grouping)
    return Plan(filters, [by_line] if columnar is None else [columnar, by_line])


def run(
    store: Reader, tree: ast.RangeAggregation, steps: Sequence[int], context: Context, pushed: ast.Grouping | None
) -> Series:
    """Its series at the points `steps` (nanoseconds, ascending), grouped as it says, or else by `pushed`.

    Raises QueryError: limits, cancellation, or lines on which the pipeline failed.
    """
    windows = Windows(steps, tree.range, tree.offset)
    planned = plan(tree, tree.grouping if tree.grouping is not None else pushed, context)
    collector = collector_for(tree, windows, context)
    start, end = windows.between
    work = sorted(scan.plan(store, tree.logs.matchers, start, end), key=lambda item: item[1][0].first)
    for found in scan.scan(store, work, planned.filters, start, end, context):
        rest: Scanned | None = found
        for strategy in planned.strategies:
            rest = strategy.take(rest, collector) if rest is not None else None
        collector.check(context.limits)
    return collector.series()


def _needed_stages(tree: ast.RangeAggregation, *, parsed: bool) -> Sequence[ast.Stage]:
    """Without the parsers where no label is asked for: as in Loki, lines that they could not read are no error."""
    stages = _without_line_formats(tree)
    if parsed:
        return stages
    build(stages)  # what is no pattern is still an error
    return [stage for stage in stages if not isinstance(stage, _PARSERS)]


def _without_line_formats(tree: ast.RangeAggregation) -> Sequence[ast.Stage]:
    """Without those whose lines nobody looks at: Loki does not run them, and so meets none of their errors."""
    stages = tree.logs.stages
    if tree.op.startswith("bytes"):
        return stages
    last = max((place for place, stage in enumerate(stages) if isinstance(stage, _READ_LINES)), default=-1)
    return [stage for place, stage in enumerate(stages) if place < last or not isinstance(stage, ast.LineFormat)]
