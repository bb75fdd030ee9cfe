"""Which columns an override is for: https://grafana.com/docs/grafana/latest/panels-visualizations/configure-overrides/"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import re2

from rectbot.console.panels.frames import Column, Frame
from rectbot.console.panels.reduce import CALCULATIONS, reduced

Json = Mapping[str, Any]
_MOST_PATTERN = 1_000  # characters


class Expression(Protocol):
    """A regular expression that needs linear time, whoever wrote it."""

    def search(self, text: str) -> Any: ...
    def fullmatch(self, text: str) -> Any: ...
    def sub(self, put: str, text: str, count: int = 0) -> str: ...


@lru_cache(maxsize=256)
def pattern(text: str) -> Expression:
    """A regular expression as Grafana writes it, with or without slashes. Raises ValueError for what is none."""
    flags = ""
    body = str(text)[:_MOST_PATTERN]
    if body.startswith("/") and body.rfind("/") > 0:
        body, _, flags = body[1:].rpartition("/")
    inline = "".join(flag for flag in "ims" if flag in flags)
    try:
        found: Expression = re2.compile(f"(?{inline}){body}" if inline else body)
    except re2.error:
        raise ValueError(f"{text!r} is no regular expression that is known here") from None
    return found


def matches(matcher: Json, column: Column, frame: Frame, shown: str) -> bool:
    """Whether an override's matcher means this column; an unknown one means none."""
    test = MATCHERS.get(matcher.get("id", ""))
    return test is not None and test(matcher.get("options"), column, frame, shown)


def _by_names(options: Any, column: Column, frame: Frame, shown: str) -> bool:
    given = options if isinstance(options, Mapping) else {"names": options}
    hit = bool({shown, column.name} & set(given.get("names") or ()))
    return not hit if given.get("mode") == "exclude" else hit


def _by_value(options: Any, column: Column, frame: Frame, shown: str) -> bool:
    given: Json = options or {}
    if given.get("reducer") not in CALCULATIONS:
        return False
    value = reduced(given["reducer"], column.values)
    if isinstance(value, bool):
        return value
    return compare(value, given.get("op", "gte"), given.get("value", 0))


def compare(left: Any, operator: str, right: Any) -> bool:
    """As Grafana compares; what is no number compares with nothing."""
    try:
        return COMPARISONS[operator](float(left), float(right))
    except (TypeError, ValueError, KeyError):
        return False


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "eq": lambda left, right: left == right,
    "neq": lambda left, right: left != right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
}
MATCHERS: dict[str, Callable[[Any, Column, Frame, str], bool]] = {
    "byName": lambda options, column, _, shown: options in (shown, column.name),
    "byNames": _by_names,
    "byRegexp": lambda options, _column, _frame, shown: pattern(options).search(shown) is not None,
    "byType": lambda options, column, _frame, _shown: options == column.kind,
    "byFrameRefID": lambda options, _column, frame, _shown: options == frame.ref,
    "byValue": _by_value,
}
