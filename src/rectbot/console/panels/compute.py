"""Transformations that compute: reduce, calculate a column, filter by value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rectbot.console.panels import join
from rectbot.console.panels.frames import NUMBER, STRING, TIME, Cell, Column, Frame, Names
from rectbot.console.panels.matchers import compare, matches, pattern
from rectbot.console.panels.reduce import CALCULATIONS, reduced, title

Json = Mapping[str, Any]
Frames = list[Frame]


def column(name: str, calculation: str, groups: Sequence[Sequence[Cell]]) -> Column:
    """One value of each group."""
    values = [_cell(reduced(calculation, values)) for values in groups]
    kind = STRING if any(isinstance(value, str) for value in values) else NUMBER
    return Column(name, kind, values)


def _cell(value: Any) -> Cell:
    return float(value) if isinstance(value, bool | int) else value


def order(values: Sequence[Cell], *, descending: bool) -> list[int]:
    """The places of the values in their order, numbers before words; what is nothing is last."""

    def key(place: int) -> tuple[bool, float, str]:
        value = values[place]
        return (
            isinstance(value, str),
            value if isinstance(value, float) else 0.0,
            value if isinstance(value, str) else "",
        )

    something = [place for place in range(len(values)) if values[place] is not None]
    nothing = [place for place in range(len(values)) if values[place] is None]
    return [*sorted(something, key=key, reverse=descending), *nothing]


def reduce_frames(frames: Frames, options: Json) -> Frames:
    """One row for each column, with a column for each calculation; or one row for each frame."""
    calculations = [name for name in options.get("reducers") or () if name in CALCULATIONS]
    if not calculations:
        return frames
    names = Names(frames)
    fields = options.get("fields")

    def taken(each: Column, frame: Frame) -> bool:
        if fields:
            return matches(fields, each, frame, names.of(each, frame))
        return each.kind != TIME or (bool(options.get("includeTimeField")) and options.get("mode") == "reduceFields")

    if options.get("mode") == "reduceFields":
        return [_one_row(frame, calculations, taken) for frame in frames]
    chosen = [(each, frame) for frame in frames for each in frame.columns if taken(each, frame)]
    labels = list(dict.fromkeys(name for each, _ in chosen for name in each.labels))
    by_label = bool(options.get("labelsToFields"))
    columns = [Column("Field", STRING, [each.name if by_label else names.of(each, frame) for each, frame in chosen])]
    if by_label:
        columns += [Column(name, STRING, [each.labels.get(name) for each, _ in chosen]) for name in labels]
    groups = [each.values for each, _ in chosen]
    columns += [column(title(name), name, groups) for name in calculations]
    return [Frame(frames[0].ref if frames else "", columns)]


def _one_row(frame: Frame, calculations: Sequence[str], taken: Callable[[Column, Frame], bool]) -> Frame:
    columns = []
    for each in frame.columns:
        for name in calculations if taken(each, frame) else ():
            made = column(each.name, name, [each.values])
            labels = {**each.labels, "reducer": title(name)} if len(calculations) > 1 else each.labels
            shown = each.shown if len(calculations) == 1 else ""
            columns.append(replace(made, labels=labels, shown=shown))
    return replace(frame, columns=columns)


def calculated(frames: Frames, options: Json) -> Frames:
    """A column of the others: of two, of each row, of one, or the row's number."""
    mode = options.get("mode") or "reduceRow"
    if options.get("timeSeries") is not False and len(frames) > 1:
        frames = join.joined(frames, {})
    names = Names(frames)
    found = []
    for frame in frames:
        made = _MODES[mode](frame, names, options) if mode in _MODES else None
        if made is None:
            found.append(frame)
            continue
        new = replace(made, name=options.get("alias") or made.name)
        kept = [each for each in frame.columns if not options.get("replaceFields") or each.kind == TIME]
        found.append(replace(frame, columns=[*kept, new]))
    return found


def _of_two(frame: Frame, names: Names, options: Json) -> Column | None:
    given: Json = options.get("binary") or {}
    left, right = (_side(frame, names, given.get(side)) for side in ("left", "right"))
    work = OPERATORS.get(given.get("operator", "+"))
    if left is None or right is None or work is None:
        return None
    values = [_worked(work, one, other) for one, other in zip(left[1], right[1], strict=True)]
    return Column(f"{left[0]} {given.get('operator', '+')} {right[0]}", NUMBER, values)


