"""Times as Grafana's addresses write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectbot.console.board import refresh_of
from rectbot.console.times import TimeRange, asked, between, last, moment, zone_named

TOKYO = ZoneInfo("Asia/Tokyo")
NOW = datetime(2026, 11, 27, 10, 30, 15, tzinfo=TOKYO).timestamp()  # a Friday


@pytest.mark.parametrize(
    ("text", "up", "then"),
    [
        ("now", False, "2026-11-27T10:30:15+09:00"),
        ("now-2h", False, "2026-11-27T08:30:15+09:00"),
        ("now-1h30m", False, None),
        ("now-1h-30m", False, "2026-11-27T09:00:15+09:00"),
        ("now+1d", False, "2026-11-28T10:30:15+09:00"),
        ("now-h", False, "2026-11-27T09:30:15+09:00"),
        ("now/d", False, "2026-11-27T00:00:00+09:00"),
        ("now/d", True, "2026-11-27T23:59:59.999000+09:00"),
        ("now-1d/d", False, "2026-11-26T00:00:00+09:00"),
        ("now-1d/d", True, "2026-11-26T23:59:59.999000+09:00"),
        ("now/d+6h", False, "2026-11-27T06:00:00+09:00"),
        ("now/w", False, "2026-11-22T00:00:00+09:00"),
        ("now/M", False, "2026-11-01T00:00:00+09:00"),
        ("now/M", True, "2026-11-30T23:59:59.999000+09:00"),
        ("now-9M", False, "2026-02-27T10:30:15+09:00"),
        ("now/Q", False, "2026-10-01T00:00:00+09:00"),
        ("now/y", False, "2026-01-01T00:00:00+09:00"),
        ("now/h", False, "2026-11-27T10:00:00+09:00"),
        ("now/m", False, "2026-11-27T10:30:00+09:00"),
        ("1764207015000", False, "2025-11-27T10:30:15+09:00"),
        ("2026-11-27T01:30:15Z", False, "2026-11-27T10:30:15+09:00"),
        ("2026-11-27T01:30:15.500Z", False, "2026-11-27T10:30:15.500000+09:00"),
        ("2026-11-27 10:30", False, "2026-11-27T10:30:00+09:00"),
        ("20261127", False, "2026-11-27T00:00:00+09:00"),
        ("20261127T103015", False, "2026-11-27T10:30:15+09:00"),
        ("now-", False, None),
        ("now-2x", False, None),
        ("now/2d", False, None),
        ("nowhere", False, None),
        ("", False, None),
        ("yesterday", False, None),
        ("\u0663", False, None),
        ("9" * 40, False, None),
        ("-5", False, None),
        ("now-999999y", False, None),
    ],
)
def test_moments(text: str, up: bool, then: str | None) -> None:
    found = moment(text, NOW, TOKYO, up=up)
    assert (None if found is None else datetime.fromtimestamp(found, TOKYO).isoformat()) == then


def test_a_day_is_a_day_of_the_calendar_also_where_the_clock_is_changed() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    after = datetime(2026, 3, 29, 12, 0, tzinfo=berlin).timestamp()  # the clock went forward at two
    assert moment("now-1d", after, berlin) == datetime(2026, 3, 28, 12, 0, tzinfo=berlin).timestamp()
    assert moment("now-24h", after, berlin) == datetime(2026, 3, 28, 11, 0, tzinfo=berlin).timestamp()
    start, end = TimeRange("now/d", "now/d").at(after, berlin)
    assert round(end - start) == 23 * 3600


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_in_an_address_is_a_time_or_the_default(start: str, end: str) -> None:
    found = asked({"from": start, "to": end}, last("6h"), NOW, TOKYO)
    first, final = found.at(NOW, TOKYO)
    assert first < final


@settings(deadline=None)
@given(st.from_regex(r"now([+-][0-9]{0,9}[yMwdhmsQ]|/[yMwdhms]){0,4}", fullmatch=True))
def test_arithmetic_never_breaks(text: str) -> None:
    moment(text, NOW, TOKYO, up=True)


def test_absolute_times_are_milliseconds_in_the_address_and_relative_ones_stay() -> None:
    found = asked({"from": "2026-11-27 00:00", "to": "now"}, last("6h"), NOW, TOKYO)
    assert found == TimeRange(str(round((NOW - 5415) * 1000)), "now")
    assert asked({"from": "now-2h", "to": "now-1h"}, last("6h"), NOW, TOKYO) == TimeRange("now-2h", "now-1h")
    assert asked({"from": "now-1h", "to": "now-2h"}, last("6h"), NOW, TOKYO) == last("6h"), "the end is before"
    assert asked({}, TimeRange("broken", ""), NOW, TOKYO) == last("6h")


def test_zooming_out_doubles_and_going_back_moves_by_half() -> None:
    found = between(1_000, 2_000)
    assert found.wider(NOW, UTC) == between(500, 2_500)
    assert found.earlier(NOW, UTC) == between(500, 1_500)
    assert list(last("2h").wider(NOW, UTC).at(NOW, UTC)) == pytest.approx([NOW - 3 * 3600, NOW], abs=1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, "30s"),
        ("", ""),
        ("5s", "5s"),
        ("2m", "2m"),
        ("1h30m", "1h30m"),
        ("auto", "auto"),
        ("bogus", "30s"),
        ("1500ms", "30s"),
        ("1s", "30s"),
        ("999d", "30s"),
        ("-5s", "30s"),
        ("\u0665m", "30s"),
        ("5" * 99 + "s", "30s"),
    ],
)
def test_refreshes(wanted: str | None, found: str) -> None:
    assert refresh_of(wanted, {"refresh": "30s"}) == found
    assert refresh_of("bogus", {"refresh": False}) == ""
    assert refresh_of("bogus", {"refresh": "worse"}) == ""


@pytest.mark.parametrize("name", ["", "Nowhere/Else", "../../etc/passwd", "\0", "x" * 999])
def test_a_zone_that_is_none_is_utc(name: str) -> None:
    assert zone_named(name) is UTC
