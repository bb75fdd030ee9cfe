"""Line by line: each line of a block goes through the pipeline. It can do every query, and is the slower way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from logstore.logql import ast
from logstore.logql.errors import QueryError
from logstore.logql.units import duration_seconds, parse_float, parse_size
from logstore.pipeline.build import build
from logstore.pipeline.entry import ERROR, PRESERVE_ERROR, Entry
from logstore.pipeline.hints import Hints
from logstore.querier.collect import Collector, Labels
from logstore.querier.context import Context
from logstore.querier.logs import entry_at, prefilter
from logstore.querier.scan import Scanned

_CONVERSIONS: dict[str, Callable[[str], float]] = {
    "": parse_float,
    "bytes": parse_size,
    "duration": duration_seconds,
    "duration_seconds": duration_seconds,
}


class ByLine:
    """Evaluates any line."""

    def __init__(
        self, tree: ast.RangeAggregation, stages: Sequence[ast.Stage], grouping: ast.Grouping | None, hints: Hints,
        context: Context,
    ) -> None:  # fmt: skip
        self._trees, self._stages = stages, build(stages, context.check)
        self._unwrap = tree.unwrap
        self._after = build(tree.unwrap.filters, context.check) if tree.unwrap else []
        self._bytes = tree.op.startswith("bytes")
        self._grouping, self._hints, self._context = grouping, hints, context

    def take(self, found: Scanned, into: Collector) -> Scanned | None:
        """Evaluates all lines. Raises QueryError where the pipeline fails on one."""
        for entry, value in self._passing(found):
            into.add(self._grouped(entry), entry.time, float(len(entry.line)) if self._bytes else value)
        return None

    def _passing(self, found: Scanned) -> Iterator[tuple[Entry, float | None]]:
        for number, index in enumerate(prefilter(self._trees, found)):
            if not number % 32:
                self._context.check()
            entry = entry_at(found, index)
            entry.hints = self._hints
            if not all(stage(entry) for stage in self._stages):
                continue
            if self._unwrap is None:
                yield entry, None
                continue
            text = entry.labels.get(self._unwrap.name, "")
            if not text:
                continue
            value = 0.0
            try:
                value = float(_CONVERSIONS[self._unwrap.conversion](text))
            except ValueError as error:
                entry.fail("SampleExtractionErr", str(error))
            if all(stage(entry) for stage in self._after):
                yield entry, value

    def _grouped(self, entry: Entry) -> Labels:
        labels, grouping = entry.labels, self._grouping
        if entry.error:
            if PRESERVE_ERROR not in labels:
                raise _pipeline_error(entry.everything())
            return tuple(sorted(entry.everything().items()))  # not grouped, lest the error be lost
        if grouping is not None and not grouping.without:
            return tuple(sorted((name, labels[name]) for name in set(grouping.names) if labels.get(name)))
        out = set(grouping.names) if grouping is not None else set()
        if self._unwrap is not None:
            out.add(self._unwrap.name)
        return tuple(sorted((name, value) for name, value in labels.items() if value and name not in out))


def _pipeline_error(labels: dict[str, str]) -> QueryError:
    kind = labels[ERROR]
    shown = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return QueryError(
        f"pipeline error: '{kind}' for series: '{{{shown}}}'.\n"
        f'Use a label filter to intentionally skip this error. (e.g | __error__!="{kind}").\n'
        'To skip all potential errors you can match empty errors.(e.g __error__="")\n'
        'The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__="" )\n'
    )
