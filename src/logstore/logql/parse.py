"""From text to syntax tree: lark reads grammar.lark, this module checks what a grammar cannot say."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from lark import Lark, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from logstore.logql import ast
from logstore.logql.errors import ParseError, QueryError
from logstore.logql.regex import anchored, compile_
from logstore.logql.strings import unquote
from logstore.logql.units import parse_duration, parse_float, parse_range, parse_size, rounded_size
from logstore.logql.validate import check_range, check_selector, check_vector

_LONGEST_QUERY = 131_072  # characters, as Loki's max_query_length in bytes
_LONGEST_REMEMBERED = 4096  # of those whose tree is kept
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DEEPEST = 100  # nested parentheses: recursion stays far from Python's limit


@v_args(inline=True)
class _Builder(Transformer[Any, ast.Expression]):
    """Builds the syntax tree bottom up; each method is named after a rule of the grammar."""

    def start(self, expression: ast.Expression) -> ast.Expression:
        return expression

    def group(self, inner: Any) -> Any:
        return inner

    def STRING(self, token: str) -> str:  # noqa: N802
        try:
            return unquote(token)
        except ValueError as error:
            raise ParseError(f"{error}: {token}") from None

    def IDENT(self, token: str) -> str:  # noqa: N802
        return str(token)

    def NUMBER(self, token: str) -> float:  # noqa: N802
        try:
            return parse_float(token)
        except ValueError as error:
            raise ParseError(f"unable to parse literal as a float: {error}") from None

    def DURATION(self, token: str) -> int:  # noqa: N802
        return _duration(token)

    def BYTES(self, token: str) -> int:  # noqa: N802
        return parse_size(token)

    def negative(self, value: float) -> float:
        return -value

    def logs(self, selector: tuple[ast.Matcher, ...], *stages: ast.Stage) -> ast.Logs:
        check_selector(selector)
        return ast.Logs(selector, stages)

    def selector(self, *matchers: ast.Matcher | None) -> tuple[ast.Matcher, ...]:
        return tuple(matcher for matcher in matchers if matcher is not None)

    def matcher(self, name: str, op: str, value: str) -> ast.Matcher:
        if op in ("=~", "!~"):
            anchored(value)
        return ast.Matcher(name, op, value)

    def match_op(self, token: str) -> str:
        return str(token)

    line_op = compare_op = comparator = match_op

    def line_filter(self, op: str, *alternatives: tuple[str, str]) -> ast.LineFilter:
        for function, text in alternatives:
            if op in ("|~", "!~") and not function:
                compile_(text)
            if function and op not in ("|=", "!="):
                raise ParseError(f"unexpected filter operation {function} for {op}")
        return ast.LineFilter(op, alternatives)

    def alternative(self, text: str) -> tuple[str, str]:
        return "", text

    def ip_alternative(self, _: str, text: str) -> tuple[str, str]:
        return "ip", text

    def json(self, extractions: tuple[tuple[str, str], ...] | None) -> ast.Json:
        return ast.Json(extractions or ())

    def logfmt(self, *parts: Any) -> ast.Logfmt:
        flags = [str(part) for part in parts[:-1]]
        for flag in flags:
            if flag not in ("--strict", "--keep-empty"):
                raise ParseError(f"invalid parser flag {flag}")
        return ast.Logfmt(parts[-1] or (), "--strict" in flags, "--keep-empty" in flags)

    def regexp(self, pattern: str) -> ast.Regexp:
        names = list(compile_(pattern).groupindex)
        if not names:
            raise ParseError("at least one named capture must be supplied")
        for name in names:
            if not _NAME.fullmatch(name):
                raise ParseError(f"invalid extracted label name '{name}'")
            if len(re.findall(rf"\(\?P?<{name}>", pattern)) > 1:
                raise ParseError(f"duplicate extracted label name '{name}'")
        return ast.Regexp(pattern)

    def pattern(self, pattern: str) -> ast.Pattern:
        return ast.Pattern(pattern)

    def unpack(self) -> ast.Unpack:
        return ast.Unpack()

    def line_format(self, template: str) -> ast.LineFormat:
        return ast.LineFormat(template)

    def label_format(self, *assignments: tuple[str, str, bool]) -> ast.LabelFormat:
        seen = set[str]()
        for target, _, _ in assignments:
            if target in seen:
                raise ParseError(f"multiple label name '{target}' not allowed in a single format operation")
            seen.add(target)
        return ast.LabelFormat(assignments)

    def rename(self, target: str, source: str) -> tuple[str, str, bool]:
        return target, source, False

    def assign_template(self, target: str, template: str) -> tuple[str, str, bool]:
        return target, template, True

    def decolorize(self) -> ast.Decolorize:
        return ast.Decolorize()

    def names(self, *names: str | ast.Matcher) -> tuple[str | ast.Matcher, ...]:
        return names

    def drop(self, names: tuple[str | ast.Matcher, ...]) -> ast.Drop:
        return ast.Drop(names)

    def keep(self, names: tuple[str | ast.Matcher, ...]) -> ast.Keep:
        return ast.Keep(names)

    def label_filter(self, condition: ast.LabelCondition) -> ast.LabelFilter:
        return ast.LabelFilter(condition)

    def extractions(self, *extractions: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        return extractions

    def extraction(self, name: str, expression: str | None) -> tuple[str, str]:
        return name, name if expression is None else expression

    def both(self, left: ast.LabelCondition, right: ast.LabelCondition) -> ast.Combined:
        return ast.Combined("and", left, right)

    def either(self, left: ast.LabelCondition, right: ast.LabelCondition) -> ast.Combined:
        return ast.Combined("or", left, right)

    def number_filter(self, name: str, op: str, value: float) -> ast.Comparison:
        return ast.Comparison(name, op, "number", value)

    def duration_filter(self, name: str, op: str, value: int) -> ast.Comparison:
        return ast.Comparison(name, op, "duration", value)

    def bytes_filter(self, name: str, op: str, value: int) -> ast.Comparison:
        return ast.Comparison(name, op, "bytes", rounded_size(value))

    def ip_filter(self, name: str, op: str, _: str, value: str) -> ast.Comparison:
        if op not in ("=", "!="):
            raise ParseError(f"unexpected operator {op} before ip()")
        return ast.Comparison(name, op, "ip", value)

    # Metrics

    def literal(self, value: float) -> ast.Literal_:
        return ast.Literal_(value)

    def negative_literal(self, value: float) -> ast.Literal_:
        return ast.Literal_(-value)

    def vector(self, _: str, value: float) -> ast.Vector:
        return ast.Vector(value)

    def label_replace(
        self, _: str, operand: ast.Metric, target: str, replacement: str, source: str, pattern: str
    ) -> ast.LabelReplace:
        anchored(pattern)
        return ast.LabelReplace(operand, target, replacement, source, pattern)

    def labels(self, *names: str | None) -> tuple[str, ...]:
        return tuple(name for name in names if name is not None)

    def grouping(self, keyword: str, names: tuple[str, ...]) -> ast.Grouping:
        return ast.Grouping(names, keyword.lower() == "without")

    def matching(self, keyword: str, names: tuple[str, ...]) -> ast.Matching:
        return ast.Matching(keyword.lower() == "on", names)

    def many(self, keyword: str, include: tuple[str, ...] | None) -> ast.Matching:
        return ast.Matching(many="left" if keyword.lower() == "group_left" else "right", include=include or ())

    def modifier(
        self, bool_: str | None, matching: ast.Matching | None, many: ast.Matching | None = None
    ) -> tuple[bool, ast.Matching]:
        matching = matching or ast.Matching()
        if many is not None:
            matching = ast.Matching(matching.on, matching.labels, many.many, many.include)
        return bool_ is not None, matching

    def binary(
        self, left: ast.Metric, op: str, modifier: tuple[bool, ast.Matching], right: ast.Metric
    ) -> ast.Binary | ast.Literal_:
        return check_vector.binary(ast.Binary(op.lower(), left, right, *modifier))

    def offset(self, value: int) -> int:
        return value

    def unwrap(self, name: str) -> ast.Unwrap:
        return ast.Unwrap(name)

    def unwrap_conversion(self, conversion: str, name: str) -> ast.Unwrap:
        return ast.Unwrap(name, conversion.lower())

    def RANGE(self, token: str) -> tuple[str, int]:  # noqa: N802
        column = getattr(token, "column", 0) or 0
        try:
            return "range", parse_range(token[1:-1])
        except ValueError as error:
            raise ParseError(str(error), 0, column) from None

    def log_range(self, selector: tuple[ast.Matcher, ...], *pieces: Any) -> tuple[Any, ...]:
        check_selector(selector)
        stages: list[ast.Stage] = []
        unwrap: ast.Unwrap | None = None
        range_ = offset = 0
        for piece in pieces:
            if piece is None:
                continue
            if isinstance(piece, tuple):
                range_ = piece[1]
            elif isinstance(piece, int):
                offset = piece
            elif isinstance(piece, ast.Unwrap):
                if unwrap is not None:
                    raise ParseError("syntax error: unexpected unwrap")
                unwrap = piece
            elif unwrap is None:
                stages.append(piece)
            elif isinstance(piece, ast.LabelFilter):
                unwrap = ast.Unwrap(unwrap.name, unwrap.conversion, (*unwrap.filters, piece))
            else:
                raise ParseError("syntax error: only label filters may follow unwrap")
        return ast.Logs(selector, tuple(stages)), range_, offset, unwrap

    def range_aggregation(
        self, op: str, parameter: float | None, range_: tuple[Any, ...], grouping: ast.Grouping | None
    ) -> ast.RangeAggregation:
        logs, length, offset, unwrap = range_
        aggregation = ast.RangeAggregation(op.lower(), logs, length, offset, unwrap, parameter, grouping)
        check_range(aggregation)
        return aggregation

    def vector_aggregation(
        self, op: str, parameter: float | None, operand: ast.Metric, grouping: ast.Grouping | None
    ) -> ast.VectorAggregation:
        aggregation = ast.VectorAggregation(op.lower(), operand, grouping, parameter)
        check_vector(aggregation)
        return aggregation

    def vector_aggregation_grouped(
        self, op: str, grouping: ast.Grouping, parameter: float | None, operand: ast.Metric
    ) -> ast.VectorAggregation:
        return self.vector_aggregation(op, parameter, operand, grouping)


def _duration(text: str, line: int | None = None, column: int = 0) -> int:
    try:
        return parse_duration(text, calendar=True)
    except ValueError as error:
        raise ParseError(str(error).removeprefix("time: "), line, column) from None


@cache
def _parser() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text()
    return Lark(grammar, parser="lalr", maybe_placeholders=True, propagate_positions=False)


def warm_up() -> None:
    """Builds the parser's tables, so that the first query need not wait for them."""
    _parser()


