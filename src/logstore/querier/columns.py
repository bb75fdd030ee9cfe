"""The fast way for JSON: the values of a few labels for all lines of a block, in one call of a C parser.

The block is decoded into objects that hold only the wanted keys; all else is skipped without being built. Whatever is
not plainly right (a line that is no object, a key that is there twice or nested, a number whose text would be lost)
goes the slow way, line by line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec

from logstore.logql import ast
from logstore.logql.regex import byte_search
from logstore.pipeline import jsonscan
from logstore.pipeline.entry import ERROR, ERROR_DETAILS, with_metadata
from logstore.pipeline.labels import COMPARE, READERS, filter_test
from logstore.pipeline.parsers import two_objects
from logstore.store.chunk import Block
from logstore.store.index import Stream
from logstore.store.levels import FIELDS, LABEL, detect, detect_in_lines

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*[A-Za-z0-9]|[A-Za-z]")
_ESCAPED = byte_search(rb"\\u(?:00(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9aA])|[fF]{3}[dD])")  # letters, digits, U+FFFD
_FLAW = "\ufffd".encode()
Column = Sequence[Any]  # one value per line: text, number, bool, or None where the label is missing


class SlowError(Exception):
    """These lines must be evaluated one by one."""


@dataclass(frozen=True)
class _Key:
    """A label's name, and how to see that no other key of a document can give a label of that name."""

    name: str

    @cached_property
    def end(self) -> bytes:
        """How every such key ends, unless blanks follow; a nested key gives the last part of the name."""
        return self.name.rsplit("_", 1)[-1].encode()

    @cached_property
    def times(self) -> int:
        """How often the name itself holds that."""
        return self.name.encode().count(self.end)

    @cached_property
    def blanks_follow(self) -> Callable[[bytes], Any]:
        return byte_search(self.end + rb'(?:(?:[ \x80-\xff]|\\\w{1,5})+"[ \t\r\n]*|"[ \t\r\n]+):')

    @cached_property
    def minus_zero(self) -> Callable[[bytes], Any]:
        """Finds the number whose text would be lost."""
        return byte_search(rb'"' + self.name.encode() + rb'"\s*:\s*-0')

    def only(self, text: bytes, there: int) -> bool:
        """Whether the key's plain spelling, which is there so many times, is all there is of its kind."""
        if text.count(self.end) == there * self.times:
            return True
        return text.count(self.end + b'":') == there and self.blanks_follow(text) is None


@lru_cache(maxsize=64)
def _decoder(names: tuple[str, ...]) -> tuple[Any, list[_Key], list[Callable[[Any], Any]]]:
    fields = [(f"f{number}", Any, msgspec.UNSET) for number in range(len(names))]
    rename = {f"f{number}": name for number, name in enumerate(names)}
    struct: Any = msgspec.defstruct("Line", fields, rename=rename, gc=False)
    return msgspec.json.Decoder(struct), list(map(_Key, names)), [attrgetter(field[0]) for field in fields]


def _odd(text: bytes) -> bool:
    """Whether lines are not one object each, or letters are spelled in ways that searches would miss."""
    if two_objects(text) or (b"\\" in text and _ESCAPED(text) is not None):
        return True
    return not text.isascii() and _FLAW in text


def json_columns(text: bytes, count: int, names: tuple[str, ...]) -> list[Column]:
    """The values of the labels in `count` lines, each ended by the only newline it holds. Raises SlowError.

    With as many objects as lines and never two on one line, each line holds exactly one.
    """
    if _odd(text):
        raise SlowError
    decoder, keys, getters = _decoder(names)
    try:
        rows = decoder.decode_lines(text)
    except jsonscan.UNREADABLE:
        raise SlowError from None
    if len(rows) != count:
        raise SlowError
    columns = [list(map(getter, rows)) for getter in getters]
    for key, column in zip(keys, columns, strict=True):
        if not key.only(text, count - column.count(msgspec.UNSET)):
            raise SlowError
    return [_plain(key, column, text) for key, column in zip(keys, columns, strict=True)]


def _plain_line(line: bytes, names: tuple[str, ...]) -> bool:
    """Whether `json_columns` could do with this line."""
    if b"\n" in line or _odd(line):
        return False
    decoder, keys, getters = _decoder(names)
    try:
        row = decoder.decode(line)
    except jsonscan.UNREADABLE:
        return False
    pairs = zip(keys, getters, strict=True)
    return all(key.only(line, int(getter(row) is not msgspec.UNSET)) for key, getter in pairs)


