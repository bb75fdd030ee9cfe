"""Go's text/template, as far as line_format and label_format use it: actions, pipelines, variables, if, with, range.

Source: https://pkg.go.dev/text/template. A template is parsed once into closures. Errors carry Go's kind of message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from logstore.logql.errors import ParseError, QueryError
from logstore.logql.strings import unquote
from logstore.logql.units import parse_float
from logstore.pipeline.functions import FUNCTIONS, Function, show, truth, wrong_count
from logstore.pipeline.meter import Check, Meter, meter, never
from logstore.pipeline.templatetext import Token, bad, pieces, place_in, shown, tokens

_MOST_LOOPS = 10_000
_DEEPEST = 50  # blocks in blocks, and alternatives of one another
_MOST_LINKS = 100  # commands of one action, one behind the other
_MOST_TOLD = 1000  # characters of an error

Scope = dict[str, Any]  # "" is the dot, "$" the whole data, "$x" a variable, "line" and "time" the entry's own
Value = Callable[[Scope], Any]
Node = Callable[[Scope, list[str]], None]


class TemplateError(Exception):
    """A template failed on a line."""


class _Parser:
    """Recursive descent over the pieces of a template: text and actions in turn."""

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self.pieces = pieces(source)
        self.position = self.depth = self.ended = 0

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ParseError("invalid line template: nested too deeply")

    def block(self, *ends: str) -> tuple[list[Node], str]:
        """The nodes up to an action that begins with one of `ends`; that action's text."""
        self.deeper()
        nodes: list[Node] = []
        while self.position < len(self.pieces):
            kind, text, place = self.pieces[self.position]
            self.position += 1
            if kind == "text":
                nodes.append(_text(text))
                continue
            word = text.split(None, 1)[0] if text.split() else ""
            if word in ("end", "else"):
                if word not in ends:
                    raise bad(f"unexpected {{{{{word}}}}}")
                self.depth -= 1
                self.ended = place
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self.control(word, text[len(word) :], place + len(word)))
            else:
                nodes.append(self.action(text, place))
        if ends:
            raise bad("unexpected EOF")
        return nodes, ""

    def control(self, word: str, head: str, place: int) -> Node:
        body, end = self.block("end", "else")
        otherwise: list[Node] = []
        if end.startswith("else"):
            rest = end[4:].lstrip()
            inner = rest.split(None, 1)[0] if rest else ""
            if inner in ("if", "with"):
                self.deeper()
                start = self.ended + len(end) - len(rest) + len(inner)
                otherwise = [self.control(inner, rest[len(inner) :], start)]
                self.depth -= 1
            else:
                otherwise, _ = self.block("end")
        names, value = self.assignment(head, place, many=True)
        if word == "range":
            return _range(names, value, body, otherwise)
        return _branch(word, names, value, body, otherwise)

    def action(self, text: str, place: int) -> Node:
        names, value = self.assignment(text, place)
        if not names:

            def node(scope: Scope, out: list[str]) -> None:
                text = show(value(scope))
                meter().build(len(text))
                out.append(text)

            return node
        name = names[0]

        def assign(scope: Scope, _: list[str]) -> None:
            scope[name] = value(scope)

        return assign

    def assignment(self, text: str, place: int, *, many: bool = False) -> tuple[list[str], Value]:
        found = tokens(text, place)
        names: list[str] = []
        for index, (kind, token, _) in enumerate(found):
            if token in (":=", "=") and kind == "symbol":
                names = [word for what, word, _ in found[:index] if what == "variable"]
                found = found[index + 1 :]
                if not names or len(names) > (2 if many else 1):
                    raise bad(f"unexpected {token!r} in operand")
                break
        stream = _Stream(found, lambda place: place_in(self.source, self.name, place), self.name)
        value = stream.pipeline()
        if stream.peek() is not None:
            raise bad(f"unexpected {stream.peek()!r} in operand")
        return names, value