def _unexpected(error: UnexpectedInput, text: str) -> ParseError:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return ParseError(f"syntax error: unexpected {error.token}", error.line, error.column)
    if isinstance(error, UnexpectedCharacters):
        character = text[error.pos_in_stream] if error.pos_in_stream is not None else "character"
        return ParseError(f"syntax error: unexpected {character}", error.line, error.column)
    assert isinstance(error, UnexpectedToken | UnexpectedEOF)
    last = text.rstrip().rsplit("\n", 1)
    return ParseError("syntax error: unexpected $end", text.rstrip().count("\n") + 1, len(last[-1]) + 1)


def _too_deep(text: str) -> bool:
    depth = deepest = 0
    for character in text:
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth -= 1
    return deepest > _DEEPEST


def parse(text: str) -> ast.Expression:
    """The syntax tree of a query. Raises ParseError with Loki's wording where Loki's is simple."""
    if len(text) > _LONGEST_QUERY:
        raise ParseError(f"input size too long ({len(text)} > {_LONGEST_QUERY})")
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _parsed(text)


def _parsed(text: str) -> ast.Expression:
    if _too_deep(text):
        raise ParseError(f"more than {_DEEPEST} nested parentheses")
    if not text.strip():
        raise ParseError("syntax error: unexpected $end", 1, 1)
    try:
        tree = _parser().parse(text)
        return _Builder().transform(tree)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError | MemoryError):
            raise error.orig_exc from None
        if isinstance(error.orig_exc, RecursionError):
            raise ParseError("the expression is nested too deeply") from None
        if isinstance(error.orig_exc, ValueError | OverflowError):
            raise ParseError(str(error.orig_exc)) from None
        raise
    except RecursionError:
        raise ParseError("the expression is nested too deeply") from None


_remembered = lru_cache(maxsize=64)(_parsed)


def parse_selector(text: str) -> tuple[ast.Matcher, ...]:
    """The matchers of `{...}`. Raises ParseError for anything else."""
    expression = parse(text)
    if not isinstance(expression, ast.Logs) or expression.stages:
        raise ParseError("only label matchers are supported")
    return expression.matchers