def _plain(key: _Key, values: list[Any], text: bytes) -> list[Any]:
    kinds = set(map(type, values))
    if int in kinds and 0 in values and key.minus_zero(text) is not None:
        raise SlowError
    if kinds & {dict, list, msgspec.UnsetType}:
        return [None if isinstance(value, dict | list | msgspec.UnsetType) else value for value in values]
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

    def _text(self) -> bytes:
        """The lines, each ended by a newline. Raises SlowError if one holds another."""
        if len(self.indexes) == self.block.count and self.block.one_line_each:
            return self.block.text
        text = b"\n".join(self.lines) + b"\n"
        if not self.block.one_line_each and text.count(b"\n") != len(self.lines):
            raise SlowError
        return text

    def load(self, names: frozenset[str]) -> None:
        """Fetches these labels' columns. Raises SlowError."""
        metadata, labels = self.block.metadata, self.stream.labels
        in_metadata = self._in_metadata()
        for name in names - self._parsed(names):
            if name in (ERROR, ERROR_DETAILS):
                self._found[name] = [None] * len(self.indexes)
            elif name in in_metadata:
                if self.json or name.endswith("_extracted"):
                    raise SlowError
                self._found[name] = [metadata.get(index, {}).get(name) for index in self.indexes]
            elif name in labels:
                self._found[name] = [labels[name]] * len(self.indexes)
            elif name == LABEL:
                self._found[name] = self._levels()
            else:
                self._found[name] = [None] * len(self.indexes)
        if self.json:
            wanted = self._wanted(names)
            if not all(map(_NAME.fullmatch, wanted)) or any(name.endswith("_extracted") for name in wanted):
                raise SlowError
            self._found.update(zip(wanted, json_columns(self._text(), len(self.indexes), wanted), strict=True))

    def _levels(self) -> list[str]:
        labels, metadata = self.stream.labels, self.block.metadata
        if not metadata and not any(name in labels for name in FIELDS):
            with contextlib.suppress(SlowError):
                return detect_in_lines(self._text(), self.lines)
        pairs = zip(self.indexes, self.lines, strict=True)
        return [detect(labels, metadata.get(index), line) for index, line in pairs]

    def _in_metadata(self) -> set[str]:
        metadata = self.block.metadata
        if not metadata:
            return set()
        mine = self.indexes if isinstance(self.indexes, range) else set(self.indexes)
        pairs = (with_metadata(self.stream.labels, fields) for index, fields in metadata.items() if index in mine)
        return {name for fields in pairs for name in fields} - self.stream.labels.keys()

    def _parsed(self, names: frozenset[str]) -> frozenset[str]:
        """The names that only the line itself can give."""
        if not self.json:
            return frozenset()
        return names - {ERROR, ERROR_DETAILS, LABEL, *self.stream.labels, *self._in_metadata()}

    def _wanted(self, names: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(self._parsed(names))) or ("level",)  # a document must be looked at, or its error is missed

    def plain(self, names: frozenset[str]) -> list[bool]:
        """Which lines are worth the fast way, when it failed for all of them together."""
        wanted, metadata = self._wanted(names), self.block.metadata
        pairs = zip(self.indexes, self.lines, strict=True)
        return [index not in metadata and _plain_line(line, wanted) for index, line in pairs]

    def __getitem__(self, name: str) -> Column:
        return self._found[name]


Mask = Callable[[Columns], list[bool]]


def masks_of(stages: Sequence[ast.Stage]) -> list[tuple[Mask, frozenset[str]]] | None:
    """Label filters over columns, each with the labels that it needs; None where a stage is no such filter.

    A mask raises SlowError.
    """
    filters = [stage for stage in stages if isinstance(stage, ast.LabelFilter)]
    if len(filters) < len(stages) or any(_of_addresses(stage.condition) for stage in filters):
        return None
    return [_mask(stage.condition) for stage in filters]


def _of_addresses(tree: ast.LabelCondition) -> bool:
    """Whether IP addresses are compared, which is done line by line."""
    if isinstance(tree, ast.Combined):
        return _of_addresses(tree.left) or _of_addresses(tree.right)
    return isinstance(tree, ast.Comparison) and tree.kind == "ip"


def _mask(tree: ast.LabelCondition) -> tuple[Mask, frozenset[str]]:
    if isinstance(tree, ast.Matcher):
        return _matcher_mask(tree), frozenset([tree.name])
    if isinstance(tree, ast.Comparison):
        return _comparison_mask(tree), frozenset([tree.name])
    (left, some), (right, others) = _mask(tree.left), _mask(tree.right)
    if tree.op == "and":
        return lambda at: [a and b for a, b in zip(left(at), right(at), strict=True)], some | others
    return lambda at: [a or b for a, b in zip(left(at), right(at), strict=True)], some | others


def _matcher_mask(tree: ast.Matcher) -> Mask:
    name, test, wanted = tree.name, filter_test(tree), tree.value

    def apply(columns: Columns) -> list[bool]:
        column = texts(columns[name])
        if tree.op == "=" and wanted:
            return [value == wanted for value in column]
        known = {value: test(value or "") for value in set(column)}
        return [known[value] for value in column]

    return apply


def _comparison_mask(tree: ast.Comparison) -> Mask:
    name, read, compare, bound = tree.name, READERS[tree.kind], COMPARE[tree.op], float(tree.value)
    plain = tree.kind == "number"
    numbers = {int, float}

    def holds(value: Any) -> bool:
        if value is None:
            return False
        if plain and type(value) in numbers:
            return compare(value, bound)
        if not isinstance(value, str):
            raise SlowError
        try:
            return compare(read(value), bound)
        except ValueError:
            raise SlowError from None

    def apply(columns: Columns) -> list[bool]:
        column = columns[name] if plain else texts(columns[name])
        if plain and set(map(type, column)) <= numbers:
            return list(map(compare, column, repeat(bound)))
        return [holds(value) for value in column]

    return apply
