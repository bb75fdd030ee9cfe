"""Grafana's transformations, and which there are: https://grafana.com/docs/grafana/latest/panels-visualizations/query-transform-data/transform-data/

Each takes frames and its options. What is not known here is said in the panel, and the data goes on without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rectbot.console.panels import compute, join
from rectbot.console.panels.frames import STRING, TIME, Column, Frame, Names
from rectbot.console.panels.matchers import Expression, pattern

Json = Mapping[str, Any]
Frames = list[Frame]


def transformed(frames: Frames, transformations: Sequence[Json]) -> Frames:
    """The frames after all transformations that are known and not switched off."""
    for each in transformations:
        operation = TRANSFORMATIONS.get(each.get("id", ""))
        if operation is None or each.get("disabled"):
            continue
        wanted = (each.get("filter") or {}).get("options")
        inside = [frame for frame in frames if _chosen(frame, wanted)]
        outside = [frame for frame in frames if not _chosen(frame, wanted)]
        frames = [*operation(inside, each.get("options") or {}), *outside]
    return frames


def _chosen(frame: Frame, wanted: str | None) -> bool:
    return wanted is None or pattern(wanted).fullmatch(frame.ref) is not None


def _kept(frames: Frames, keep: Callable[[str, Column], bool]) -> Frames:
    """The frames with the columns to keep; `keep` gets the shown name too."""
    names = Names(frames)
    kept = [
        replace(frame, columns=[column for column in frame.columns if keep(names.of(column, frame), column)])
        for frame in frames
    ]
    return [frame for frame in kept if frame.columns]


def _organize(frames: Frames, options: Json) -> Frames:
    """Hides, orders and renames columns. With `includeByName` what is not named is hidden."""
    included = {name for name, on in (options.get("includeByName") or {}).items() if on}
    excluded = {name for name, on in (options.get("excludeByName") or {}).items() if on}
    order, titles = options.get("indexByName") or {}, options.get("renameByName") or {}
    frames = _kept(
        frames,
        lambda shown, column: (
            not {shown, column.name} & excluded and (not included or bool({shown, column.name} & included))
        ),
    )
    names = Names(frames)
    found = []
    for frame in frames:
        columns = sorted(frame.columns, key=lambda column: order.get(names.of(column, frame), len(order) + 1e9))
        found.append(
            replace(
                frame,
                columns=[replace(each, shown=titles.get(names.of(each, frame)) or each.shown) for each in columns],
            )
        )
    return found


def _filter_by_name(frames: Frames, options: Json) -> Frames:
    include, exclude = _NameFilter(options.get("include")), _NameFilter(options.get("exclude"))
    return _kept(
        frames,
        lambda shown, column: (
            (include.empty or include.matches(shown, column)) and (exclude.empty or not exclude.matches(shown, column))
        ),
    )


class _NameFilter:
    """Names, or a pattern; of neither there is nothing to filter."""

    def __init__(self, given: Json | None) -> None:
        given = given or {}
        self._names = set(given.get("names") or ())
        self._pattern: Expression | None = pattern(given["pattern"]) if given.get("pattern") else None
        self.empty = not self._names and self._pattern is None

    def matches(self, shown: str, column: Column) -> bool:
        return bool({shown, column.name} & self._names) or (
            self._pattern is not None and self._pattern.search(shown) is not None
        )


def _filter_by_query(frames: Frames, options: Json) -> Frames:
    include, exclude = options.get("include"), options.get("exclude")
    return [
        frame
        for frame in frames
        if (not include or pattern(include).fullmatch(frame.ref))
        and not (exclude and pattern(exclude).fullmatch(frame.ref))
    ]


def _rename(frames: Frames, options: Json) -> Frames:
    """By a regular expression and what is put for it, in which $1 is the first group."""
    found = pattern(options.get("regex") or "(.*)")
    put = re.sub(r"\$(\d)", r"\\\1", (options.get("renamePattern") or "$1").replace("\\", "\\\\"))
    names = Names(frames)

    def renamed(column: Column, frame: Frame) -> Column:
        shown = names.of(column, frame)
        if column.kind == TIME or not found.search(shown):
            return column
        return replace(column, shown=found.sub(put, shown, count=1))

    return [replace(frame, columns=[renamed(column, frame) for column in frame.columns]) for frame in frames]


def _sort(frames: Frames, options: Json) -> Frames:
    names = Names(frames)
    found = []
    for frame in frames:
        for rule in options.get("sort") or ():
            by = names.find(frame, rule.get("field"))
            if by is not None:
                frame = frame.rows(compute.order(by.values, descending=bool(rule.get("desc"))))  # noqa: PLW2901
        found.append(frame)
    return found


def _limit(frames: Frames, options: Json) -> Frames:
    most = max(0, int(options.get("limitField", 10) or 0))
    return [frame.rows(range(min(most, frame.length))) for frame in frames]


def _group(frames: Frames, options: Json) -> Frames:
    """One row for each group, with what is to be computed of the others."""
    given: Json = options.get("fields") or {}
    by = [name for name, each in given.items() if (each or {}).get("operation") == "groupby"]
    if not by:
        return frames
    names = Names(frames)
    found = []
    for frame in frames:
        keys = [column for column in frame.columns if {names.of(column, frame), column.name} & set(by)]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place in range(frame.length):
            groups.setdefault(tuple(key.values[place] for key in keys), []).append(place)
        columns = [replace(key, values=[key.values[places[0]] for places in groups.values()]) for key in keys]
        columns += _aggregated(frame, names, given, list(groups.values()))
        if keys:
            found.append(replace(frame, columns=columns))
    return found


def _aggregated(frame: Frame, names: Names, given: Json, groups: Sequence[Sequence[int]]) -> Iterator[Column]:
    for column in frame.columns:
        shown = names.of(column, frame)
        asked = given.get(shown) or given.get(column.name) or {}
        calculations = ["count"] if asked.get("operation") == "count" else asked.get("aggregations") or ()
        if asked.get("operation") in ("aggregate", "count"):
            for calculation in calculations:
                values = [[column.values[place] for place in places] for places in groups]
                yield compute.column(f"{shown} ({calculation})", calculation, values)


def _labels_to_fields(frames: Frames, options: Json) -> Frames:
    if options.get("mode") == "rows":
        return [_label_rows(frame, options) for frame in frames]
    wanted = set(options.get("keepLabels") or ())
    split = []
    for frame in frames:
        columns: list[Column] = []
        for column in frame.columns:
            labels = {name: text for name, text in column.labels.items() if not wanted or name in wanted}
            name = labels.pop(options.get("valueLabel") or "", column.name)
            columns += [Column(label, STRING, [text] * frame.length) for label, text in labels.items()]
            columns.append(Column(name, column.kind, column.values))
        split.append(Frame(frame.ref, columns))
    return join.merged(split)


def _label_rows(frame: Frame, options: Json) -> Frame:
    wanted = set(options.get("keepLabels") or ())
    labels = [
        (name, text) for column in frame.columns for name, text in column.labels.items() if not wanted or name in wanted
    ]
    return Frame(
        frame.ref,
        [
            Column("label", STRING, [name for name, _ in labels]),
            Column("value", STRING, [text for _, text in labels]),
        ],
        frame.name,
    )


TRANSFORMATIONS: dict[str, Callable[[Frames, Json], Frames]] = {
    "merge": lambda frames, _: join.merged(frames),
    "organize": _organize,
    "filterFieldsByName": _filter_by_name,
    **dict.fromkeys(("filterByRefId", "filterFramesByRefId"), _filter_by_query),
    "renameByRegex": _rename,
    "sortBy": _sort,
    "limit": _limit,
    "reduce": compute.reduce_frames,
    "groupBy": _group,
    **dict.fromkeys(("joinByField", "seriesToColumns"), join.joined),
    "labelsToFields": _labels_to_fields,
    "seriesToRows": lambda frames, _: join.rows_of_series(frames),
    "concatenate": lambda frames, _: join.concatenated(frames),
    "calculateField": compute.calculated,
    "filterByValue": compute.filtered,
}
