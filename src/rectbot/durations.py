"""Lengths of time as people write them, one grammar for every command: 90s, 1h30m, 2d, 1.5h, 500ms."""

from __future__ import annotations

import re

from rectbot.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhdw])", re.ASCII)
_LONGEST_S = 10 * 365 * 86_400


def parse_seconds(text: str, *, bare: bool = False) -> float:
    """Seconds of such a text; with `bare` a number alone is seconds, too.

    Raises ConfigError for anything else, and for what is no time at all or more than ten years.
    """
    text = text.strip()
    if len(text) > 40:
        raise _wrong(text)
    if bare and re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds = float(text)
    elif _PART.sub("", text):
        raise _wrong(text)
    else:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not 0.001 <= seconds <= _LONGEST_S:
        raise _wrong(text)
    return seconds


def _wrong(text: str) -> ConfigError:
    return ConfigError(f"{text[:40]!r} is not a duration: write for example 90s, 30m, 2h or 1d, also 1h30m")
