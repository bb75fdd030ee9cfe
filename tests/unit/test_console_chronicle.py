"""What the history page lists, and of which time: periods by the visitor's clock, entries in words, figures, CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from history_stories import BEGIN, SITES, TICK, Chapter, play, slowly, span, stories, told
from rectbot.console.chronicle import Entry, Filters, Period, as_csv, entries, numbers
from rectbot.console.happened import days_of
from rectbot.console.history_page import months
from rectbot.console.words import Words
from rectbot.history.known import Fired, Known, Recorded, known
from rectbot.history.story import Span, Told

TODAY = date(2026, 11, 27)
WORDS = Words("en")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026", "2026"), ("2026-03", "2026-03"), ("2024-02-29", "2024-02-29"), ("", "2026-11"),
        ("2025-02-29", "2026-11"), ("2026-13-01", "2026-11"),
        ("2026-13", "2026-11"), ("2026-00", "2026-11"), ("2026-3", "2026-11"), ("0000", "2026-11"), ("9999", "2026-11"),
        ("\u0662\u0660\u0662\u0666", "2026-11"), ("2026-11-27x", "2026-11"), ("../..", "2026-11"),
    ],
)  # fmt: skip
def test_a_period_is_a_year_a_month_or_a_day(text: str, read: str) -> None:
    assert str(Period.read(text, TODAY)) == read


def test_a_day_is_that_of_the_visitor_with_23_hours_or_25() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spans = [Period(2026, *day).span(berlin) for day in ((3, 29), (10, 25), (3, 1))]
    assert [(each.end - each.start) // TICK for each in spans] == [23, 25, 24]
    assert Period(2026, 12).span(UTC).end == Period(2027, 1).span(UTC).start == Period(2026).span(UTC).end
    tokyo = Period(2026, 1, 1).span(ZoneInfo("Asia/Tokyo"))
    assert datetime.fromtimestamp(tokyo.start / 1000, UTC).isoformat() == "2025-12-31T15:00:00+00:00"


def _known(events: list[Told], until: int, alerts: tuple[Fired, ...] = ()) -> Known:
    return known(Recorded(alerts=alerts), events, until, looked=until)


@given(stories)
def test_the_page_says_what_the_report_says(story: list[Chapter]) -> None:
    events, leads = play(story, open_end=True)
    asked = span(20, 300)
    found = numbers(_known(events, BEGIN + 500 * TICK), asked)
    wanted = slowly(events, leads, 20, 300)
    assert found.availability == (None if wanted["availability"] is None else pytest.approx(wanted["availability"]))
    assert found.down / 1000 == wanted["down_s"]
    assert found.longest_gap / 1000 == wanted["longest_gap_s"]
    assert {"planned": found.planned, "unplanned": found.unplanned} == wanted["switches"]
    assert found.logins == wanted["logins"]
    assert {site: ms / 1000 for site, ms in found.leads.items() if ms} == wanted["leads_s"]
    days = [Span(BEGIN + day * 24 * TICK, BEGIN + (day + 1) * 24 * TICK) for day in range(12)]
    shares = [day.share for day in days_of(_known(events, BEGIN + 500 * TICK), days)]
    assert shares == [None if day is None else pytest.approx(day) for day in slowly(events, leads, 0, 12 * 24)["days"]]


LONG = [
    told(0, "acquired", "xserver", "x", 1),
    told(1, "ready", "xserver", "x", 1),
    told(30, "workload-failed", "xserver", "x", 1, "exit code 1"),
    told(40, "acquired", "oci", "o", 2),  # which never logs in
    told(90, "released", "oci", "o", 2),
    told(100, "acquired", "xserver", "x2", 3),
    told(101, "ready", "xserver", "x2", 3),
]


def _listed(found: Known, start: int, end: int) -> list[tuple[str, tuple[str, ...]]]:
    return [(entry.kind, entry.sites) for entry in entries(WORDS, found, span(start, end))]


def test_an_outage_is_listed_in_each_day_that_it_goes_on() -> None:
    found = _known(LONG, BEGIN + 200 * TICK)
    assert _listed(found, 24, 48) == [("failover", ("xserver", "oci"))]
    assert _listed(found, 48, 72) == [("failover", ("xserver", "oci"))], "nothing begins on that day"
    assert _listed(found, 96, 120) == [("planned", ("oci", "xserver"))]
    assert _listed(found, 120, 144) == []
    assert [kind for kind, _ in _listed(found, 0, 24)] == ["record"]


def test_an_outage_that_nobody_has_ended_is_listed_until_now() -> None:
    found = known(Recorded(), LONG[:2], BEGIN + 200 * TICK, looked=0, gone=BEGIN + 50 * TICK)
    (entry,) = entries(WORDS, found, span(100, 110))
    assert "xserver stopped answering; nobody has taken over since then." in entry.text
    assert numbers(found, span(100, 110)).availability == 0


def test_what_the_record_lacks_is_listed_and_no_day_of_it_is_reassuring() -> None:
    record = Recorded(events=LONG[:2], leases=known(Recorded(), LONG[:2], None, looked=0).leases, who=[""], first=BEGIN)
    later = [told(24 * 20, "acquired", "oci", "o", 9), told(24 * 20, "ready", "oci", "o", 9)]
    found = known(record, later, BEGIN + 24 * 30 * TICK, looked=0)
    days = [Span(BEGIN + day * 24 * TICK, BEGIN + (day + 1) * 24 * TICK) for day in range(30)]
    shares = [day.share for day in days_of(found, days)]
    assert shares[1:20] == [None] * 19
    assert shares[20:] == [1.0] * 10
    assert numbers(found, span(24, 24 * 20)).availability is None
    (entry,) = entries(WORDS, found, span(100, 110))
    assert "nothing is recorded, so nothing is known" in entry.text


def test_an_alert_is_listed_while_it_fires() -> None:
    alerts = (Fired("A", "warning", "s\1x", BEGIN, BEGIN + 5 * TICK), Fired("B", "", "", BEGIN + 30 * TICK, None))
    found = _known(LONG, BEGIN + 200 * TICK, alerts)
    assert [kind for kind, _ in _listed(found, 3, 4)] == ["alert"]
    assert [kind for kind, _ in _listed(found, 190, 195)] == ["alert"], "it still fires"
    (text,) = (entry.text for entry in entries(WORDS, found, span(3, 4)))
    assert text.count("\1") == 2, "an alert writes no moments"


def test_filters_choose_and_survive_the_address() -> None:
    given = {"kind": ["alert", "nonsense", "alert"], "site": ["oci", ""], "text": ["x" * 900]}
    read = Filters.read(given)
    assert (read.kinds, read.sites, len(read.text)) == (("alert",), ("oci",), 200)
    again: dict[str, list[str]] = {}
    for name, value in read.address():
        again.setdefault(name, []).append(value)
    assert Filters.read(again) == read
    entry = Entry("failover", Span(0, 1), ("oci",), lambda: "Oci stopped")
    assert Filters().take(entry)
    assert Filters(sites=("oci",), text="STOP").take(entry)
    assert not Filters(kinds=("alert",)).take(entry)
    assert not Filters(sites=("xserver",)).take(entry)


def test_a_spreadsheet_obeys_nothing_of_it() -> None:
    text = as_csv([Entry("failover", Span(0, 1500), ("=x",), lambda: "\x010.5\x01 a\x1b[31m", who="@ann", reason="+1")])
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {
        "from": "1970-01-01T00:00:00.000Z", "until": "1970-01-01T00:00:01.500Z", "seconds": "1.5", "kind": "failover",
        "sites": "'=x", "what": row["what"], "by": "'@ann", "reason": "'+1",
    }  # fmt: skip
    assert row["what"].startswith("1970-01-01T00:00:00.500Z a")
    assert "\x1b" not in row["what"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_year_has_all_its_days_and_what_is_to_come_is_not_said_to_be_unrecorded(language: str) -> None:
    year = list(months(Words(language), _known(LONG, BEGIN + 200 * TICK), 2026, UTC))
    days = [day for month in year for day in month["days"]]
    assert len(days) == 365
    assert [month["lead"] for month in year][:3] == [4, 0, 0]
    assert days[0][1] == "unknown"
    far = list(months(Words(language), _known(LONG, BEGIN + 200 * TICK), 2400, UTC))
    assert {day[1] for month in far for day in month["days"]} == {"coming"}
    assert set(SITES) >= {"xserver"}
