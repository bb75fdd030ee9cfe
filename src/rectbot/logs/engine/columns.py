"""The fast way for JSON: the values of a few labels for all lines of a block, in one call of a C parser.

The lines are joined into one JSON array with a secret string between them, and decoded into objects that hold only the
wanted keys; all else is skipped without being built. Whatever is not plainly right (a line that is no object, a nested
key that would give the same label, a number whose text would be lost) makes the block go the slow way, line by line.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from rectbot.logs.logql import ast
from rectbot.logs.logql.regex import compile_
from rectbot.logs.pipeline.entry import ERROR, ERROR_DETAILS
from rectbot.logs.pipeline.labels import COMPARE, READERS, value_test
from rectbot.logs.store.chunk import Block
from rectbot.logs.store.index import Stream
from rectbot.logs.store.levels import LABEL, detect

_SECRET = secrets.token_hex(16)  # no line can know it
_BETWEEN = f',"{_SECRET}",'.encode()
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
Column = Sequence[Any]  # one value per line: text, number, bool, or None where the label is missing


class SlowError(Exception):
    """This block must be evaluated line by line."""


@lru_cache(maxsize=64)
def _decoder(names: tuple[str, ...]) -> tuple[Any, type, Any, int]:
    """A decoder, its class, a search for keys that it would miss, and how many fields only guard."""
    guards = sorted({name[:place] for name in names for place, letter in enumerate(name) if letter == "_" and place})
    keys = [*names, *(guard for guard in guards if guard not in names)]
    fields = [(f"f{number}", Any, None) for number in range(len(keys))]
    rename = {f"f{number}": key for number, key in enumerate(keys)}
    struct: Any = msgspec.defstruct("Line", fields, rename=rename, gc=False)
    odd = "|".join(name.replace("_", "[^A-Za-z0-9_]") for name in names if "_" in name)
    search = compile_(rf'(?:{odd})"\s*:').search if odd else None
    spaced = [text for name in names for text in (f'" {name}'.encode(), f'{name} "'.encode())]
    return msgspec.json.Decoder(list[struct | str]), struct, (search, spaced), len(keys) - len(names)


def _odd(joined: bytes, search: Any, spaced: list[bytes]) -> bool:
    """Whether some key may become one of the wanted names only when it is cleaned up."""
    if search is not None and search(joined) is not None:
        return True
    return any(text in joined and re.search(rb"\s*".join((re.escape(text), b":")), joined) for text in spaced)


def json_columns(joined: bytes, count: int, names: tuple[str, ...]) -> list[Column]:
    """The values of the labels in each of `count` lines, which were joined by `_BETWEEN`. Raises SlowError."""
    decoder, struct, odd, guards = _decoder(names)
    if _odd(joined, *odd):
        raise SlowError
    try:
        items = decoder.decode(b"[" + joined + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SlowError from None
    rows = items[::2]
    if len(rows) != count or set(map(type, rows)) != {struct} or set(items[1::2]) - {_SECRET}:
        raise SlowError
    for number in range(len(names), len(names) + guards):
        if any(isinstance(getattr(row, f"f{number}"), dict) for row in rows):
            raise SlowError
    return [_plain([getattr(row, field) for row in rows]) for field in (f"f{n}" for n in range(len(names)))]


def _plain(values: list[Any]) -> list[Any]:
    kinds = set(map(type, values))
    if dict in kinds or list in kinds:
        return [None if isinstance(value, dict | list) else value for value in values]
    return values


def texts(column: Column) -> Column:
    """The values as labels. Raises SlowError where a number's own spelling would be lost."""
    kinds = set(map(type, column))
    if float in kinds:
        raise SlowError
    if kinds <= {str, type(None)}:
        return column
    return [
        value
        if value is None or isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for value in column
    ]


class Columns:
    """The labels of a block's lines, looked up by name when they are needed."""

    def __init__(self, stream: Stream, block: Block, indexes: Sequence[int], *, json: bool) -> None:
        self.stream, self.block, self.indexes, self.json = stream, block, indexes, json
        self._found: dict[str, Column] = {}

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines themselves."""
        lines = self.block.lines()
        return lines if len(self.indexes) == len(lines) else [lines[index] for index in self.indexes]

    def _joined(self) -> bytes:
        block = self.block
        if len(self.indexes) == block.count and block.one_line_each:
            return block.text[:-1].replace(b"\n", _BETWEEN)
        return _BETWEEN.join(self.lines)

    def load(self, names: frozenset[str]) -> None:
        """Fetches these labels' columns. Raises SlowError."""
        metadata, labels = self.block.metadata, self.stream.labels
        in_metadata = {name for fields in metadata.values() for name in fields} if metadata else set()
        parsed = []
        for name in names:
            if name in (ERROR, ERROR_DETAILS):
                self._found[name] = [None] * len(self.indexes)
            elif name in labels and name not in in_metadata:
                self._found[name] = [labels[name]] * len(self.indexes)
            elif name == LABEL and name not in in_metadata:
                pairs = zip(self.indexes, self.lines, strict=True)
                self._found[name] = [detect(labels, metadata.get(index), line) for index, line in pairs]
            elif name in in_metadata or not self.json:
                if self.json:
                    raise SlowError
                self._found[name] = [metadata.get(index, {}).get(name) for index in self.indexes]
            elif name.endswith("_extracted") or not _NAME.fullmatch(name):
                raise SlowError
            else:
                parsed.append(name)
        if self.json:
            wanted = tuple(sorted(parsed)) or ("level",)
            self._found.update(zip(wanted, json_columns(self._joined(), len(self.indexes), wanted), strict=True))

    def constant(self, name: str) -> str | None:
        """The value that all lines have because their stream has it."""
        return self.stream.labels.get(name) if name not in (ERROR, ERROR_DETAILS) else None

    def __getitem__(self, name: str) -> Column:
        return self._found[name]


Mask = Callable[[Columns], list[bool]]


def mask(tree: ast.LabelCondition) -> tuple[Mask, frozenset[str]]:
    """A label filter over columns, and the labels that it needs. The mask raises SlowError."""
    if isinstance(tree, ast.Matcher):
        return _matcher_mask(tree), frozenset([tree.name])
    if isinstance(tree, ast.Comparison):
        return _comparison_mask(tree), frozenset([tree.name])
    (left, some), (right, others) = mask(tree.left), mask(tree.right)
    if tree.op == "and":
        return lambda at: [a and b for a, b in zip(left(at), right(at), strict=True)], some | others
    return lambda at: [a or b for a, b in zip(left(at), right(at), strict=True)], some | others


def _matcher_mask(tree: ast.Matcher) -> Mask:
    name, test, wanted = tree.name, value_test(tree), tree.value

    def apply(columns: Columns) -> list[bool]:
        column = texts(columns[name])
        if tree.op == "=" and wanted:
            return [value == wanted for value in column]
        known = {value: test(value or "") for value in set(column)}
        return [known[value] for value in column]

    return apply


def _comparison_mask(tree: ast.Comparison) -> Mask:
    if tree.kind == "ip":
        raise SlowError
    name, read, compare, bound = tree.name, READERS[tree.kind], COMPARE[tree.op], float(tree.value)
    plain = tree.kind == "number"

    def holds(value: Any) -> bool:
        if value is None:
            return False
        if plain and type(value) in (int, float):
            return compare(value, bound)
        if not isinstance(value, str):
            raise SlowError
        try:
            return compare(read(value), bound)
        except ValueError:
            raise SlowError from None

    def apply(columns: Columns) -> list[bool]:
        column = columns[name] if plain else texts(columns[name])
        return [holds(value) for value in column]

    return apply
