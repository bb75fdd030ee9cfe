"""A log record as a line of JSON."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectbot.logs.ship.batch import Clock, Line, encode
from rectbot.logs.ship.lines import MAX_LINE, JsonFormatter, level_name


def record(text: str, *arguments: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    logger = logging.getLogger("mybot.cog")
    return logger.makeRecord(logger.name, level, "cog.py", 7, text, arguments, None, extra=extra)


def shown(entry: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    line = JsonFormatter(secrets).format(entry)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return fields


def test_what_a_line_says() -> None:
    entry = record("joined %s", "募集", guild=7, tags=["a"], level=logging.WARNING)
    assert shown(entry) == {"level": "warn", "logger": "mybot.cog", "msg": "joined 募集", "guild": 7, "tags": ["a"]}


def test_an_exception_has_its_trace() -> None:
    try:
        raise ValueError("no such guild")
    except ValueError as error:
        entry = record("failed")
        entry.exc_info = (type(error), error, error.__traceback__)
    fields = shown(entry)
    assert fields["error"] == "ValueError: no such guild"
    assert fields["trace"].splitlines()[0] == "Traceback (most recent call last):"
    assert "test_ship_lines.py" in fields["trace"]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "debug"),
        (5, "debug"),
        (10, "debug"),
        (20, "info"),
        (25, "info"),
        (30, "warn"),
        (40, "error"),
        (99, "critical"),
    ],
)
def test_levels_have_loki_s_names(number: int, name: str) -> None:
    assert level_name(number) == name


@pytest.mark.parametrize("secret", ["s3cret", 'with "quotes" and \\', "日本語", "line\nbreak"])
def test_secrets_are_blanked_out_wherever_they_are(secret: str) -> None:
    entry = record("token %s!", secret, url=f"https://x/{secret}", deep={"a": [secret]})
    try:
        raise RuntimeError(f"login with {secret}")
    except RuntimeError as error:
        entry.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter([secret]).format(entry)
    assert secret not in line
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in line
    assert shown(entry, secret)["msg"] == "token ***!"


def circle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


class Awkward:
    def __repr__(self) -> str:
        return "<awkward>"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), circle(), {1: 2}, {(1, 2): 3}, Awkward(), b"\xff", {1, 2}]
)
def test_any_extra_field_gives_valid_json(value: object) -> None:
    assert shown(record("x", value=value))["msg"] == "x"


@pytest.mark.parametrize("size", [MAX_LINE, 10_000_000])
def test_long_lines_are_cut_and_stay_valid(size: int) -> None:
    assert "characters more" in shown(record("x" * size))["msg"]
    cut = shown(record("kept", huge="x" * size))
    assert cut == {"level": "info", "logger": "mybot.cog", "msg": "kept", "cut": True}
    assert len(JsonFormatter().format(record("\n" * size, a="\n" * 14_000)).encode()) < 256 * 1024


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text()))
def test_any_text_survives(text: str, extra: dict[str, str]) -> None:
    entry = logging.makeLogRecord({**extra, "msg": text.replace("%", ""), "args": (), "levelno": 20, "name": "x"})
    entry.exc_info = entry.stack_info = None
    assert shown(entry)["msg"] == text.replace("%", "")[:15_000]


def test_a_lone_surrogate_does_not_stop_a_batch() -> None:
    assert encode([Line((("job", "x"),), 1, "file \udcff name")])


@given(st.lists(st.integers(0, 50)))
def test_times_of_one_moment_differ(moments: list[int]) -> None:
    clock = Clock()
    stamps = [clock.stamp(10**18 + moment) for moment in moments]
    assert len(set(stamps)) == len(stamps)
    assert all(abs(stamp - 10**18) < 50 + len(moments) + 1 for stamp in stamps)


def test_a_clock_that_was_set_back_is_followed() -> None:
    clock = Clock()
    assert [clock.stamp(10**18), clock.stamp(10**18 - 10**9)] == [10**18, 10**18 - 10**9]
