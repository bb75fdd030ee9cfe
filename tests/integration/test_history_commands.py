"""`rectbot history` and `rectbot report` as a person calls them, on both databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from history_homes import Home
from history_stories import Chapter, play
from rectbot.history import database
from rectbot.history.commands import prune
from rectbot.history.lines import line_of
from rectbot.settings import load_settings
from servers_postgres import Postgres

STORY, _ = play(
    [
        Chapter("xserver", 3, 1, 400, "expired", 2, False),
        Chapter("oci", 0, 1, 100, "handed-over", 0, False),
        Chapter("xserver", 0, 0, 300, "workload-failed", 0, False),
        Chapter("oci", 0, 1, 50, "released", 0, False),
    ],
    open_end=False,
)
LINES = "".join(f"{line_of(event)}\n" for event in STORY)
PERIOD = ("--since", "2026-02-11", "--until", "2026-03-31")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_both_databases_give_the_same_answers(home: Home, postgres: Postgres, tmp_path: Path) -> None:
    other = Home(tmp_path / "other", {"HISTORY_DATABASE_URL": postgres.new_database("same")})
    for each in (home, other):
        assert (
            each.run("history", "import", given=LINES)
            == f"history: {len(STORY)} events read, {len(STORY)} of them new\n"
        )
    for form in ("text", "html", "json", "csv"):
        assert home.run("report", *PERIOD, "--format", form) == other.run("report", *PERIOD, "--format", form)
    assert home.run("history", "export") == other.run("history", "export") == LINES
    assert home.report(*PERIOD)["switches"] == {"planned": 1, "unplanned": 2}
    assert postgres.url.split(":")[2].split("@")[0] not in other.run("report", *PERIOD)


def test_importing_twice_changes_nothing_whatever_the_order(home: Home) -> None:
    shuffled = home.folder / "shuffled.jsonl"
    shuffled.write_text("\n".join(reversed(LINES.splitlines())))
    home.run("history", "import", str(shuffled))
    before = home.report(*PERIOD)
    assert home.run("history", "import", given=LINES + LINES).endswith(f"{2 * len(STORY)} events read, 0 of them new\n")
    assert home.report(*PERIOD) == before
    assert len(home.export()) == len(STORY)


def test_a_wrong_line_is_named_and_nothing_is_read(home: Home) -> None:
    error = home.run("history", "import", given=LINES + '{"time": "now"}\n', code=2)
    assert error == f"rectbot: standard input:{len(STORY) + 1}: kind is missing, or not a text\n"
    assert home.export() == []
    assert "cannot be read" in home.run("history", "import", "/nowhere", code=2)
    binary = home.folder / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in home.run("history", "import", str(binary), code=2)


def test_a_month_without_data_and_no_event_at_all(home: Home) -> None:
    for month in ("2026-01", "2026-02"):
        found = home.report("--month", month)
        assert (found["availability"], found["outages"], found["by_site"], found["logins"]) == (None, [], {}, 0)
        assert {day["availability"] for day in found["days"]} == {None}
    home.run("history", "import", given=LINES)
    assert home.report("--month", "2026-01")["availability"] is None
    after = home.report("--month", "2026-05")
    assert (after["availability"], after["down_s"]) == (0, 31 * 86_400), "nobody has led since"
    assert [each["seconds"] for each in after["outages"]] == [31 * 86_400]
    assert "write it as 2026-11" in home.run("report", "--month", "May", code=2)


def test_a_month_that_is_not_over_says_so(home: Home) -> None:
    home.run("history", "import", given=LINES)
    assert "still to come" not in home.run("report", "--month", "2026-02")
    assert "still to come" in home.run("report", "--since", "2026-02-11", "--until", "2150-01-01")


def test_pruning_changes_no_figure_of_what_is_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rectbot.history.commands.now_ms", lambda: STORY[0].time + 450 * 3_600_000)
    home.run("history", "import", given=LINES)
    period = ("--since", "2026-02-28T12:00", "--until", "2026-03-20")
    before = home.report(*period)
    events, _ = prune(load_settings(rectbot_home=home.folder), keep_s=5 * 3600)
    assert events == 2, "the first leadership, but not that which was in force"
    after = home.report(*period)
    assert after["first_event"] != before["first_event"]
    assert {**after, "first_event": None} == {**before, "first_event": None}


def test_two_that_start_at_once_make_one_schema(home: Home, postgres: Postgres, tmp_path: Path) -> None:
    other = Home(tmp_path / "other", {"HISTORY_DATABASE_URL": postgres.new_database("at_once")})
    for each in (home, other):
        started = [each.start("history", "export") for _ in range(4)]
        assert [(process.communicate(timeout=100)[1], process.returncode) for process in started] == [(b"", 0)] * 4


def test_an_older_schema_is_brought_up_to_date_and_a_newer_one_refused(home: Home) -> None:
    path = home.folder / "var" / "history.db"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        database._migrate(connection, None, "0001")
        connection.execute(
            text(
                "INSERT INTO event (digest, time_ms, kind, site, owner, epoch, why)"
                " VALUES ('x', 0, 'ready', 'a', 'b', 1, '')"
            )
        )
    home.run("report")
    assert [event["site"] for event in home.export()] == ["a"]
    assert {"uptime_by_day", "outage"} <= set(inspect(engine).get_view_names())
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer rectbot" in home.run("report", code=2)
    engine.dispose()


def test_the_newest_step_is_the_one_that_the_code_knows() -> None:
    versions = Path(database.__file__).parent / "migrations" / "versions"
    assert max(path.name[1:5] for path in versions.glob("v*.py")) == database.HEAD


def test_a_database_that_cannot_be_used_is_named_in_one_line(home: Home, postgres: Postgres) -> None:
    path = home.folder / "var" / "history.db"
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    assert "the file is damaged" in home.run("report", code=1)
    path.unlink()
    away = Home(home.folder, {"HISTORY_DATABASE_URL": "postgresql://user:hidden-secret@127.0.0.1:1/db"})
    error = away.run("report", code=1)
    assert "PostgreSQL at 127.0.0.1:1/db: it does not answer" in error
    assert "hidden-secret" not in error
    wrong = Home(home.folder, {"HISTORY_DATABASE_URL": postgres.url.replace("test-password", "hidden-secret")})
    error = wrong.run("report", code=1)
    assert "the password is wrong" in error
    assert "hidden-secret" not in error
    for url in ("mysql://host/db", "nonsense", "sqlite://"):
        assert "HISTORY_DATABASE_URL: write" in Home(home.folder, {"HISTORY_DATABASE_URL": url}).run("report", code=2)


def test_the_file_is_its_owner_s_only(home: Home) -> None:
    home.run("history", "import", given=LINES)
    files = list((home.folder / "var").iterdir())
    assert {path.name for path in files} >= {"history.db", "history.db.lock"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    with sqlite3.connect(home.folder / "var" / "history.db") as link:
        assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    link.close()
