"""The functions of templates: Go's built-in ones, Loki's, and those of Sprig that Loki admits.

Sources: https://pkg.go.dev/text/template#hdr-Functions and https://grafana.com/docs/loki/latest/query/template_functions/
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import decimal
import html
import inspect
import json
import math
import operator
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from logstore.logql.regex import compile_
from logstore.logql.units import duration_seconds, format_number, parse_float, parse_size
from logstore.pipeline import gotime
from logstore.pipeline.meter import MOST, meter

# Go shows each byte that is no UTF-8 as a sign of its own.
codecs.register_error("each-byte", lambda error: ("\ufffd", error.start + 1))  # type: ignore[attr-defined]
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1  # of Go's int64
_LONGEST_NUMBER = 100  # characters of a whole number


@dataclass(frozen=True)
class Function:
    """`run(*arguments)`; with `with_scope` the scope of the template comes first."""

    run: Callable[..., Any]
    with_scope: bool = False


def show(value: Any) -> str:  # noqa: PLR0911
    """A value as a template prints it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, gotime.Time):
        return gotime.default_format(value)
    if isinstance(value, dict | list):
        meter().step(1 + len(value))
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def go_float(value: float) -> str:
    """A float as Go's %v prints it: the shortest digits that read back, an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value) or math.isinf(value) or 1e-4 <= abs(value) < 1e6 or value == 0:
        return format_number(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    first, *rest = map(str, digits)
    power = exponent + len(rest)
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{''.join(rest)}e{power:+03d}"


def truth(value: Any) -> bool:
    """Whether a value is not its type's zero."""
    return bool(value)


def _wrapped(number: int) -> int:
    """As 64 bits hold it: what is too large begins again at the other end."""
    return ((number - _LOW) & ((1 << 64) - 1)) + _LOW


def _int(value: Any) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and _LOW <= value <= _HIGH else _LOW
    text = str(value)
    if len(text) > _LONGEST_NUMBER:
        return 0
    try:
        number = int(text, 0)
    except ValueError:
        whole = re.fullmatch(r"([+-]?\d++)\.0*+", text)
        number = int(whole[1]) if whole else 0
    return number if _LOW <= number <= _HIGH else 0


def _product(*values: Any) -> int:
    result = 1
    for value in values:
        result = _wrapped(result * _int(value))
    return result


def _float(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    try:
        return parse_float(str(value))
    except ValueError:
        return 0.0


def _divide(a: Any, b: Any) -> int:
    divisor = _int(b)
    if divisor == 0:
        raise ValueError("runtime error: integer divide by zero")
    quotient = abs(_int(a)) // abs(divisor)
    return _wrapped(quotient if (_int(a) < 0) == (divisor < 0) else -quotient)


def _decimal(operation: Callable[[decimal.Decimal, decimal.Decimal], decimal.Decimal]) -> Callable[..., float]:
    """A function over all its arguments, in decimal, so that 0.1 and 0.2 make 0.3: as Sprig does it."""

    def apply(first: Any, *rest: Any) -> float:
        numbers = [_float(value) for value in (first, *rest)]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("a number was expected")
        result, *others = (decimal.Decimal(repr(number)) for number in numbers)
        with decimal.localcontext(decimal.Context(prec=400)):
            for other in others:
                result = operation(result, other)
        return float(result)

    return apply


def _quotient(a: decimal.Decimal, b: decimal.Decimal) -> decimal.Decimal:
    """To 16 places."""
    if not b:
        raise ValueError("decimal division by 0")
    return (a / b).quantize(decimal.Decimal("1e-16"), decimal.ROUND_HALF_UP)


def _modulo(a: Any, b: Any) -> int:
    return _wrapped(_int(a) - _divide(a, b) * _int(b))


def _round(value: Any, places: Any, half: Any = 0.5) -> float:
    scale = 10.0 ** max(-300, min(_int(places), 300))
    scaled = _float(value) * scale
    if not math.isfinite(scaled):
        return scaled / scale
    fraction, _ = math.modf(scaled)  # has the number's sign, as in Sprig: what is negative is rounded down
    return (math.ceil(scaled) if fraction >= _float(half) else math.floor(scaled)) / scale


def _whole(step: Callable[[float], int]) -> Callable[[Any], float]:
    def apply(value: Any) -> float:
        number = _float(value)
        return float(step(number)) if math.isfinite(number) else number

    return apply


def _trunc(length: Any, text: Any) -> str:
    count, raw = _int(length), show(text).encode()
    if count < 0:
        return raw[count:].decode(errors="each-byte") if len(raw) + count > 0 else show(text)
    return raw[:count].decode(errors="each-byte")


def _substr(start: Any, end: Any, text: Any) -> str:
    first, last, raw = _int(start), _int(end), show(text).encode()
    if first < 0:
        return raw[: max(last, 0)].decode(errors="each-byte")
    return (raw[first:] if last < 0 or last > len(raw) else raw[first:last]).decode(errors="each-byte")


_REFERENCE = re.compile(r"\$\$|\$\{(\w++)\}|\$(\w++)")


@lru_cache(maxsize=64)
def _replacement(text: str) -> tuple[str | tuple[str | int], ...]:
    """A replacement's texts, and its references to groups, each in a tuple."""
    parts: list[str | tuple[str | int]] = []
    position = 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[position : found.start()])
        name = found[1] or found[2]
        if name is None:
            parts.append("$")
        elif name.isascii() and name.isdigit():
            parts.append((int(name) if len(name) < 9 else 1 << 30,))
        else:
            parts.append((name,))
        position = found.end()
    return tuple(part for part in (*parts, text[position:]) if part)


