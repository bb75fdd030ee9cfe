"""Rules of LogQL beyond its grammar: which selectors, parameters, groupings and operands make sense."""

from __future__ import annotations

from logstore.logql import ast
from logstore.logql.errors import ParseError, RunError
from logstore.logql.regex import anchored

_EMPTY = (
    "queries require at least one regexp or equality matcher that does not have an empty-compatible value. "
    'For instance, app=~".*" does not meet this requirement, but app=~".+" will'
)
_NO_SERIES = "unexpected expr type (*syntax.LiteralExpr) for Evaluator type (*logql.DefaultEvaluator) "
UNWRAPPED = {
    *("sum_over_time", "avg_over_time", "max_over_time", "min_over_time", "stddev_over_time", "stdvar_over_time"),
    *("quantile_over_time", "first_over_time", "last_over_time", "rate_counter"),
}
_GROUPABLE = {
    *("avg_over_time", "max_over_time", "min_over_time", "stddev_over_time", "stdvar_over_time"),
    *("quantile_over_time", "first_over_time", "last_over_time"),
}
_WITH_K = {"topk", "bottomk", "approx_topk"}
SET_OPERATORS = {"and", "or", "unless"}
COMPARISONS = {"==", "!=", ">", ">=", "<", "<="}


def matches_empty(matcher: ast.Matcher) -> bool:
    """Whether a stream without the label would match."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    return bool(anchored(matcher.value).search(b"")) == (matcher.op == "=~")


def check_selector(matchers: tuple[ast.Matcher, ...]) -> None:
    """Raises ParseError for a selector that would match every stream."""
    if all(matches_empty(matcher) for matcher in matchers):
        raise ParseError(_EMPTY)


def check_range(aggregation: ast.RangeAggregation) -> None:
    """Raises ParseError for parameters, groupings or unwraps that the operation does not take."""
    op = aggregation.op
    if op == "quantile_over_time" and aggregation.parameter is None:
        raise ParseError(f"parameter required for operation {op}")
    if op != "quantile_over_time" and aggregation.parameter is not None:
        raise ParseError(f"parameter {aggregation.parameter:g} not supported for operation {op}")
    if aggregation.grouping is not None and op not in _GROUPABLE:
        raise ParseError(f"grouping not allowed for {op} aggregation")
    if aggregation.unwrap is None and op in UNWRAPPED:
        raise ParseError(f"invalid aggregation {op} without unwrap")
    if aggregation.unwrap is not None and op not in UNWRAPPED and op not in ("rate", "absent_over_time"):
        raise ParseError(f"invalid aggregation {op} with unwrap")


class _VectorRules:
    """Rules of vector aggregations and of binary operators."""

    def __call__(self, aggregation: ast.VectorAggregation) -> None:
        op, parameter = aggregation.op, aggregation.parameter
        if op in _WITH_K:
            if parameter is None:
                raise ParseError(f"parameter required for operation {op}")
            if parameter != int(parameter) or parameter <= 0:
                raise ParseError(f"invalid parameter (must be greater than 0) {op}")
        elif parameter is not None:
            raise ParseError(f"unsupported parameter for operation {op}({parameter:g},")
        if op in ("sort", "sort_desc") and aggregation.grouping is not None and aggregation.grouping.names:
            raise ParseError(f"grouping not allowed for {op} aggregation")
        if op == "approx_topk" and aggregation.grouping is not None:
            raise ParseError("grouping not allowed for approx_topk aggregation")
        if isinstance(aggregation.operand, ast.Literal_):
            raise ParseError(_EMPTY) if op in ("sum", "avg", "count") else RunError(_NO_SERIES)

    def binary(self, expression: ast.Binary) -> ast.Binary:
        sides = (expression.left, expression.right)
        literal = any(isinstance(side, ast.Literal_) for side in sides)
        if literal and expression.op in SET_OPERATORS:
            side = "left" if isinstance(sides[0], ast.Literal_) else "right"
            raise ParseError(f"unexpected literal for {side} leg of logical/set binary operation ({expression.op})")
        return expression


check_vector = _VectorRules()
