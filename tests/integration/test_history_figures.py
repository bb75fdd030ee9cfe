"""The report's figures and the views', from any story: what a slow computation says, in each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, text

from history_stories import BEGIN, SITES, TICK, Chapter, play, slowly, span, stories
from rectbot.history import record, schema
from rectbot.history.database import opened, writing
from rectbot.history.period import date_of
from rectbot.history.report import report
from rectbot.history.story import Told
from rectbot.settings import load_settings

ALL = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    overrides: dict[str, Any] = {}
    if request.param == "postgresql":
        name = f"test_{abs(hash(request.node.nodeid))}"
        overrides["history_database_url"] = request.getfixturevalue("postgres").new_database(name)
    with opened(load_settings(rectbot_home=tmp_path, **overrides)) as engine:
        yield engine


def _fill(engine: Engine, events: list[Told]) -> None:
    with writing(engine) as connection:
        connection.execute(delete(schema.event))
        record.follow(connection)
        record.add_events(connection, events)


@settings(max_examples=30, deadline=None, suppress_health_check=ALL)
@given(stories, st.booleans(), st.integers(-30, 200), st.integers(1, 400))
def test_any_story_comes_to_what_a_slow_computation_says(
    engine: Engine, story: list[Chapter], open_end: bool, start: int, length: int
) -> None:
    events, leads = play(story, open_end=open_end)
    _fill(engine, events)
    with engine.connect() as connection:
        found = report(connection, span(start, start + length)).as_dict()
    slow = slowly(events, leads, start, start + length)
    for name in ("availability", "down_s", "longest_gap_s", "mean_time_to_recover_s"):
        assert found[name] == (pytest.approx(slow[name]) if slow[name] is not None else None), name
    for name in ("switches", "logins"):
        assert found[name] == slow[name], name
    assert [each["seconds"] for each in found["outages"]] == slow["outages"]
    assert {site: each["leads_s"] for site, each in found["by_site"].items() if each["leads_s"]} == slow["leads_s"]
    assert [day["availability"] for day in found["days"]] == [
        pytest.approx(day) if day is not None else None for day in slow["days"]
    ]
    assert sum(each["seconds"] for each in found["outages"]) == found["down_s"]


@settings(max_examples=20, deadline=None, suppress_health_check=ALL)
@given(stories.filter(bool))
def test_the_views_say_the_same(engine: Engine, story: list[Chapter]) -> None:
    events, leads = play(story, open_end=False)
    _fill(engine, events)
    first, last = (BEGIN, max(event.time for event in events))
    first = min(event.time for event in events)
    begin, end = (first - BEGIN) // TICK // 24 * 24, (last - BEGIN) // TICK // 24 * 24 + 24
    slow = slowly(events, leads, begin, end)
    dates = [date_of(BEGIN + tick * TICK) for tick in range(begin, end, 24)]
    with engine.connect() as connection:
        day: dict[str, Any] = dict(connection.execute(text("SELECT date, availability FROM uptime_by_day")).all())
        led = connection.execute(text("SELECT site, leads_ms, up_ms FROM uptime_by_site")).all()
        outages = connection.execute(text("SELECT length_ms, end_ms FROM outage ORDER BY start_ms")).all()
        logins = connection.execute(text("SELECT SUM(logins) FROM logins_by_day")).scalar() or 0
        switches = connection.execute(text("SELECT SUM(planned), SUM(unplanned) FROM switches_by_week")).one()
        by_day = connection.execute(text("SELECT SUM(leads_ms) FROM site_by_day")).scalar() or 0
    assert [float(day[date]) for date in dates] == [pytest.approx(each) for each in slow["days"]]
    assert {row.site: row.leads_ms / 1000 for row in led if row.leads_ms} == slow["leads_s"]
    assert by_day == sum(row.leads_ms for row in led)
    ended = [row.length_ms / 1000 for row in outages if row.end_ms <= last]
    whole = slowly(events, leads, begin, max(end, (last - BEGIN) // TICK))["outages"]
    assert ended == whole[: len(ended)]
    assert logins == slow["logins"]
    assert {"planned": switches[0] or 0, "unplanned": switches[1] or 0} == slow["switches"]


def test_every_view_can_be_asked(engine: Engine) -> None:
    events, _ = play(
        [Chapter("xserver", 0, 1, 30, "expired", 2, False), Chapter("oci", 0, 1, 300, "released", 0, False)],
        open_end=False,
    )
    notice = {
        "alerts": [
            {
                "status": "resolved",
                "labels": {"alertname": "XserverPushStale", "severity": "warning"},
                "annotations": {"summary": "it is late"},
                "startsAt": "2026-02-11T03:00:00Z",
                "endsAt": "2026-02-11T03:10:00.123456789Z",
            }
        ]
    }
    _fill(engine, events)
    with writing(engine) as connection:
        record.set_sites(connection, SITES)
        record.add_alerts(connection, [notice, notice])
    with engine.connect() as connection:
        share = connection.execute(text("SELECT share FROM preferred_share_by_month WHERE month = '2026-02'")).scalar()
        counted = connection.execute(text("SELECT counted_ms FROM uptime_by_month WHERE month = '2026-02'")).scalar()
        recovery = connection.execute(text("SELECT * FROM recovery_by_month WHERE month = '2026-02'")).one()
        alerts = connection.execute(text("SELECT week, name, fired, mean_s FROM alerts_by_week")).all()
        pushes = connection.execute(text("SELECT start_ms, end_ms FROM push_gap")).one()
    assert counted == 18 * 86_400_000
    assert share is not None
    assert float(share) == pytest.approx(30 / (18 * 24))
    assert (recovery.outages, float(recovery.longest_gap_s) > 4 * 3600) == (3, True)
    [alert] = alerts
    assert (alert.week, alert.name, alert.fired) == ("2026-02-09", "XserverPushStale", 1)
    assert float(alert.mean_s) == pytest.approx(600.123)
    assert pushes.end_ms - pushes.start_ms == 600_123