def _text(text: str) -> Node:
    def node(_: Scope, out: list[str]) -> None:
        meter().build(len(text))
        out.append(text)

    return node


class _Stream:
    """The tokens of one action, and how pipelines, commands and operands are made of them."""

    def __init__(self, tokens: list[Token], place: Callable[[int], str], name: str) -> None:
        self.tokens, self.place, self.name = tokens, place, name
        self.position = self.depth = self.links = 0

    def peek(self) -> str | None:
        return self.tokens[self.position].text if self.position < len(self.tokens) else None

    def pipeline(self) -> Value:
        self.depth += 1
        if self.depth > 30:
            raise ParseError("invalid line template: nested too deeply")
        value = self.command(None)
        while self.peek() == "|" and self.tokens[self.position].kind == "symbol":
            self.position += 1
            value = self.command(value)
            self.links += 1
            if self.links > _MOST_LINKS:
                raise ParseError("invalid line template: nested too deeply")
        self.depth -= 1
        return value

    def command(self, last: Value | None) -> Value:
        if self.position >= len(self.tokens):
            raise bad("missing value for command")
        start = self.position
        kind, token, _ = self.tokens[start]
        if kind == "word" and token not in ("true", "false", "nil"):
            self.position += 1
            function = FUNCTIONS.get(token)
            if function is None:
                raise bad(f'function "{token}" not defined')
            operands = self.operands()
            return self.call(function, operands, last, self.tokens[start : self.position])
        values = self.operands()
        if len(values) != 1 or last is not None:
            raise bad(f"non executable command in pipeline: {token}")
        return values[0]

    def operands(self) -> list[Value]:
        values = []
        while (token := self.peek()) is not None and not (
            self.tokens[self.position].kind == "symbol" and token in ("|", ")")
        ):
            values.append(self.operand())
        return values

    def operand(self) -> Value:
        kind, token, _ = self.tokens[self.position]
        self.position += 1
        if kind == "symbol" and token == "(":  # noqa: S105
            value = self.pipeline()
            if self.peek() != ")":
                raise bad("unclosed left paren")
            self.position += 1
            if self.position < len(self.tokens) and self.tokens[self.position].kind == "field":
                path = self.tokens[self.position].text[1:].split(".")
                self.position += 1
                return lambda scope: _walk(value(scope), path)
            return value
        if kind == "word" and token in FUNCTIONS:
            return self.call(FUNCTIONS[token], [], None, self.tokens[self.position - 1 : self.position])
        return _constant_or_variable(kind, token)

    def call(self, function: Function, arguments: list[Value], last: Value | None, command: list[Token]) -> Value:
        """A function's value; `last` is the one in front of a pipe."""
        values = arguments if last is None else [*arguments, last]
        name = command[0].text
        if name in ("and", "or"):
            return lambda scope: _lazy(name == "or", values, scope)

        def at(context: str) -> str:
            shown_name = json.dumps(self.name)
            return f"template: {self.place(command[0].place)}: executing {shown_name} at <{context}>:"[:_MOST_TOLD]

        if (problem := wrong_count(name, function, len(arguments), len(values))) is not None:
            return lambda _: _fail(f"{at(name)} {problem}")

        def call(scope: Scope) -> Any:
            counter = meter()
            counter.step()
            found = [value(scope) for value in values]
            try:
                result = function.run(scope, *found) if function.with_scope else function.run(*found)
                if isinstance(result, str):
                    counter.build(len(result))
            except (TemplateError, QueryError, MemoryError):
                raise
            except Exception as error:
                message = f"{at(shown(command))} error calling {name}: {error}"
                raise TemplateError(message[: 2 * _MOST_TOLD]) from None
            return result

        return call


def _fail(message: str) -> Any:
    raise TemplateError(message)