def expand(match: Any, template: str) -> str:
    """What a replacement text means for one match."""
    found: list[str] = []
    for part in _replacement(template):
        if isinstance(part, str):
            found.append(part)
            continue
        with contextlib.suppress(IndexError, KeyError):
            found.append(match.group(part[0]) or "")
    meter().step(1 + len(found))
    return "".join(found)


def _substituted(pattern: str, text: str, replaced: Callable[[Any], str]) -> str:
    """What a pattern matches, replaced; bounded while it grows."""
    at = meter()
    at.build(len(text))

    def one(match: Any) -> str:
        new = replaced(match)
        at.build(len(new))
        return new

    return str(compile_(pattern).sub(one, text))


def replace_all(pattern: str, text: str, replacement: str) -> str:
    """Go's ReplaceAllString: $1 and ${name} in the replacement stand for groups."""
    return _substituted(pattern, text, lambda match: expand(match, replacement))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    places = text.count(old)
    if 0 <= count < places:
        places = count
    meter().build(max(0, len(text) + places * (len(new) - len(old))))
    return text.replace(old, new, min(count, places))


def _count(pattern: str, text: str) -> int:
    number = 0
    for number, _ in enumerate(compile_(pattern).finditer(text), start=1):
        if not number % 64:
            meter().step(16)
    return number


def _strip(text: str, cut: str, *, left: bool = True, right: bool = True) -> str:
    """Without these characters at its ends; each is looked up, so that many of them cost no more than few."""
    letters = set(cut)
    start, end = 0, len(text)
    while left and start < end and text[start] in letters:
        start += 1
    while right and end > start and text[end - 1] in letters:
        end -= 1
    return text[start:end]


_VERB = re.compile(r"%([-+ #0]*+)(\d*+)(?:\.(\d*+))?+([a-zA-Z%])")


def _format(layout: Any, *arguments: Any) -> str:
    values = list(arguments)
    used = 0

    def verb(match: re.Match[str]) -> str:
        nonlocal used
        flags, width, precision, kind = match.groups()
        if kind == "%":
            return "%"
        if used >= len(values):
            return f"%!{kind}(MISSING)"
        value = values[used]
        used += 1
        at.build(wide := min(int(width[:9] or 0), 2 * MOST))  # refused before it is made
        made = _verb(flags, wide, precision and precision[:9], kind, value)
        at.build(len(made))
        return made

    at = meter()
    text = _VERB.sub(verb, show(layout))
    extra = ", ".join(f"{_type_name(value)}={show(value)}" for value in values[used:])
    return f"{text}%!(EXTRA {extra})" if extra else text


def _type_name(value: Any) -> str:
    names = {str: "string", int: "int", float: "float64", bool: "bool"}
    return names.get(type(value), type(value).__name__)


def _print(*values: Any) -> str:
    """With blanks between what is no text."""
    at, shown = meter(), list[str]()
    for before, value in zip(("", *values), values, strict=False):
        shown += ["" if isinstance(before, str) or isinstance(value, str) else " ", show(value)]
        at.build(len(shown[-1]))
    return "".join(shown)


def _println(*values: Any) -> str:
    at, shown = meter(), list[str]()
    for value in values:
        shown.append(show(value))
        at.build(len(shown[-1]))
    return " ".join(shown) + "\n"


