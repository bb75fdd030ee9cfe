"""Regular expressions of label filters, which Loki simplifies before it runs them, in ways that can be seen.

`a|b` compares with each text, but `a.*`, `.*a` and `a(b|c.*)` only ask whether the value holds the text, wherever. What
does not consist of text, `.*`, `.+` and alternatives is left as it is, and must match the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import Literal

from logstore.logql.regex import compile_

Test = Callable[[str], bool]
_TOKEN = re.compile(
    r"(\.\*\??)|(\.\+\??)|(\((?:\?:|\?P?<\w+>)?)|(\))|(\|)|\\([^\w\s])|([^\\.*+?()|\[\]{}^$])", re.ASCII
)
_REPEATED = re.compile(r"[*+?{]")


@dataclass(frozen=True)
class _Node:
    kind: Literal["text", "any", "some", "all", "either"]  # any: .*, some: .+, all: one after the other
    text: str = ""
    parts: tuple[_Node, ...] = ()


_EMPTY = _Node("all")


class _OtherError(Exception):
    """The expression has something that is not simplified."""


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.position = pattern, 0

    def either(self, *, nested: bool) -> _Node:
        """Alternatives, up to the end or a closing parenthesis."""
        branches: list[list[_Node]] = [[]]
        while self.position < len(self.pattern):
            token = _TOKEN.match(self.pattern, self.position)
            if token is None:
                raise _OtherError
            self.position = token.end()
            any_, some, opening, closing, bar, escaped, plain = token.groups()
            here = branches[-1]
            if closing:
                if not nested:
                    raise _OtherError
                break
            if bar:
                branches.append([])
            elif any_ or some:
                here.append(_Node("any" if any_ else "some"))
            elif opening:
                here.append(self.either(nested=True))
                self._unrepeated()
            else:
                self._unrepeated()
                if here and here[-1].kind == "text":
                    here[-1] = _Node("text", here[-1].text + (escaped or plain))
                else:
                    here.append(_Node("text", escaped or plain))
        return _alternatives([_joined(branch) for branch in branches])

    def _unrepeated(self) -> None:
        if _REPEATED.match(self.pattern, self.position):
            raise _OtherError


def _joined(parts: list[_Node]) -> _Node:
    return parts[0] if len(parts) == 1 else _Node("all", parts=tuple(parts))


def _leading(node: _Node) -> str:
    """The text that a node begins with."""
    if node.kind == "text":
        return node.text
    return _leading(node.parts[0]) if node.kind == "all" and node.parts else ""


def _common(one: str, other: str) -> str:
    """What both begin with."""
    pairs = zip(one, other, strict=False)
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _without(node: _Node, count: int) -> _Node:
    if node.kind == "text":
        return _Node("text", node.text[count:]) if len(node.text) > count else _EMPTY
    rest = _without(node.parts[0], count)
    return _joined([*([] if rest == _EMPTY else [rest]), *node.parts[1:]])


def _alternatives(branches: list[_Node]) -> _Node:
    """Neighbours with a common beginning share it, as in Go's parser; single letters make a set, which is no text."""
    found: list[_Node] = []
    position = 0
    while position < len(branches):
        prefix, end = _leading(branches[position]), position + 1
        while end < len(branches) and (common := _common(prefix, _leading(branches[end]))):
            prefix, end = common, end + 1
        if end - position == 1:
            found.append(branches[position])
        else:
            rest = _alternatives([_without(branch, len(prefix)) for branch in branches[position:end]])
            found.append(_joined([_Node("text", prefix), rest]))
        position = end
    letters = [node.kind == "text" and len(node.text) == 1 for node in found]
    if any(a and b for a, b in pairwise(letters)):
        raise _OtherError
    return found[0] if len(found) == 1 else _Node("either", parts=tuple(found))


def _tests(node: _Node, fold: Callable[[str], str]) -> list[Test]:
    """Of which one must hold. Raises _OtherError."""
    if node.kind == "either":
        return [test for part in node.parts for test in _tests(part, fold)]
    if node.kind == "text":
        wanted = fold(node.text)
        return [lambda value: fold(value) == wanted]
    if node.kind == "any" or node == _EMPTY:
        return [lambda _: True]
    if node.kind == "some":
        return [bool]
    return [_holding(text, fold) for text in _held(node, "")]


def _holding(text: str, fold: Callable[[str], str]) -> Test:
    wanted = fold(text)
    return lambda value: wanted in fold(value)


def _held(node: _Node, base: str) -> list[str]:
    """The texts of which one must be somewhere in the value, for parts that follow one another."""
    parts = [part for part in node.parts if part != _EMPTY]
    texts: list[str] = []
    known = bool(base)
    if len(parts) > 3 or sum(part.kind == "text" for part in parts) > 1:
        raise _OtherError
    for part in parts:
        if part.kind == "text":
            base, known = base + part.text, True
        elif part.kind == "either" and known:
            texts += [text for branch in part.parts for text in _branch(branch, base)]
        elif part.kind != "any":
            raise _OtherError
    if not texts and not known:
        raise _OtherError
    return texts or [base]


def _branch(node: _Node, base: str) -> list[str]:
    if node == _EMPTY or node.kind == "any":
        return [base]
    if node.kind == "text":
        return [base + node.text]
    if node.kind == "all":
        return _held(node, base)
    raise _OtherError


@lru_cache(maxsize=256)
def label_test(pattern: str) -> Test:
    """Whether a label's value matches, as a label filter sees it. Raises ParseError."""
    compile_(pattern)
    folded = pattern.startswith("(?i)")
    try:
        node = _Reader(pattern[4:] if folded else pattern).either(nested=False)
        tests = _tests(node, str.casefold if folded else str)
    except _OtherError:
        search = compile_(f"^(?:{pattern})$").search
        return lambda value: search(value.encode(errors="surrogatepass")) is not None
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)
