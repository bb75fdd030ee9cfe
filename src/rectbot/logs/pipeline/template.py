"""Go's text/template, as far as line_format and label_format use it: actions, pipelines, variables, if, with, range.

Source: https://pkg.go.dev/text/template. A template is parsed once into closures. Errors carry Go's kind of message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rectbot.logs.logql.errors import ParseError
from rectbot.logs.logql.strings import unquote
from rectbot.logs.pipeline.functions import FUNCTIONS, Function, show, truth

_ACTION = re.compile(
    r"\{\{(?:-(?=\s))?((?:`[^`]*`|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|/\*.*?\*/|[^}\"'`]|\}(?!\}))*)\}\}", re.DOTALL
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<char>'(?:[^'\\]|\\.)')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))
    |(?P<field>(?:\.[A-Za-z_]\w*)+)|(?P<variable>\$\w*(?:\.[A-Za-z_]\w*)*)|(?P<dot>\.)
    |(?P<word>[A-Za-z_]\w*)|(?P<symbol>:=|=|\||\(|\)|,))""",
    re.VERBOSE,
)
_MOST_OUTPUT = 1 << 20  # characters of one line
_MOST_LOOPS = 10_000

Scope = dict[str, Any]  # "" is the dot, "$" the whole data, "$x" a variable, "line" and "time" the entry's own
Value = Callable[[Scope], Any]
Node = Callable[[Scope, list[str]], None]


class TemplateError(Exception):
    """A template failed on a line."""


class _Parser:
    """Recursive descent over the pieces of a template: text and actions in turn."""

    def __init__(self, source: str) -> None:
        self.pieces = _split(source)
        self.position = 0
        self.depth = 0

    def block(self, *ends: str) -> tuple[list[Node], str]:
        """The nodes up to an action that begins with one of `ends`; that action's text."""
        self.depth += 1
        if self.depth > 50:
            raise ParseError("invalid line template: nested too deeply")
        nodes: list[Node] = []
        while self.position < len(self.pieces):
            kind, text = self.pieces[self.position]
            self.position += 1
            if kind == "text":
                nodes.append(_text(text))
                continue
            word = text.split(None, 1)[0] if text.split() else ""
            if word in ("end", "else"):
                if word not in ends:
                    raise ParseError(f"invalid line template: template: line:1: unexpected {{{{{word}}}}}")
                self.depth -= 1
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self.control(word, text[len(word) :].strip()))
            elif not text.startswith("/*"):
                nodes.append(_action(text))
        if ends:
            raise ParseError("invalid line template: template: line:1: unexpected EOF")
        return nodes, ""

    def control(self, word: str, head: str) -> Node:
        body, end = self.block("end", "else")
        otherwise: list[Node] = []
        if end.startswith("else"):
            rest = end[4:].strip()
            inner = rest.split(None, 1)[0] if rest else ""
            if inner in ("if", "with"):
                otherwise = [self.control(inner, rest[len(inner) :].strip())]
            else:
                otherwise, _ = self.block("end")
        names, value = _assignment(head, many=True)
        if word == "range":
            return _range(names, value, body, otherwise)
        return _branch(word, names, value, body, otherwise)


