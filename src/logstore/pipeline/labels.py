"""Stages on labels: filters by text, number, duration, size and address; keep and drop."""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Iterable

from logstore.logql import ast
from logstore.logql.errors import ParseError
from logstore.logql.regex import anchored
from logstore.logql.units import parse_duration, parse_float, parse_size
from logstore.pipeline.entry import ERROR, ERROR_DETAILS, PRESERVE_ERROR, Entry, Stage
from logstore.pipeline.labelregex import label_test

_SPECIAL = (ERROR, ERROR_DETAILS, PRESERVE_ERROR)  # even where a line itself has such a name
Test = Callable[[str], bool]
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def value_test(matcher: ast.Matcher) -> Test:
    """Whether a label's value matches; a missing label has the value ""."""
    wanted = matcher.value
    if matcher.op == "=":
        return lambda value: value == wanted
    if matcher.op == "!=":
        return lambda value: value != wanted
    search, positive = anchored(wanted).search, matcher.op == "=~"
    return lambda value: (search(value.encode(errors="surrogatepass")) is not None) == positive


def filter_test(matcher: ast.Matcher) -> Test:
    """The same for a label filter, whose regular expressions are simplified."""
    if matcher.op in ("=", "!="):
        return value_test(matcher)
    test, positive = label_test(matcher.value), matcher.op == "=~"
    return lambda value: test(value) == positive


def stream_test(matchers: Iterable[ast.Matcher]) -> Callable[[dict[str, str]], bool]:
    """Whether a stream's labels match all matchers."""
    tests = [(matcher.name, value_test(matcher)) for matcher in matchers]
    return lambda labels: all(test(labels.get(name, "")) for name, test in tests)


# Where an address may begin, and how far its characters reach. Like Loki, which looks at nothing else around it.
_ADDRESS = re.compile(
    rb"(?=[0-9](?:\...|.\..|..\.))([0-9.]+)"
    rb"|(?=(?:::[0-9A-Fa-f]..|[0-9A-Fa-f]:...|[0-9A-Fa-f]{2}:..|[0-9A-Fa-f]{3}:.|[0-9A-Fa-f]{4}:))([0-9A-Fa-f:.]+)",
    re.DOTALL,
)


def addresses(text: bytes, contains: Callable[[str], bool]) -> bool:
    """Whether any address in a text passes."""
    position = 0
    while (found := _ADDRESS.search(text, position)) is not None:
        if contains(found[0].decode()):
            return True
        position = found.end() + 1
    return False


def network_test(text: str) -> Callable[[str], bool]:
    """Whether an address lies in `text`: an address, a range `a-b`, or a network in CIDR notation."""
    try:
        if "-" in text:
            low, high = (ipaddress.ip_address(part.strip()) for part in text.split("-"))
            if low.version != high.version or int(low) > int(high):
                raise ValueError
            version, first, last = low.version, int(low), int(high)
        else:
            network = ipaddress.ip_network(text, strict=False)
            version, first, last = network.version, int(network[0]), int(network[-1])
    except ValueError:
        raise ParseError(f"ip: invalid pattern: {text!r}") from None

    def contains(value: str) -> bool:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return address.version == version and first <= int(address) <= last

    return contains


def _string_filter(matcher: ast.Matcher) -> Stage:
    name, test = matcher.name, filter_test(matcher)
    if name == ERROR:
        return lambda entry: test(entry.error)
    return lambda entry: test(entry.labels.get(name, ""))


def _ip_filter(comparison: ast.Comparison) -> Stage:
    name, positive, contains = comparison.name, comparison.op == "=", network_test(str(comparison.value))

    def stage(entry: Entry) -> bool:
        if entry.error:
            return True
        value = entry.labels.get(name)
        return value is not None and addresses(value.encode(), contains) == positive

    return stage


READERS: dict[str, Callable[[str], float]] = {"number": parse_float, "duration": parse_duration, "bytes": parse_size}


def _comparison(comparison: ast.Comparison) -> Stage:
    if comparison.kind == "ip":
        return _ip_filter(comparison)
    name, read, compare = comparison.name, READERS[comparison.kind], COMPARE[comparison.op]
    bound = float(comparison.value)

    def stage(entry: Entry) -> bool:
        value = entry.labels.get(name)
        if value is None:
            return False
        try:
            return compare(read(value), bound)
        except ValueError as error:
            if not entry.error:  # do not hide what may be a more useful error
                entry.fail("LabelFilterErr", str(error))
            return True

    return stage


def condition(tree: ast.LabelCondition) -> Stage:
    """The stage of a label filter."""
    if isinstance(tree, ast.Matcher):
        return _string_filter(tree)
    if isinstance(tree, ast.Comparison):
        return _comparison(tree)
    left, right = condition(tree.left), condition(tree.right)
    if tree.op == "and":
        return lambda entry: left(entry) & right(entry)  # both, because the right one may leave an error behind
    return lambda entry: left(entry) or right(entry)


def _selects(names: tuple[str | ast.Matcher, ...]) -> Callable[[str, str], bool]:
    plain = {name for name in names if isinstance(name, str)}
    tests: dict[str, list[Test]] = {}
    for matcher in names:
        if isinstance(matcher, ast.Matcher):
            tests.setdefault(matcher.name, []).append(value_test(matcher))
    return lambda name, value: name in plain or any(test(value) for test in tests.get(name, ()))


def drop(names: tuple[str | ast.Matcher, ...]) -> Stage:
    """Removes the named labels; of `name="x"` only those with the value."""
    selects = _selects(names)

    def stage(entry: Entry) -> bool:
        for name in [name for name, value in entry.labels.items() if selects(name, value)]:
            if name not in _SPECIAL:
                entry.drop(name)
        if selects(ERROR, entry.error):
            entry.error = ""
        if selects(ERROR_DETAILS, entry.details):
            entry.details = ""
        return True

    return stage


def keep(names: tuple[str | ast.Matcher, ...]) -> Stage:
    """Removes all but the named labels; errors stay."""
    selects = _selects(names)

    def stage(entry: Entry) -> bool:
        for name in [name for name, value in entry.labels.items() if not selects(name, value)]:
            if name not in _SPECIAL:
                entry.drop(name)
        return True

    return stage
