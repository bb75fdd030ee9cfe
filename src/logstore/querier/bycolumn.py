"""By column: the labels that a query asks for, of all lines of a block at once.

Only for queries that group by names, and find their labels in the stream or by `json`; and there only for lines that
`columns` can read. The others are left to be evaluated line by line.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from itertools import compress
from typing import Any

from logstore.logql import ast
from logstore.logql.units import parse_float
from logstore.querier.collect import Collector, Labels, Rows
from logstore.querier.columns import Columns, Mask, SlowError, masks_of, texts
from logstore.querier.logs import parted
from logstore.querier.scan import Scanned


def by_column(
    tree: ast.RangeAggregation, stages: Sequence[ast.Stage], grouping: ast.Grouping | None
) -> ByColumn | None:
    """The strategy for a query; None where it is not one for columns."""
    if tree.op == "absent_over_time" or grouping is None or grouping.without:
        return None
    json = bool(stages) and stages[0] == ast.Json()
    unwrap = tree.unwrap
    if unwrap is not None and (not json or unwrap.conversion or unwrap.filters):
        return None
    masks = masks_of(stages[1:] if json else stages)
    if masks is None:
        return None
    return ByColumn(
        grouping.names, masks, json=json, unwrap=unwrap.name if unwrap else None, lengths=tree.op.startswith("bytes")
    )


class ByColumn:
    """Groups by the labels `names` the lines that all `masks` hold of; a line's value is a label's, or its length."""

    def __init__(
        self,
        names: Sequence[str],
        masks: Sequence[tuple[Mask, frozenset[str]]],
        *,
        json: bool,
        unwrap: str | None,
        lengths: bool,
    ) -> None:
        self._names, self._json, self._unwrap, self._lengths = names, json, unwrap, lengths
        self._masks = [mask for mask, _ in masks]
        self._needed = frozenset(names).union(*(needed for _, needed in masks), {unwrap} if unwrap is not None else ())
        self._known: dict[Any, Labels] = {}

    def take(self, found: Scanned, into: Collector) -> Scanned | None:
        """Evaluates all lines; or those that can be read so, and gives back the others."""
        if self._take(found, into):
            return None
        if not self._json:
            return found
        plain, others = parted(found, self._needed)
        return others if plain.indexes and self._take(plain, into) else found

    def _take(self, found: Scanned, into: Collector) -> bool:
        """Evaluates all lines, or none and is False."""
        try:
            rows = self._rows(found)
        except SlowError:
            return False
        if rows.indexes:
            into.add_rows(rows)
        return True

    def _rows(self, found: Scanned) -> Rows:
        """The lines that count. Raises SlowError."""
        labels = found.stream.labels
        constant = all(name in labels for name in self._names)
        rows = Rows(
            found.block.times, found.indexes, None, _group([labels.get(name) for name in self._names]), self._labels,
            None,
        )  # fmt: skip
        if constant and not (self._json or self._masks or self._lengths):
            return rows
        columns = Columns(found.stream, found.block, found.indexes, json=self._json)
        columns.load(self._needed)
        if self._names and not constant:
            grouped = [texts(columns[name]) for name in self._names]
            rows.groups = grouped[0] if len(grouped) == 1 else list(zip(*grouped, strict=True))
        if self._unwrap is not None:
            rows.values = _numbers(columns[self._unwrap])
        elif self._lengths:
            rows.values = [float(len(line)) for line in columns.lines]
        kept = self._kept(columns)
        if kept is not None:
            rows.indexes = list(compress(rows.indexes, kept))
            rows.groups = None if rows.groups is None else list(compress(rows.groups, kept))
            rows.values = None if rows.values is None else list(compress(rows.values, kept))
        return rows

    def _kept(self, columns: Columns) -> list[bool] | None:
        """Which lines count; None: all."""
        tests = [mask(columns) for mask in self._masks]
        if self._unwrap is not None:
            tests.append([value is not None and value != "" for value in columns[self._unwrap]])
        return reduce(lambda one, other: list(map(operator.and_, one, other)), tests) if tests else None

    def _labels(self, group: Any) -> Labels:
        """The labels of a group that `_group` made."""
        known = self._known.get(group)
        if known is None:
            values = (group,) if len(self._names) == 1 else group
            pairs = {name: value for name, value in zip(self._names, values, strict=True) if value}
            known = self._known[group] = tuple(sorted(pairs.items()))
        return known


def _group(values: Sequence[str | None]) -> Any:
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