def _verb(flags: str, width: int, precision: str | None, kind: str, value: Any) -> str:
    digits = min(int(precision or 0), 1000) if precision is not None else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in "sv":
        text = show(value) if digits is None or kind == "v" else show(value)[:digits]
    elif kind == "q":
        text = json.dumps(show(value), ensure_ascii=False)
    elif kind in "dxXob" and isinstance(value, int):
        text = format(value, ("+" if "+" in flags else "") + kind)
    elif kind in "feEgG" and isinstance(value, float):
        default = 6 if kind in "feE" else None
        places = digits if digits is not None else default
        text = go_float(value) if places is None else format(value, f"{'+' if '+' in flags else ''}.{places}{kind}")
    elif kind in "xX" and isinstance(value, str):
        text = value.encode().hex() if kind == "x" else value.encode().hex().upper()
    elif kind == "t" and isinstance(value, bool):
        text = show(value)
    elif kind in "cU" and isinstance(value, int):
        text = chr(value) if kind == "c" else f"U+{value:04X}"
    else:
        return f"%!{kind}({_type_name(value)}={show(value)})"
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and number:
        sign = text[0] if text[:1] in "+-" and text else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _index(data: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(data, dict):
            data = data.get(key, "")
        elif isinstance(data, str):
            data = data.encode()[_int(key)]
        else:
            data = data[_int(key)]
    return data


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _align(left: bool) -> Callable[[Any, Any], str]:
    def align(count: Any, text: Any) -> str:
        width, value = max(0, _int(count)), show(text)
        meter().build(width)
        if left:
            return value[:width].ljust(width)
        return value[len(value) - width :] if len(value) >= width else value.rjust(width)

    return align


def _b64decode(text: Any) -> str:
    shown = show(text)
    try:
        return base64.b64decode(shown, validate=True).decode(errors="each-byte")
    except ValueError:
        good = re.match(r"(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{0,3}", shown)
        return f"illegal base64 data at input byte {good.end() if good else 0}"


def _indent(count: Any, text: Any) -> str:
    width, shown = max(0, _int(count)), show(text)
    meter().build(len(shown) + width * (1 + shown.count("\n")))
    pad = " " * width
    return pad + shown.replace("\n", "\n" + pad)


def _repeat(count: Any, text: Any) -> str:
    times, shown = max(0, _int(count)), show(text)
    meter().build(times * len(shown))
    return shown * times if shown else ""


def _slice(data: Any, *ends: Any) -> Any:
    low, high = _int(ends[0]) if ends else 0, _int(ends[1]) if len(ends) > 1 else len(data)
    if not 0 <= low <= high <= len(data):
        raise ValueError(f"index out of range: {high}")
    return data[low:high]


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(a: Any, b: Any) -> bool:
        if isinstance(a, str) != isinstance(b, str):
            raise ValueError("incompatible types for comparison")
        return test(a, b)

    return compare


def _seconds(text: Any) -> float:
    return duration_seconds(show(text))


_PLAIN: dict[str, Callable[..., Any]] = {
    # Go's own
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "len": lambda value: len(value.encode() if isinstance(value, str) else value),
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": _println,
    "printf": _format,
    "html": lambda value: html.escape(show(value)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "urlquery": lambda value: urllib.parse.quote_plus(show(value)),
    "js": lambda value: json.dumps(show(value), ensure_ascii=False)[1:-1].replace("'", "\\'"),
    "eq": _equal,
    "ne": lambda a, b: a != b,
    "lt": _compare(lambda a, b: a < b),
    "le": _compare(lambda a, b: a <= b),
    "gt": _compare(lambda a, b: a > b),
    "ge": _compare(lambda a, b: a >= b),
    # Loki's
    "ToLower": lambda text: show(text).lower(),
    "ToUpper": lambda text: show(text).upper(),
    "Replace": lambda text, old, new, count: _replace(show(text), show(old), show(new), _int(count)),
    "Trim": lambda text, cut: _strip(show(text), show(cut)),
    "TrimLeft": lambda text, cut: _strip(show(text), show(cut), right=False),
    "TrimRight": lambda text, cut: _strip(show(text), show(cut), left=False),
    "TrimPrefix": lambda text, prefix: show(text).removeprefix(prefix),
    "TrimSuffix": lambda text, suffix: show(text).removesuffix(suffix),
    "TrimSpace": lambda text: show(text).strip(),
    "regexReplaceAll": lambda pattern, text, new: replace_all(pattern, show(text), show(new)),
    "regexReplaceAllLiteral": lambda pattern, text, new: _substituted(pattern, show(text), lambda _: show(new)),
    "count": lambda pattern, text: _count(pattern, show(text)),
    "urldecode": lambda text: urllib.parse.unquote_plus(show(text)),
    "urlencode": lambda text: urllib.parse.quote_plus(show(text)),
    "bytes": lambda text: float(parse_size(show(text))),
    "duration": _seconds,
    "duration_seconds": _seconds,
    "alignLeft": _align(left=True),
    "alignRight": _align(left=False),
    "b64dec": _b64decode,
    "b64enc": lambda text: base64.b64encode(show(text).encode()).decode(),
    # Sprig's
    "lower": lambda text: show(text).lower(),
    "upper": lambda text: show(text).upper(),
    "title": lambda text: re.sub(r"(?<!\w)\w", lambda match: match[0].upper(), show(text)),
    "trunc": _trunc,
    "substr": _substr,
    "contains": lambda part, text: show(part) in show(text),
    "hasPrefix": lambda part, text: show(text).startswith(show(part)),
    "hasSuffix": lambda part, text: show(text).endswith(show(part)),
    "indent": _indent,
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "replace": lambda old, new, text: _replace(show(text), show(old), show(new)),
    "repeat": _repeat,
    "trim": lambda text: show(text).strip(),
    "trimAll": lambda cut, text: _strip(show(text), show(cut)),
    "trimPrefix": lambda part, text: show(text).removeprefix(show(part)),
    "trimSuffix": lambda part, text: show(text).removesuffix(show(part)),
    "int": _int,
    "float64": _float,
    "add": lambda *values: _wrapped(sum(_int(value) for value in values)),
    "sub": lambda a, b: _wrapped(_int(a) - _int(b)),
    "mul": _product,
    "div": _divide,
    "mod": _modulo,
    "addf": _decimal(operator.add),
    "subf": _decimal(operator.sub),
    "mulf": _decimal(operator.mul),
    "divf": _decimal(_quotient),
    "max": lambda *values: max(_int(value) for value in values),
    "min": lambda *values: min(_int(value) for value in values),
    "maxf": lambda *values: max(_float(value) for value in values),
    "minf": lambda *values: min(_float(value) for value in values),
    "ceil": _whole(math.ceil),
    "floor": _whole(math.floor),
    "round": _round,
    "fromJson": lambda text: json.loads(show(text), parse_int=float),
    "default": lambda fallback, value="": value if truth(value) else fallback,
    # Times
    "now": gotime.now,
    "date": lambda layout, time: gotime.format_time(show(layout), gotime.as_time(time)),
    "toDate": lambda layout, text: gotime.parse_time(show(layout), show(text), "UTC"),
    "toDateInZone": lambda layout, zone, text: gotime.parse_time(show(layout), show(text), show(zone)),
    "unixEpoch": lambda time: str(gotime.as_time(time).nanoseconds // 10**9),
    "unixEpochMillis": lambda time: str(gotime.as_time(time).nanoseconds // 10**6),
    "unixEpochNanos": lambda time: str(gotime.as_time(time).nanoseconds),
    "unixToTime": lambda text: gotime.from_epoch(show(text)),
}

FUNCTIONS = {name: Function(run) for name, run in _PLAIN.items()} | {
    "__line__": Function(lambda scope: scope["line"].decode(errors="each-byte"), with_scope=True),
    "__timestamp__": Function(lambda scope: gotime.Time(scope["time"]), with_scope=True),
}

# Where Go wants more than our functions need, of those that take any number.
_AT_LEAST = {"max": 1, "min": 1, "maxf": 1, "minf": 1, "mul": 1}


@cache
def _arity(name: str, function: Function) -> tuple[int, int | None]:
    """The least and the greatest number of arguments."""
    parameters = inspect.signature(function.run).parameters.values()
    required = sum(one.default is one.empty and one.kind is not one.VAR_POSITIONAL for one in parameters)
    required = max(required - function.with_scope, _AT_LEAST.get(name, 0))
    endless = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    return required, None if endless else len(parameters) - function.with_scope


def wrong_count(name: str, function: Function, given: int, all_: int) -> str | None:
    """Go's complaint about the number of arguments, or None: `given` without, `all_` with what comes through a pipe."""
    required, most = _arity(name, function)
    if most == required:
        return f"wrong number of args for {name}: want {required} got {all_}" if all_ != required else None
    if all_ < required:
        return f"wrong number of args for {name}: want at least {required} got {given}"
    return None
