"""The recorder on real stores: at least once, nothing twice, and nothing lost that the journal still has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disks import disk_of
from history_homes import Home
from history_stories import BEGIN, told
from hubs import Hub, hub
from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import iso
from rectbot.failover.messages import Command
from rectbot.failover.store import open_store
from rectbot.history import bring, record
from rectbot.history.database import opened, writing
from rectbot.history.lines import moment
from rectbot.history.retell import retold
from rectbot.history.spool import MOST_BYTES, Spool, SpoolFull, acknowledgement
from rectbot.history.story import Span
from rectbot.settings import load_settings
from servers import RedisServer
from servers_monitoring import local_discord
from servers_postgres import Postgres

CONFIG = FailoverConfig(site="", priority=("xserver", "oci"))


def _orders(redis: RedisServer, count: int, why: str = "") -> None:
    """So many events."""
    asyncio.run(_order(redis, count, why))


async def _order(redis: RedisServer, count: int, why: str) -> None:
    store = open_store(CONFIG, url=redis.url)
    try:
        for number in range(count):
            act: Any = "unhold" if number % 2 else "hold"
            await store.command(Command(act, "ann@desk", f"{why} {number}"))
    finally:
        await store.close()


@pytest.fixture
def home(tmp_path: Path, redis: RedisServer) -> Home:
    return Home(tmp_path / "home", {"REDIS_URL": redis.url})


def _whys(home: Home) -> list[str]:
    return [event["why"] for event in home.export() if event["kind"] in ("hold", "unhold")]


def test_what_the_journal_has_is_recorded_once(home: Home, redis: RedisServer) -> None:
    home.run("hub", "record")
    assert home.export() == [], "nobody has spoken to the store"
    _orders(redis, 5, "a")
    for _ in range(2):
        home.run("hub", "record")
        assert _whys(home) == [f"a {number}" for number in range(5)]
    _orders(redis, 300, "b")
    home.run("hub", "record")
    assert _whys(home) == [f"a {number}" for number in range(5)] + [f"b {number}" for number in range(300)]


def test_a_store_that_was_emptied_or_replaced_is_recorded_on(home: Home, redis: RedisServer) -> None:
    _orders(redis, 100, "before")
    home.run("hub", "record")
    assert redis.command("FLUSHALL") == b"+OK\r\n"
    _orders(redis, 80, "after")
    home.run("hub", "record")
    home.run("hub", "record")
    assert _whys(home) == [f"before {n}" for n in range(100)] + [f"after {n}" for n in range(80)]


def test_a_journal_that_was_trimmed_loses_only_what_is_gone(home: Home, redis: RedisServer) -> None:
    _orders(redis, 10, "early")
    home.run("hub", "record")
    _orders(redis, 200, "late")
    assert redis.command("XTRIM rectbot:events MAXLEN 50").startswith(b":")
    home.run("hub", "record")
    kept = [why for why in _whys(home) if why.startswith("late")]
    assert kept[-50:] == [f"late {n}" for n in range(150, 200)]
    assert len(set(kept)) == len(kept)
    assert _whys(home)[:10] == [f"early {n}" for n in range(10)]


def test_of_what_was_trimmed_before_it_was_recorded_nothing_is_said(home: Home, redis: RedisServer) -> None:
    settings = load_settings(rectbot_home=home.folder)

    def lacks() -> list[Span]:
        with opened(settings) as engine, engine.connect() as connection:
            return record.lacks(connection)

    _orders(redis, 10, "early")
    home.run("hub", "record")
    time.sleep(1)
    _orders(redis, 30, "late")
    home.run("hub", "record")
    assert lacks() == [], "all of them were there"
    before = moment(home.export()[-1]["time"], "time")
    _orders(redis, 200, "lost")
    assert redis.command("XTRIM rectbot:events MAXLEN 5").startswith(b":")
    home.run("hub", "record")
    after = next(each for each in (moment(event["time"], "time") for event in home.export()) if each > before)
    assert lacks() == [Span(before, after)]
    home.run("hub", "record")
    assert lacks() == [Span(before, after)], "told once"
    assert retold(settings).lacks == [Span(before, after)]
    found = home.report("--since", iso(before), "--until", iso(after))
    assert (found["availability"], found["outages"]) == (None, [])
    assert found["unknown_s"] == (after - before) / 1000
    assert home.report("--since", iso(before - 10), "--until", iso(after))["availability"] == 0, "what is known counts"
    assert "that nobody recorded" in home.run("report", "--since", iso(before - 10), "--until", iso(after))
    line = json.dumps({"time": iso(after - 1), "kind": "hold", "site": "", "owner": "ann", "epoch": 0, "why": "known"})
    home.run("history", "import", given=line)
    assert lacks() == [], "another history knows what happened then"
    assert redis.command("FLUSHALL") == b"+OK\r\n"
    _orders(redis, 80, "new")
    home.run("hub", "record")
    assert lacks() == [], "a new store's journal has forgotten nothing"


def test_killed_at_any_moment_it_loses_and_doubles_nothing(home: Home, redis: RedisServer) -> None:
    dice = random.Random(14)
    spool = Spool(home.folder / "var" / "history-alerts.jsonl")
    expected = 0
    home.run("hub", "record")
    began = time.monotonic()
    home.run("hub", "record")
    usual = time.monotonic() - began
    for number in range(12):
        _orders(redis, 7, f"round {number}")
        spool.put(_notice(number))
        expected += 7
        process = home.start("hub", "record")
        time.sleep(dice.uniform(0.3, 1.1) * usual)
        process.kill()
        process.communicate()
    home.run("hub", "record")
    whys = _whys(home)
    assert len(whys) == len(set(whys)) == expected
    with opened(load_settings(rectbot_home=home.folder)) as engine, engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM alert").scalar() == 12
    assert spool.waiting() == 0


def test_a_database_that_is_away_is_caught_up_with(home: Home, redis: RedisServer, postgres: Postgres) -> None:
    home.settings["HISTORY_DATABASE_URL"] = postgres.new_database("away")
    _orders(redis, 20, "a")
    home.run("hub", "record")
    postgres.stop()
    _orders(redis, 20, "b")
    assert "it does not answer" in home.run("hub", "record", code=1)
    postgres.start()
    home.run("hub", "record")
    assert _whys(home) == [f"a {n}" for n in range(20)] + [f"b {n}" for n in range(20)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with disk_of(tmp_path / "disk", "2m") as disk:
        yield disk


def test_a_disk_that_is_full_is_named_and_caught_up_with(home: Home, redis: RedisServer, small_disk: Path) -> None:
    home.settings["HISTORY_DATABASE_URL"] = f"sqlite:///{small_disk}/history.db"
    _orders(redis, 20, "a")
    home.run("hub", "record")
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)
    _orders(redis, 200, "b" * 300)
    assert re.search("disk is full|the disk refuses|No space left", home.run("hub", "record", code=1))
    ballast.unlink()
    home.run("hub", "record")
    whys = _whys(home)
    assert len(whys) == len(set(whys)) == 220


def test_a_store_that_is_away_does_not_keep_alerts_out(home: Home, redis: RedisServer) -> None:
    Spool(home.folder / "var" / "history-alerts.jsonl").put(_notice(1))
    redis.kill()
    assert "Redis at" in home.run("hub", "record", code=1)
    assert home.report("--since", "2026-01-01", "--until", "2026-02-01")["alerts"] == {"Alert1": 1}


def _notice(number: int, status: str = "firing") -> dict[str, Any]:
    alert = {
        "status": status,
        "labels": {"alertname": f"Alert{number}", "severity": "warning"},
        "annotations": {"summary": "something"},
        "startsAt": f"2026-01-02T03:04:{number:02}.5Z",
        "endsAt": f"2026-01-02T04:04:{number:02}.5Z" if status == "resolved" else "0001-01-01T00:00:00Z",
    }
    return {"version": "4", "status": status, "alerts": [alert]}


def test_an_alert_is_one_however_often_it_is_told(tmp_path: Path) -> None:
    nonsense: list[dict[str, Any]] = [
        {},
        {"alerts": None},
        {"alerts": [1, {}, {"labels": [], "startsAt": "x", "status": "firing"}]},
    ]
    told = [_notice(1), _notice(1, "resolved"), _notice(1), *nonsense, _notice(2)]
    with opened(load_settings(rectbot_home=tmp_path)) as engine:
        with writing(engine) as connection:
            assert record.add_alerts(connection, told) == 4
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT name, resolved_ms - fired_ms FROM alert ORDER BY name").all()
    assert [tuple(row) for row in rows] == [("Alert1", 3_600_000), ("Alert2", None)]


def test_who_takes_notice_of_an_alert_first_is_recorded_whatever_comes_first(tmp_path: Path) -> None:
    """Also where Alertmanager tells of the alert later, or the console of what is none."""
    (alert,) = _notice(1)["alerts"]
    fired = moment(alert["startsAt"], "startsAt")
    seen = [acknowledgement(alert, fired + after, by, "seen") for after, by in ((90_000, "ann"), (99_000, "bob"))]
    broken: list[Any] = [{"acknowledged": [None, {}, {**alert, "at": "x", "by": "y"}, alert]}, {"acknowledged": 1}]
    for order in ([_notice(1), *seen], [*seen, _notice(1), _notice(1, "resolved")], [*broken, *seen]):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        settings = load_settings(rectbot_home=folder)
        with opened(settings) as engine, writing(engine) as connection:
            record.add_alerts(connection, order)
            rows = connection.exec_driver_sql("SELECT name, answered_after_s, acknowledged_by FROM alert_answer").all()
            count = connection.exec_driver_sql("SELECT COUNT(*) FROM alert").scalar()
        assert ([tuple(row) for row in rows], count) == ([("Alert1", 90.0, "ann")], 1)
        (found,) = retold(settings).alerts
        assert (found.acknowledged, found.by) == (fired + 90_000, "ann")


def test_a_spool_has_a_bound_and_survives_half_a_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "alerts")
    spool.put(_notice(1))
    with (tmp_path / "alerts").open("ab") as file:
        file.write(b'{"alerts": [')  # whoever wrote it died
    spool.put(_notice(2))
    with pytest.raises(KeyError), spool.taken() as found:
        raise KeyError  # as a kill
    with spool.taken() as found:
        assert found == [_notice(1), _notice(2)]
    assert spool.waiting() == 0
    big = {"alerts": ["x" * (MOST_BYTES // 8)]}
    for _ in range(7):
        spool.put(big)
    with pytest.raises(SpoolFull):
        spool.put(big)
    assert spool.waiting() <= MOST_BYTES


def test_the_month_is_posted_once(tmp_path: Path) -> None:
    with local_discord(tmp_path) as discord:
        settings = load_settings(
            rectbot_home=tmp_path, discord_alert_webhook_url=discord.webhook_url, report_monthly=True
        )
        now = BEGIN - 10 * 86_400_000 + 60_000  # a minute into February
        with opened(settings) as engine:
            bring.post_month(engine, settings, now - 40 * 86_400_000)
            with writing(engine) as connection:
                record.add_events(connection, [told(-500, kind, "xserver", "x", 1) for kind in ("acquired", "ready")])
            for later in (0, 1, 86_400_000):
                bring.post_month(engine, settings, now + later)
        [posted] = discord.received()
    assert "2026-01-01 to 2026-01-31: 100.00 %, 0 failovers, no gap" in json.dumps(posted)


# --- beside the exporter


def _post(hub: Hub, body: bytes, path: str = "/alerts") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{hub.metrics}{path}", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _until(met: Any, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(400)  # the recorder waits for a lock for 10 s, and the hub before it tries again
def test_the_hub_records_and_a_locked_database_is_told_and_hurts_nobody(home: Home, redis: RedisServer) -> None:
    _orders(redis, 3, "a")
    with hub(home.folder, REDIS_URL=redis.url, CONSOLE_PORT="0") as found:
        file = home.folder / "var" / f"offset-{found.metrics - 9464}" / "history.db"

        def metric(line: str) -> bool:
            return f"\n{line}\n" in found.get("/metrics", found.metrics)

        _until(lambda: file.exists() and metric("rectbot_history_up 1.0"))
        home.settings["RECTBOT_PORT_OFFSET"] = str(found.metrics - 9464)
        assert _whys(home) == [f"a {n}" for n in range(3)]
        locked = sqlite3.connect(file, isolation_level=None)
        locked.execute("BEGIN EXCLUSIVE")
        _orders(redis, 3, "b")
        assert _post(found, json.dumps(_notice(1)).encode()) == 200
        _until(lambda: metric("rectbot_history_up 0.0"))
        assert metric("rectbot_redis_up 1.0")
        assert "another program has locked it" in found.log.read_text()
        locked.execute("ROLLBACK")
        locked.close()
        _until(lambda: metric("rectbot_history_up 1.0"))
        assert "the history is recorded again" in found.log.read_text()
        assert _whys(home) == [f"a {n}" for n in range(3)] + [f"b {n}" for n in range(3)]
        assert home.report("--since", "2026-01-01", "--until", "2026-02-01")["alerts"] == {"Alert1": 1}


def test_what_is_no_alert_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with hub(tmp_path, CONSOLE_PORT="0") as found:
        _until(lambda: found.log.exists() and "serving metrics" in found.log.read_text())
        assert _post(found, b"[]") == 400
        assert _post(found, b"{") == 400
        assert _post(found, b"[" * 100_000) == 400
        assert _post(found, b"x" * 300_000) == 413
        assert _post(found, b"{}", "/metrics") == 405
        forged = {"alerts": [], "acknowledged": [{"by": "somebody"}]}
        assert _post(found, json.dumps(forged).encode()) == 200
        assert "somebody" not in "".join(path.read_text() for path in tmp_path.rglob("history-alerts.jsonl*"))
    off = tmp_path / "off"
    off.mkdir()
    with hub(off, CONSOLE_PORT="0", HISTORY_ENABLED="false") as found:
        _until(lambda: found.log.exists() and "serving metrics" in found.log.read_text())
        assert _post(found, json.dumps(_notice(1)).encode()) == 200
    assert not list(off.rglob("history*"))
