"""Events as JSON lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectbot.errors import ConfigError
from rectbot.history.lines import LATEST_MS, line_of, read_lines, storable_event
from rectbot.history.story import Told

times = st.integers(0, LATEST_MS)
events = st.builds(
    Told,
    time=times,
    kind=st.text(min_size=1),
    site=st.text(),
    owner=st.text(),
    epoch=st.integers(-(2**53), 2**53),
    why=st.text(),
    last_renewal=st.none() | times,
)


@given(st.lists(events))
def test_what_was_written_is_read_again(found: list[Told]) -> None:
    kept = [storable_event(event) for event in found]
    lines = [line_of(event) for event in kept]
    assert all("\n" not in line for line in lines)
    assert list(read_lines(lines, "file")) == kept


def test_a_line_is_what_the_issue_says() -> None:
    line = json.loads(line_of(Told(1764243000123, "expired", "xserver", "x:1", 3, "why", 1764243000000)))
    assert line == {
        "time": "2025-11-27T11:30:00.123Z",
        "kind": "expired",
        "site": "xserver",
        "owner": "x:1",
        "epoch": 3,
        "why": "why",
        "last_renewal": "2025-11-27T11:30:00.000Z",
    }
    assert "last_renewal" not in json.loads(line_of(Told(0, "ready", "xserver", "x:1", 3, "")))


GOOD: dict[str, object] = {
    "time": "2025-11-27T11:30:00.123Z",
    "kind": "ready",
    "site": "xserver",
    "owner": "x",
    "epoch": 1,
    "why": "",
}


@pytest.mark.parametrize(
    ("change", "time"),
    [
        ({}, 1764243000123),
        ({"time": "2025-11-27T20:30:00.123+09:00"}, 1764243000123),
        ({"time": "2025-11-27T11:30:00.123456Z"}, 1764243000123),
        ({"time": "2025-11-27T11:30:00"}, 1764243000000),
        ({"last_renewal": None, "id": "17", "more": [1]}, 1764243000123),
    ],
)
def test_what_is_understood(change: dict[str, object], time: int) -> None:
    [event] = read_lines(["", json.dumps(GOOD | change), "  \n"], "file")
    assert event == Told(time, "ready", "xserver", "x", 1, "")


WRONG: list[tuple[dict[str, object], str]] = [
    ({"time": None}, "time is not a time"),
    ({"time": 1764243000}, "time is not a time"),
    ({"time": "yesterday"}, "time is not a time"),
    ({"time": "1969-12-31T23:59:59Z"}, "time is not a time"),
    ({"time": "9999-12-31T23:59:59-23:59"}, "time is not a time"),
    ({"time": "0001-01-01T00:00:00+23:00"}, "time is not a time"),
    ({"kind": ""}, "kind is empty"),
    ({"kind": 3}, "kind is missing"),
    ({"site": None}, "site is missing"),
    ({"why": {}}, "why is missing"),
    ({"epoch": "1"}, "epoch is not a whole number"),
    ({"epoch": True}, "epoch is not a whole number"),
    ({"epoch": 2**60}, "epoch is not a whole number"),
    ({"epoch": 1.5}, "epoch is not a whole number"),
    ({"last_renewal": "soon"}, "last_renewal is not a time"),
]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, ""),
        ("[]", "is not a JSON object"),
        ("3", "is not a JSON object"),
        *((json.dumps(GOOD | change), said) for change, said in WRONG),
    ],
)
def test_a_wrong_line_is_named(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"file:2: .*{said}"):
        list(read_lines([json.dumps(GOOD), line], "file"))
