"""Making one frame of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rectbot.console.panels.frames import NUMBER, STRING, TIME, VALUE, Cell, Column, Frame, Names

Json = Mapping[str, Any]
Frames = list[Frame]
Key = tuple[Cell, ...]


def merged(frames: Frames) -> Frames:
    """Grafana's `merge`: rows that agree in the columns that all frames have, and differ in none, are one row."""
    frames = [frame for frame in frames if frame.columns]
    if len(frames) < 2:
        return frames
    kinds = {column.name: column.kind for frame in frames for column in frame.columns}
    common = [name for name in kinds if all(any(each.name == name for each in frame.columns) for frame in frames)]
    if not common:
        return frames
    found: list[dict[str, Cell]] = []
    by_key: dict[Key, list[dict[str, Cell]]] = {}
    for frame in frames:
        for place in range(frame.length):
            row = {each.name: each.values[place] for each in frame.columns}
            alike = by_key.setdefault(tuple(row[name] for name in common), [])
            home = next((other for other in alike if _agree(other, row)), None)
            if home is None:
                alike.append(row)
                found.append(row)
            else:
                home.update(row)
    columns = [Column(name, kind, [row.get(name) for row in found]) for name, kind in kinds.items()]
    return [Frame(frames[0].ref, columns)]


def _agree(one: Mapping[str, Cell], other: Mapping[str, Cell]) -> bool:
    return all(one.get(name) is None or one[name] == value for name, value in other.items())


def joined(frames: Frames, options: Json) -> Frames:
    """Side by side, by a column that all have; without one by the time."""
    names, wanted, inner = Names(frames), options.get("byField"), options.get("mode") == "inner"
    sides = []
    for frame in frames:
        key = next((each for each in frame.columns if _is_key(each, names.of(each, frame), wanted)), None)
        if key is not None:
            sides.append((frame, key))
    if not sides:
        return frames
    keys = dict.fromkeys(value for _, key in sides for value in key.values)
    if inner:
        keys = {value: None for value in keys if all(value in key.values for _, key in sides)}
    order = sorted(keys, key=_place) if sides[0][1].kind == TIME else list(keys)
    columns = [replace(sides[0][1], values=order)]
    for frame, key in sides:
        at = {value: place for place, value in enumerate(key.values)}
        for column in frame.columns:
            if column is not key:
                values = [column.values[at[value]] if value in at else None for value in order]
                columns.append(replace(column, values=values))
    return [Frame(frames[0].ref, columns)]


def _is_key(column: Column, shown: str, wanted: str | None) -> bool:
    return column.kind == TIME if not wanted else wanted in (shown, column.name)


def _place(value: Cell) -> tuple[bool, float]:
    return (value is None, value if isinstance(value, float) else 0.0)


def rows_of_series(frames: Frames) -> Frames:
    """One below another, with a column that names the series; the newest first."""
    names = Names(frames)
    rows: list[tuple[Cell, str, Cell]] = []
    for frame in frames:
        time = next((each for each in frame.columns if each.kind == TIME), None)
        values = next((each for each in frame.columns if each.kind == NUMBER), None)
        if time is None or values is None:
            return frames
        name = frame.name or names.of(values, frame)
        rows += [(moment, name, value) for moment, value in zip(time.values, values.values, strict=True)]
    rows.sort(key=lambda row: _place(row[0]), reverse=True)
    columns = [
        Column("Time", TIME, [row[0] for row in rows]),
        Column("Metric", STRING, [row[1] for row in rows]),
        Column(VALUE, NUMBER, [row[2] for row in rows]),
    ]
    return [Frame(frames[0].ref if frames else "", columns)] if rows else frames


def concatenated(frames: Frames) -> Frames:
    """All columns beside each other, row by row; short ones end earlier."""
    longest = max((frame.length for frame in frames), default=0)
    columns = [
        replace(column, values=[*column.values, *[None] * (longest - len(column.values))])
        for frame in frames
        for column in frame.columns
    ]
    return [Frame(frames[0].ref, columns)] if frames else frames


def stacked(frames: Sequence[Frame]) -> Frame:
    """What a table shows of several frames: with the labels as columns, and rows that agree as one."""
    if len(frames) == 1:
        return frames[0]
    split = []
    for frame in frames:
        columns: list[Column] = []
        for column in frame.columns:
            columns += [Column(name, STRING, [text] * frame.length) for name, text in column.labels.items()]
            columns.append(replace(column, labels={}, shown=column.shown if not column.labels else ""))
        split.append(Frame(frame.ref, columns))
    found = merged(split)
    return found[0] if found else Frame("", [])