def _split(source: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip()
        if start < 0:
            pieces.append(("text", text))
            return pieces
        match = _ACTION.match(source, start)
        if match is None:
            raise ParseError("invalid line template: template: line:1: unclosed action")
        body = match[1]
        if source.startswith("{{- ", start) or re.match(r"\{\{-\s", source[start : start + 4]):
            text = text.rstrip()
        trim = bool(re.search(r"\s-\Z", body))
        if trim:
            body = body[:-1]
        pieces += [("text", text), ("action", body.strip())]
        position = match.end()


def _text(text: str) -> Node:
    return lambda _, out: out.append(text)


def _action(text: str) -> Node:
    names, value = _assignment(text)
    if not names:
        return lambda scope, out: out.append(show(value(scope)))
    name = names[0]

    def assign(scope: Scope, _: list[str]) -> None:
        scope[name] = value(scope)

    return assign


def _assignment(text: str, *, many: bool = False) -> tuple[list[str], Value]:
    tokens = _tokens(text)
    names: list[str] = []
    for index, (kind, token) in enumerate(tokens):
        if token in (":=", "=") and kind == "symbol":
            names = [word for what, word in tokens[:index] if what == "variable"]
            tokens = tokens[index + 1 :]
            if not names or len(names) > (2 if many else 1):
                raise ParseError(f"invalid line template: template: line:1: unexpected {token!r} in operand")
            break
    stream = _Stream(tokens)
    value = stream.pipeline()
    if stream.peek() is not None:
        raise ParseError(f"invalid line template: template: line:1: unexpected {stream.peek()!r} in operand")
    return names, value


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ParseError(f"invalid line template: template: line:1: unexpected {text[position]!r} in operand")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Stream:
    """The tokens of one action, and how pipelines, commands and operands are made of them."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def peek(self) -> str | None:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else None

    def pipeline(self) -> Value:
        self.depth += 1
        if self.depth > 30:
            raise ParseError("invalid line template: nested too deeply")
        value = self.command(None)
        while self.peek() == "|" and self.tokens[self.position][0] == "symbol":
            self.position += 1
            value = self.command(value)
        self.depth -= 1
        return value

    def command(self, last: Value | None) -> Value:
        if self.position >= len(self.tokens):
            raise ParseError("invalid line template: template: line:1: missing value for command")
        kind, token = self.tokens[self.position]
        if kind == "word" and token not in ("true", "false", "nil"):
            self.position += 1
            function = FUNCTIONS.get(token)
            if function is None:
                raise ParseError(f'invalid line template: template: line:1: function "{token}" not defined')
            return _call(token, function, self.operands(), last)
        values = self.operands()
        if len(values) != 1 or last is not None:
            raise ParseError(f"invalid line template: template: line:1: non executable command in pipeline: {token}")
        return values[0]

    def operands(self) -> list[Value]:
        values = []
        while (token := self.peek()) is not None and not (
            self.tokens[self.position][0] == "symbol" and token in ("|", ")")
        ):
            values.append(self.operand())
        return values

    def operand(self) -> Value:
        kind, token = self.tokens[self.position]
        self.position += 1
        if kind == "symbol" and token == "(":  # noqa: S105
            value = self.pipeline()
            if self.peek() != ")":
                raise ParseError("invalid line template: template: line:1: unclosed left paren")
            self.position += 1
            if self.position < len(self.tokens) and self.tokens[self.position][0] == "field":
                path = self.tokens[self.position][1][1:].split(".")
                self.position += 1
                return lambda scope: _walk(value(scope), path)
            return value
        if kind == "word" and token in FUNCTIONS:
            return _call(token, FUNCTIONS[token], [], None)
        return _constant_or_variable(kind, token)


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
        number: int | float = float(token) if re.search(r"[.eE]", token) and "x" not in token.lower() else int(token, 0)
        return lambda _: number
    if kind == "char":
        return lambda _: ord(token[1:-1][-1])
    constants = {"true": True, "false": False, "nil": None}
    if token not in constants:
        raise ParseError(f"invalid line template: template: line:1: unexpected {token!r} in operand")
    return lambda _: constants[token]


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


def _call(name: str, function: Function, arguments: list[Value], last: Value | None) -> Value:
    values = arguments if last is None else [*arguments, last]
    if name in ("and", "or"):
        return lambda scope: _lazy(name == "or", values, scope)

    def call(scope: Scope) -> Any:
        try:
            if function.with_scope:
                return function.run(scope, *[value(scope) for value in values])
            return function.run(*[value(scope) for value in values])
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(
                f'template: line:1: executing "line" at <{name}>: error calling {name}: {error}'
            ) from None

    return call


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
            inner = {**scope, "": item}
            inner.update(zip(names, [item] if len(names) == 1 else [key, item], strict=False))
            _run(body, inner, out)
            if sum(map(len, out[-64:])) > _MOST_OUTPUT:
                raise TemplateError("the output is too long")
        if not items:
            _run(otherwise, scope, out)

    return loop


def compile_template(source: str, name: str = "line") -> Callable[[dict[str, str], bytes, int], str]:
    """A function from (labels, line, nanoseconds) to text. Raises ParseError; the function raises TemplateError."""
    try:
        nodes, _ = _Parser(source).block()
    except ValueError as error:
        raise ParseError(f"invalid line template: {error}") from None

    def render(labels: dict[str, str], line: bytes, time: int) -> str:
        out: list[str] = []
        _run(nodes, {"": labels, "$": labels, "line": line, "time": time}, out)
        text = "".join(out)
        if len(text) > _MOST_OUTPUT:
            raise TemplateError("the output is too long")
        return text

    return render