def _side(frame: Frame, names: Names, given: Any) -> tuple[str, Sequence[Cell]] | None:
    """A column by its name, or a number for each row."""
    if isinstance(given, Mapping):
        given = (given.get("matcher") or {}).get("options") or given.get("fixed")
    if (found := names.find(frame, given)) is not None:
        return str(given), found.values
    try:
        return str(given), [float(given)] * frame.length
    except (TypeError, ValueError):
        return None


def _of_row(frame: Frame, names: Names, options: Json) -> Column | None:
    given: Json = options.get("reduce") or {}
    calculation, include = given.get("reducer", "sum"), set(given.get("include") or ())
    if calculation not in CALCULATIONS:
        return None
    taken = [
        each
        for each in frame.columns
        if each.kind == NUMBER and (not include or {names.of(each, frame), each.name} & include)
    ]
    groups = [[each.values[place] for each in taken] for place in range(frame.length)]
    return column(title(calculation), calculation, groups)


def _of_one(frame: Frame, names: Names, options: Json) -> Column | None:
    given: Json = options.get("unary") or {}
    found, work = names.find(frame, given.get("fieldName")), FUNCTIONS.get(given.get("operator", "abs"))
    if found is None or work is None:
        return None
    values = [_worked(lambda value, _: work(value), value, 0.0) for value in found.values]
    return Column(f"{given.get('operator', 'abs')}({given.get('fieldName')})", NUMBER, values)


def _number(frame: Frame, _: Names, options: Json) -> Column:
    share = (options.get("index") or {}).get("asPercentile")
    return Column("Row", NUMBER, [place / frame.length if share else float(place) for place in range(frame.length)])


def _worked(work: Callable[[float, float], float], one: Cell, other: Cell) -> Cell:
    if not isinstance(one, float) or not isinstance(other, float):
        return None
    try:
        return float(work(one, other))
    except (ArithmeticError, ValueError):
        return None


OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "^": lambda one, other: one**other,
    "%": math.fmod,
    "min": min,
    "max": max,
}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "exp": math.exp,
    "ln": math.log,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda value: math.floor(value + 0.5),
}
_MODES: dict[str, Callable[[Frame, Names, Json], Column | None]] = {
    "binary": _of_two,
    "reduceRow": _of_row,
    "unary": _of_one,
    "index": _number,
}
CALCULATE_MODES = frozenset(_MODES)


def filtered(frames: Frames, options: Json) -> Frames:
    """The rows that meet any or all conditions, or without them."""
    wanted = any if options.get("match") == "any" else all
    names, include = Names(frames), options.get("type", "include") == "include"
    found = []
    for frame in frames:
        tests = list(_tests(frame, names, options.get("filters") or ()))
        places = [
            place
            for place in range(frame.length)
            if not tests or wanted(test(each.values[place]) for each, test in tests) == include
        ]
        found.append(frame.rows(places))
    return found


def _tests(frame: Frame, names: Names, filters: Sequence[Json]) -> Iterator[tuple[Column, Callable[[Cell], bool]]]:
    for each in filters:
        config: Json = each.get("config") or {}
        named, test = names.find(frame, each.get("fieldName")), VALUE_TESTS.get(config.get("id", ""))
        if named is not None and test is not None:
            yield named, _bound(test, config.get("options") or {})


def _bound(test: Callable[[Cell, Json], bool], options: Json) -> Callable[[Cell], bool]:
    return lambda value: test(value, options)


def _comparison(operator: str) -> Callable[[Cell, Json], bool]:
    return lambda value, options: compare(value, operator, options.get("value"))


def _same(value: Cell, options: Json) -> bool:
    wanted = options.get("value")
    return str(wanted) == value or compare(value, "eq", wanted)


VALUE_TESTS: dict[str, Callable[[Cell, Json], bool]] = {
    "equal": _same,
    "notEqual": lambda value, options: not _same(value, options),
    "greater": _comparison("gt"),
    "greaterOrEqual": _comparison("gte"),
    "lower": _comparison("lt"),
    "lowerOrEqual": _comparison("lte"),
    "between": lambda value, options: (
        compare(value, "gt", options.get("from")) and compare(value, "lt", options.get("to"))
    ),
    "isNull": lambda value, _: value is None,
    "isNotNull": lambda value, _: value is not None,
    "regex": lambda value, options: pattern(str(options.get("value", ""))).search(_text(value)) is not None,
    "substring": lambda value, options: str(options.get("value", "")).lower() in _text(value).lower(),
    "notSubstring": lambda value, options: str(options.get("value", "")).lower() not in _text(value).lower(),
}


def _text(value: Cell) -> str:
    return f"{value:g}" if isinstance(value, float) else value or ""