def _constant_or_variable(kind: str, token: str) -> Value:  # noqa: PLR0911
    if kind == "field":
        path = token[1:].split(".")
        if len(path) == 1:
            name = path[0]
            return lambda scope: _field(scope[""], name)
        return lambda scope: _walk(scope[""], path)
    if kind == "dot":
        return lambda scope: scope[""]
    if kind == "variable":
        name, *path = token.split(".")
        return lambda scope: _walk(_variable(scope, name), path)
    if kind == "string":
        text = unquote(token)
        return lambda _: text
    if kind == "number":
        number = _number(token)
        return lambda _: number
    if kind == "char":
        return lambda _: ord(token[1:-1][-1])
    constants = {"true": True, "false": False, "nil": None}
    if token not in constants:
        raise bad(f"unexpected {token!r} in operand")
    return lambda _: constants[token]


def _number(token: str) -> int | float:
    """Raises ParseError for what does not fit into 64 bits."""
    try:
        whole = "x" in token.lower() or not any(letter in token for letter in ".eE")
        number: int | float = int(token, 0) if whole else parse_float(token)
    except ValueError:
        raise bad(f"illegal number syntax: {token[:100]!r}") from None
    if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63:
        raise bad(f"integer overflow: {token[:100]}")
    return number


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise TemplateError(f'undefined variable "{name}"')
    return scope[name]


def _field(data: Any, name: str) -> Any:
    if isinstance(data, dict):
        return data.get(name, "")
    raise TemplateError(f"can't evaluate field {name} in type {type(data).__name__}")


def _walk(data: Any, path: list[str]) -> Any:
    for name in path:
        data = _field(data, name)
    return data


def _lazy(stop: bool, values: list[Value], scope: Scope) -> Any:
    result: Any = None
    for value in values:
        result = value(scope)
        if truth(result) == stop:
            break
    return result


def _run(nodes: list[Node], scope: Scope, out: list[str]) -> None:
    for node in nodes:
        node(scope, out)


def _branch(word: str, names: list[str], value: Value, body: list[Node], otherwise: list[Node]) -> Node:
    def branch(scope: Scope, out: list[str]) -> None:
        found = value(scope)
        inner = dict(scope) if names or word == "with" else scope
        for name in names:
            inner[name] = found
        if truth(found):
            if word == "with":
                inner[""] = found
            _run(body, inner, out)
        else:
            _run(otherwise, scope, out)

    return branch


def _range(names: list[str], value: Value, body: list[Node], otherwise: list[Node]) -> Node:
    def loop(scope: Scope, out: list[str]) -> None:
        found = value(scope)
        if isinstance(found, dict):
            items: list[tuple[Any, Any]] = sorted(found.items())
        elif isinstance(found, list | tuple):
            items = list(enumerate(found))
        elif isinstance(found, int) and not isinstance(found, bool):
            items = [(index, index) for index in range(min(found, _MOST_LOOPS))]
        elif not found:
            items = []
        else:
            raise TemplateError(f"range can't iterate over {show(found)}")
        for key, item in items[:_MOST_LOOPS]:
            meter().step()
            inner = {**scope, "": item}
            inner.update(zip(names, [item] if len(names) == 1 else [key, item], strict=False))
            _run(body, inner, out)
        if not items:
            _run(otherwise, scope, out)

    return loop


def compile_template(
    source: str, name: str = "line", check: Check = never
) -> Callable[[dict[str, str], bytes, int], str]:
    """A function from (labels, line, nanoseconds) to text. `check` is called often, and may raise to end it.

    Raises ParseError; the function raises TemplateError, or ValueError where the result is too long.
    """
    try:
        nodes, _ = _Parser(source, name).block()
    except ValueError as error:
        raise ParseError(f"invalid line template: {error}") from None
    at = Meter(check)

    def render(labels: dict[str, str], line: bytes, time: int) -> str:
        at.begin()
        out: list[str] = []
        _run(nodes, {"": labels, "$": labels, "line": line, "time": time}, out)
        text = "".join(out)
        at.build(len(text))
        return text

    return render
