"""Metric queries: vector aggregations, binary operators and functions over range aggregations, as in PromQL."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

from logstore.logql import ast
from logstore.logql.errors import RunError
from logstore.logql.regex import anchored
from logstore.logql.validate import COMPARISONS, SET_OPERATORS
from logstore.pipeline.functions import expand
from logstore.pipeline.labels import COMPARE
from logstore.querier import ranges
from logstore.querier.collect import ADDITIVE, Labels, Series
from logstore.querier.context import Context
from logstore.querier.overtime import variance
from logstore.store.reader import Reader

Result = Series | float
Row = list[float | None]


def _divide(a: float, b: float) -> float:
    return a / b if b else math.nan


def _modulo(a: float, b: float) -> float:
    return math.fmod(a, b) if b and math.isfinite(a) else math.nan


def _power(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except ValueError:
        return math.nan if a else math.inf
    except OverflowError:
        return math.inf


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _modulo,
    "^": _power,
}


class Evaluator:
    """Evaluates a metric expression at the points `steps` (nanoseconds, ascending)."""

    def __init__(self, store: Reader, steps: Sequence[int], context: Context) -> None:
        self.store, self.steps, self.context = store, steps, context

    def evaluate(self, tree: ast.Metric, pushed: ast.Grouping | None = None) -> Result:  # noqa: PLR0911
        """A number, or series. Raises QueryError."""
        self.context.check()
        match tree:
            case ast.Literal_():
                return tree.value
            case ast.Vector():
                return {(): [tree.value] * len(self.steps)}
            case ast.RangeAggregation():
                if (quotient := _as_quotient(tree)) is not None:
                    return self._binary(quotient)
                return ranges.run(self.store, tree, self.steps, self.context, pushed)
            case ast.VectorAggregation():
                return self._aggregate(tree)
            case ast.LabelReplace():
                return _replace(tree, self._series(tree.operand))
            case ast.Binary():
                return self._binary(tree)

    def _series(self, tree: ast.Metric, pushed: ast.Grouping | None = None) -> Series:
        result = self.evaluate(tree, pushed)
        return result if isinstance(result, dict) else {(): [result] * len(self.steps)}

    # Aggregations

    def _aggregate(self, tree: ast.VectorAggregation) -> Series:
        inner, grouping = tree.operand, tree.grouping or ast.Grouping(())
        # Sums of sums need no labels but the group's: far fewer series, and often no label of a line is looked at.
        adds = tree.op == "sum" and isinstance(inner, ast.RangeAggregation) and inner.op in ADDITIVE
        series = self._series(inner, grouping if adds else None)
        if tree.op in ("topk", "bottomk", "approx_topk"):
            return self._top(tree, series)
        if tree.op in ("sort", "sort_desc"):
            return _sorted(series, descending=tree.op == "sort_desc")
        groups: dict[Labels, list[Row]] = {}
        for labels, row in series.items():
            groups.setdefault(group_labels(labels, grouping), []).append(row)
        combine = _COMBINE[tree.op]
        result: Series = {}
        for labels, rows in groups.items():
            self.context.check()
            columns = ([value for value in column if value is not None] for column in zip(*rows, strict=True))
            result[labels] = [combine(column) if column else None for column in columns]
        return result

    def _top(self, tree: ast.VectorAggregation, series: Series) -> Series:
        count, largest = int(tree.parameter or 0), tree.op != "bottomk"
        grouping = tree.grouping or ast.Grouping(())
        groups: dict[Labels, list[tuple[Labels, Row]]] = {}
        # Among equals Loki takes whichever its hash table yields first; ours are the last by name, of the smallest
        # the first by name, always.
        for labels, row in sorted(series.items(), reverse=largest):
            groups.setdefault(group_labels(labels, grouping), []).append((labels, row))
        result: Series = {labels: [None] * len(self.steps) for labels in series}
        for members in groups.values():
            for step in range(len(self.steps)):
                self.context.check()
                present = [(row[step], labels) for labels, row in members if row[step] is not None]
                present.sort(key=lambda pair: _rank(pair[0], largest=largest))
                for value, labels in present[:count]:
                    result[labels][step] = value
        kept = {labels: row for labels, row in result.items() if any(value is not None for value in row)}
        return _sorted(kept, descending=largest) if len(self.steps) == 1 else kept

    # Binary operators

    def _binary(self, tree: ast.Binary) -> Result:
        left, right = self.evaluate(tree.left), self.evaluate(tree.right)
        if isinstance(left, float | int) and isinstance(right, float | int):
            return _numbers(tree.op, left, right)
        if isinstance(left, float | int):
            return _with_number(tree, right, left, flipped=True)  # type: ignore[arg-type]
        if isinstance(right, float | int):
            return _with_number(tree, left, right, flipped=False)
        if tree.op in SET_OPERATORS:
            return _set_operation(tree, left, right)
        return _matched(tree, left, right)


def _as_quotient(tree: ast.RangeAggregation) -> ast.Binary | None:
    """An average whose series are grouped, as Loki computes it: sums of values by counts of lines.

    That is no average where lines have no value, or label filters follow the unwrap: the lines count all the same.
    """
    grouping = tree.grouping or ast.Grouping((), without=True)
    kept = not grouping.names and grouping.without
    if tree.op != "avg_over_time" or tree.unwrap is None or (kept and not _loses_labels(tree.logs.stages)):
        return None
    names = grouping.names + ((tree.unwrap.name,) if grouping.without else ())
    values = ast.RangeAggregation("sum_over_time", tree.logs, tree.range, tree.offset, tree.unwrap)
    lines = ast.RangeAggregation("count_over_time", tree.logs, tree.range, tree.offset)
    return ast.Binary(
        "/",
        ast.VectorAggregation("sum", values, grouping),
        ast.VectorAggregation("sum", lines, ast.Grouping(names, grouping.without)),
    )


def _loses_labels(stages: Sequence[ast.Stage]) -> bool:
    return any(
        isinstance(stage, ast.Keep | ast.Drop)
        or (isinstance(stage, ast.LabelFormat) and not all(template for _, _, template in stage.assignments))
        for stage in stages
    )


def group_labels(labels: Labels, grouping: ast.Grouping) -> Labels:
    """The labels that a group keeps."""
    return tuple(pair for pair in labels if (pair[0] in grouping.names) != grouping.without)


def _rank(value: float | None, *, largest: bool) -> tuple[bool, float]:
    assert value is not None
    return math.isnan(value), -value if largest else value


def _sorted(series: Series, *, descending: bool) -> Series:
    return dict(sorted(series.items(), key=lambda item: _rank(item[1][-1] or 0.0, largest=descending)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_COMBINE: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "avg": _mean,
    "min": lambda values: min((value for value in values if not math.isnan(value)), default=math.nan),
    "max": lambda values: max((value for value in values if not math.isnan(value)), default=math.nan),
    "count": len,
    "stddev": lambda values: math.sqrt(variance(values)),
    "stdvar": variance,
}


def _numbers(op: str, left: float, right: float) -> float:
    if op in COMPARE:
        return 1.0 if COMPARE[op](left, right) else 0.0
    return ARITHMETIC[op](left, right)


def _apply(tree: ast.Binary, left: float | None, right: float | None, kept: float | None) -> float | None:
    """The value for one pair; `kept` is what a comparison that holds passes on."""
    if left is None or right is None:
        return None
    if tree.op in COMPARISONS:
        holds = COMPARE[tree.op](left, right)
        if tree.bool_:
            return 1.0 if holds else 0.0
        return kept if holds else None
    return ARITHMETIC[tree.op](left, right)


def _with_number(tree: ast.Binary, series: Series, number: float, *, flipped: bool) -> Series:
    result: Series = {}
    for labels, row in series.items():
        values = [
            _apply(tree, number, value, value) if flipped else _apply(tree, value, number, value) for value in row
        ]
        if any(value is not None for value in values):
            result[labels] = values
    return result


def _signature(labels: Labels, matching: ast.Matching) -> Labels:
    return tuple(pair for pair in labels if (pair[0] in matching.labels) == matching.on)


def _set_operation(tree: ast.Binary, left: Series, right: Series) -> Series:
    result: Series = {labels: list(row) for labels, row in left.items()} if tree.op == "or" else {}
    there: dict[Labels, list[bool]] = {}
    for labels, row in (left if tree.op == "or" else right).items():
        mine = there.setdefault(_signature(labels, tree.matching), [False] * len(row))
        for step, value in enumerate(row):
            mine[step] |= value is not None
    for labels, row in (right if tree.op == "or" else left).items():
        other = there.get(_signature(labels, tree.matching), [False] * len(row))
        wanted = tree.op == "and"
        values = [value if other[step] == wanted else None for step, value in enumerate(row)]
        if any(value is not None for value in values):
            old = result.get(labels)
            result[labels] = (
                values if old is None else [a if a is not None else b for a, b in zip(old, values, strict=True)]
            )
    return result


def _result_labels(tree: ast.Binary, many: Labels, one: Labels) -> Labels:
    matching = tree.matching
    if not matching.many:
        return _signature(many, matching)
    labels = dict(many)
    source = dict(one)
    for name in matching.include:
        if source.get(name):
            labels[name] = source[name]
        else:
            labels.pop(name, None)
    return tuple(sorted(labels.items()))


def _matched(tree: ast.Binary, left: Series, right: Series) -> Series:
    """Pairs series by their signature; `many` is the side that may have several for one of the other."""
    swapped = tree.matching.many == "right"
    many, one = (right, left) if swapped else (left, right)
    by_signature: dict[Labels, list[tuple[Labels, Row]]] = {}
    for labels, row in one.items():
        by_signature.setdefault(_signature(labels, tree.matching), []).append((labels, row))
    result: Series = {}
    paired: Series = {}
    for labels, row in many.items():
        for other_labels, other in _partners(by_signature.get(_signature(labels, tree.matching), []), tree):
            sides = zip(other, row, strict=True) if swapped else zip(row, other, strict=True)
            pairs = list(sides)
            result_labels = _result_labels(tree, labels, other_labels)
            if not tree.matching.many:  # a second pair is an error even where the comparison does not hold
                there = [None if a is None or b is None else 0.0 for a, b in pairs]
                _put(paired, _signature(labels, tree.matching), there, tree)
            values = [_apply(tree, a, b, a) for a, b in pairs]
            if any(value is not None for value in values):
                _put(result, result_labels, values, tree)
    return result


def _partners(found: list[tuple[Labels, Row]], tree: ast.Binary) -> list[tuple[Labels, Row]]:
    for step in range(len(found[0][1]) if len(found) > 1 else 0):
        if sum(row[step] is not None for _, row in found) > 1:
            side = "left" if tree.matching.many == "right" else "right"
            raise RunError(
                f"found duplicate series on the {side} hand-side;"
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )
    return found


def _put(result: Series, labels: Labels, values: Row, tree: ast.Binary) -> None:
    old = result.get(labels)
    if old is None:
        result[labels] = values
        return
    for step, value in enumerate(values):
        if value is not None:
            if old[step] is not None:
                kind = "grouping labels must ensure unique matches" if tree.matching.many else (
                    "many-to-one matching must be explicit (group_left/group_right)"
                )  # fmt: skip
                raise RunError(f"multiple matches for labels: {kind}")
            old[step] = value


def _replace(tree: ast.LabelReplace, series: Series) -> Series:
    pattern = anchored(tree.pattern)
    result: Series = {}
    for labels, row in series.items():
        named = dict(labels)
        match = pattern.search(named.get(tree.source, ""))
        if match is not None:
            value = expand(match, tree.replacement)
            named.pop(tree.target, None)
            if value:
                named[tree.target] = value
        new = tuple(sorted(named.items()))
        result[new] = row
    return result
