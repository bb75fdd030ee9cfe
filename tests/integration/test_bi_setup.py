"""`rectbot bi setup` on a real PostgreSQL, against a stand-in that takes what Metabase takes, and no more."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.rows import dict_row
from sqlalchemy import Connection

from history_homes import Home
from history_stories import SITES, Chapter, play
from metabase_stand_in import Refused, StandIn, metabase_stand_in
from rectbot.bi.questions import COLLECTION, DASHBOARD, DATABASE, QUESTIONS
from rectbot.bi.reader import READER
from rectbot.bi.setup import set_up
from rectbot.cli import main
from rectbot.history import record
from rectbot.history.database import opened, writing
from rectbot.history.story import Told
from rectbot.settings import Settings, load_settings
from servers import free_port
from servers_postgres import PASSWORD, Postgres

ADMIN_PASSWORD, READERS, OWNERS = "Metabase-4dm1n_secret", "Readers-0wn_secret", "Owners-0wn_secret"
EMAIL = "admin@rectbot.invalid"
NAMES = [question.name for question in QUESTIONS]


@pytest.fixture
def metabase() -> Iterator[StandIn]:
    with metabase_stand_in() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, postgres: Postgres, metabase: StandIn) -> Home:
    """What `rectbot init` gives to the container that sets Metabase up."""
    name = f"history_{tmp_path.name.replace('-', '_')}_{abs(hash(str(tmp_path))) % 10**6}"[-60:]
    return Home(
        tmp_path / "home",
        {
            "HISTORY_DATABASE_URL": f"postgresql://bi_owner:{OWNERS}@127.0.0.1:{postgres.port}/{name}",
            "HISTORY_ADMIN_URL": postgres.url,
            "HISTORY_READER_PASSWORD": READERS,
            "METABASE_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "METABASE_URL": metabase.url,
        },
    )


def _set_up(home: Home, *options: str, code: int = 0) -> list[str]:
    said = home.run("bi", "setup", "--wait", "30s", *options, code=code)
    for secret in (ADMIN_PASSWORD, READERS, OWNERS, PASSWORD):
        assert secret not in said
    assert "Traceback" not in said
    return said.splitlines()


def _refused(home: Home, code: int = 1) -> str:
    [line] = [each for each in _set_up(home, code=code) if each.startswith("rectbot:")]
    return line


def test_from_nothing_to_a_dashboard_and_again(home: Home, metabase: StandIn) -> None:
    said = _set_up(home)
    assert f"bi: made {EMAIL} the administrator of Metabase; the password is METABASE_ADMIN_PASSWORD in .env" in said
    assert said[-1] == "bi: Metabase is set up"
    assert metabase.user == (EMAIL, ADMIN_PASSWORD)
    assert metabase.sessions == set(), "it logs out"
    [database] = metabase.databases.values()
    assert (database["name"], database["details"]["user"]) == (DATABASE, READER)
    collection = metabase.row("collections", COLLECTION)
    assert [card["name"] for card in metabase.cards.values()] == NAMES
    assert {card["collection_id"] for card in metabase.cards.values()} == {collection["id"]}
    dashboard = metabase.row("dashboards", DASHBOARD)
    assert [card["card_id"] for card in dashboard["dashcards"]] == list(metabase.cards)
    _no_two_overlap(dashboard["dashcards"])

    before, made = str((metabase.databases, metabase.collections, metabase.cards, dashboard)), metabase.made()
    assert _set_up(home) == ["bi: everything was there already, and was brought up to date"]
    assert metabase.made() == made
    assert str((metabase.databases, metabase.collections, metabase.cards, dashboard)) == before


def _no_two_overlap(cards: list[dict[str, Any]]) -> None:
    taken: set[tuple[int, int]] = set()
    for card in cards:
        rows, columns = (range(card[at], card[at] + card[size]) for at, size in (("row", "size_y"), ("col", "size_x")))
        fields = {(row, column) for row in rows for column in columns}
        assert not fields & taken
        assert max(columns) < 24, "a dashboard has 24 columns"
        taken |= fields


def test_what_was_spoilt_is_mended_and_what_an_operator_arranged_stays(home: Home, metabase: StandIn) -> None:
    _set_up(home)
    cards = list(metabase.cards.values())
    dashboard, collection = metabase.row("dashboards", DASHBOARD), metabase.row("collections", COLLECTION)
    wanted = cards[0]["dataset_query"]
    elsewhere = metabase._make("collection", metabase.collections, {"name": "Ours"})["id"]
    cards[0] |= {"dataset_query": wanted | {"native": {"query": "SELECT 1"}}, "name": "Wie war unser Monat?"}
    cards[1]["collection_id"] = dashboard["collection_id"] = elsewhere
    cards[2]["archived"] = True
    dashboard |= {"name": "Unser Bot", "tabs": [{"id": 5, "name": "One"}, {"id": 6, "name": "Two"}]}
    collection |= {"name": "Der Bot", "location": f"/{elsewhere}/"}
    dashboard["dashcards"] = dashboard["dashcards"][4:]  # the others were taken off
    for card in dashboard["dashcards"]:
        card |= {"dashboard_tab_id": 6, "size_y": 9}
    metabase.databases[next(iter(metabase.databases))] |= {"name": "Verlauf"}
    arranged, made = str(dashboard), metabase.made()
    said = _set_up(home)
    assert said[0] == f"bi: the question {NAMES[2]!r} is in Metabase's trash, and stays there"
    assert metabase.made() == made
    assert cards[0]["dataset_query"] == wanted
    assert cards[0]["name"] == "Wie war unser Monat?"
    assert cards[2]["archived"] is True
    assert str(dashboard) == arranged
    # one that is deleted for good is made anew, and comes below what is there, on the first tab
    del metabase.cards[cards[3]["id"]]
    assert f"bi: made the question {NAMES[3]!r}" in _set_up(home)
    new = dashboard["dashcards"][-1]
    assert (new["dashboard_tab_id"], new["card_id"]) == (5, metabase.row("cards", NAMES[3])["id"])
    assert [tab["name"] for tab in dashboard["tabs"]] == ["One", "Two"]
    assert len(dashboard["dashcards"]) == len(NAMES) - 4 + 1


def test_a_dashboard_or_a_collection_in_the_trash(home: Home, metabase: StandIn) -> None:
    _set_up(home)
    dashboard, collection = metabase.row("dashboards", DASHBOARD), metabase.row("collections", COLLECTION)
    dashboard["archived"] = True
    made = metabase.made()
    assert f"bi: the dashboard {DASHBOARD!r} is in Metabase's trash, and stays there" in _set_up(home)
    collection["archived"] = True
    assert "is in Metabase's trash: restore it there" in _refused(home)
    assert metabase.made() == made
    del metabase.collections[collection["id"]], metabase.dashboards[dashboard["id"]]
    metabase.cards.clear()
    _set_up(home)
    assert [card["name"] for card in metabase.cards.values()] == NAMES
    assert len(metabase.row("dashboards", DASHBOARD)["dashcards"]) == len(NAMES)


@pytest.mark.parametrize("path", ["/api/database", "/api/collection", "/api/card", "/api/dashboard"])
def test_a_run_that_was_cut_short_is_finished_and_nothing_is_made_twice(
    home: Home, metabase: StandIn, path: str
) -> None:
    """Metabase has made it, and we were not told."""
    whole = metabase.answer

    def cut(method: str, where: str, *rest: Any) -> Any:
        found = whole(method, where, *rest)
        if (method, where) == ("POST", path) and len(metabase.cards) in (0, 4, len(NAMES)):
            raise Refused(500, "gone")
        return found

    metabase.answer = cut  # type: ignore[method-assign,assignment]
    _refused(home)
    metabase.answer = whole  # type: ignore[method-assign]
    _set_up(home)
    assert len(metabase.databases) == 1
    assert [row["name"] for row in metabase.collections.values()].count(COLLECTION) == 1
    assert [card["name"] for card in metabase.cards.values()] == NAMES
    [dashboard] = metabase.dashboards.values()
    assert sorted(card["card_id"] for card in dashboard["dashcards"]) == sorted(metabase.cards)


def test_another_metabase_is_set_up_from_nothing(home: Home, metabase: StandIn) -> None:
    """What was remembered are numbers of the one before; in the new one they are other people's."""
    _set_up(home)
    with metabase_stand_in() as other:
        other.user = (EMAIL, ADMIN_PASSWORD)
        for number in range(11, 40):
            other.cards[number] = {"id": number, "name": "theirs", "collection_id": None, "archived": False}
        other.numbers = iter(range(100, 1000))
        home.settings["METABASE_URL"] = f"{other.url}/"
        _set_up(home)
        assert [card["name"] for card in other.cards.values()][29:] == NAMES
        assert all("dataset_query" not in other.cards[number] for number in range(11, 40))


def test_two_at_once_make_nothing_twice(home: Home, metabase: StandIn) -> None:
    _set_up(home)
    with psycopg.connect(home.settings["HISTORY_DATABASE_URL"]) as link:
        link.execute("SELECT pg_advisory_lock(%s)", (0x72656275,))
        assert "another 'rectbot bi setup' is at work" in _refused(home)


# --- Metabase that starts, refuses, or is something else


def test_it_waits_for_one_that_starts_slowly(home: Home) -> None:
    port = free_port()
    home.settings["METABASE_URL"] = f"http://127.0.0.1:{port}"
    answers = [
        (502, "text/html", "<html>Bad Gateway</html>"),
        (503, "application/json", '{"status":"initializing","progress":0.3}'),
        (503, "text/plain", "Metabase is still initializing. Please sit tight..."),
        (200, "text/html", "<html>please wait</html>"),
        (503, "application/json", '{"status":"Unable to get app-db connection"}'),
    ]
    said: list[str] = []
    with ExitStack() as stack:
        for line in set_up(_settings(home), 120):
            if "connection refused" in line:  # only now it begins
                found = stack.enter_context(metabase_stand_in(port))
                found.starting = list(answers)
            said.append(line)
        assert found.user == (EMAIL, ADMIN_PASSWORD)
    told = "\n".join(said)
    for state in ("connection refused", "it starts, 30% done", "it starts\n", "is not Metabase, or not yet"):
        assert state in told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((503, "application/json", '{"status":"initializing","progress":0.1}'), "it starts, 10% done"),
        ((200, "text/html", "<html>Grafana</html>"), "is not Metabase, or not yet"),
        ((200, "application/json", "[]"), "is not Metabase, or not yet"),
    ],
)
def test_it_waits_no_longer_than_it_should(
    home: Home, metabase: StandIn, answer: tuple[int, str, str], told: str
) -> None:
    metabase.starting = [answer] * 100
    line = home.run("bi", "setup", "--wait", "1s", code=1).splitlines()[-1]
    assert "is not ready after 1 s" in line
    assert told in line


def test_nobody_there_at_all(home: Home) -> None:
    home.settings["METABASE_URL"] = f"http://127.0.0.1:{free_port()}"
    assert "connection refused" in home.run("bi", "setup", "--wait", "0s", code=1)
    home.settings["METABASE_URL"] = "http://nobody.invalid:3001"
    assert "its name is not found" in home.run("bi", "setup", "--wait", "0s", code=1)
    home.settings["METABASE_URL"] = home.settings["METABASE_URL"].replace("http", "https")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home.settings["METABASE_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer in time" in home.run("bi", "setup", "--wait", "0s", code=1)


def test_a_redirect_is_not_followed(home: Home, metabase: StandIn) -> None:
    with metabase_stand_in() as elsewhere:
        for path in ("/api/session/properties", "/api/setup", "/api/database"):
            metabase.planned = {
                (method, path): (status, {"Location": f"{elsewhere.url}{path}"}, "")
                for method, status in (("GET", 302), ("POST", 308))
            }
            line = _refused(home)
            assert "redirects are not followed" in line
            assert "METABASE_URL" in line
        metabase.planned = {}
        metabase.starting = [(307, "text/plain", "")]
        assert "redirects are not followed" in _refused(home)
        assert elsewhere.headers == [], "neither password nor session went there"


def test_a_wrong_password_and_other_refusals(home: Home, metabase: StandIn) -> None:
    metabase.user = (EMAIL, "another-0ne_Password")
    line = _refused(home)
    assert "did not match stored password" in line
    assert "METABASE_ADMIN_PASSWORD into .env" in line
    text = "Too many attempts! You must wait 15 seconds before trying again."
    plan = {
        ("POST", "/api/session"): (401, {"Content-Type": "application/json"}, f'{{"errors":{{"username":"{text}"}}}}')
    }
    metabase.planned = plan
    assert text in _refused(home)
    metabase.planned = {}
    metabase.user, metabase.superuser = (EMAIL.upper(), ADMIN_PASSWORD), False
    line = _refused(home)
    assert "403: You don't have permissions to do that." in line
    assert "must be an administrator" in line


def test_a_setup_that_cannot_begin(home: Home, metabase: StandIn) -> None:
    metabase.token = None
    assert "gives no setup token: restart it" in _refused(home)
    metabase.token = "there"
    home.settings["METABASE_ADMIN_PASSWORD"] = "without-a-digit"
    line = _refused(home)
    assert "password: " in line
    assert "without-a-digit" not in line
    home.settings["METABASE_ADMIN_PASSWORD"] = ADMIN_PASSWORD
    page = (200, {"Content-Type": "text/html"}, "<html>")
    metabase.planned = {("GET", "/api/session/properties"): page}
    assert "is METABASE_URL Metabase's?" in _refused(home)
    metabase.planned = {("GET", "/api/session/properties"): (200, {"Content-Type": "application/json"}, "{}")}
    assert "is not Metabase: correct METABASE_URL" in _refused(home)


def test_somebody_else_makes_the_first_user_at_the_same_moment(home: Home, metabase: StandIn) -> None:
    text = "The /api/setup route can only be used to create the first user, however a user currently exists."
    metabase.planned = {("POST", "/api/setup"): (403, {"Content-Type": "text/plain"}, text)}
    assert "does not let admin@rectbot.invalid in" in _refused(home)
    metabase.planned = {}
    metabase.user = (EMAIL, ADMIN_PASSWORD)
    assert _set_up(home)[-1] == "bi: Metabase is set up"


def test_a_fault_of_metabases_own_shows_no_secret_that_was_sent(home: Home, metabase: StandIn) -> None:
    _set_up(home)
    [number] = metabase.databases
    shown = f'{{"message":"boom","via":[{{"data":{{"password":"{READERS}"}}}}],"type":"class java.lang.Exception"}}'
    for body in (shown, f'{{"message":"cannot connect with {READERS}"}}', READERS):
        metabase.planned = {("PUT", f"/api/database/{number}"): (500, {"Content-Type": "application/json"}, body)}
        line = _refused(home)
        assert "500" in line
        assert "look into its log" in line


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "7", '{"data": [7]}', "{", "[" * 100_000])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/session/properties"),
        ("POST", "/api/session"),
        ("GET", "/api/database"),
        ("GET", "/api/collection"),
        ("POST", "/api/collection"),
        ("POST", "/api/card"),
        ("POST", "/api/dashboard"),
    ],
)
def test_an_answer_of_another_form_is_an_error_of_one_line(
    home: Home, metabase: StandIn, method: str, path: str, body: str
) -> None:
    metabase.user = (EMAIL, ADMIN_PASSWORD)
    metabase.planned = {(method, path): (200, {"Content-Type": "application/json"}, body)}
    done = CliRunner().invoke(main, ("bi", "setup"), env=home.environment, catch_exceptions=False)
    if (path, body) not in ((p, b) for p in ("/api/database", "/api/collection") for b in ("[]",)):
        assert done.exit_code == 1
        assert done.stderr.startswith("rectbot: ")
        assert done.stderr.count("\n") == 1


# --- PostgreSQL


def test_the_questions_answer_what_the_report_says(home: Home, metabase: StandIn) -> None:
    """A month that was played, asked as Metabase asks: with the SQL that it was given, as the reader."""
    _set_up(home)
    story = [
        Chapter("xserver", 0, 1, 30, "expired", 2, False),
        Chapter("oci", 1, 0, 50, "handed-over", 0, False),
        Chapter("xserver", 0, 2, 100, "renew-failed", 0, True),
        Chapter("xserver", 3, 0, 7, "released", 0, False),
        Chapter("oci", 0, 1, 40, "released", 0, False),
        Chapter("xserver", 2, 0, 0, "released", 0, False),
    ]
    events, leads = play(story, open_end=True)
    alerts = [{"alerts": [_alert(day, name) for day in (12, 17, 18) for name in ("XserverPushStale", "RedisDown")]}]
    with _writing(home) as connection:
        record.set_sites(connection, SITES)
        record.add_events(connection, events)
        record.add_alerts(connection, alerts)
    report = home.report("--month", "2026-02")
    answers = {question.key: _ask(home, metabase, question.name) for question in QUESTIONS}

    assert report["availability"] < 1
    february = next(row for row in answers["by-month"] if row["month"] == "2026-02")
    assert float(february["availability"]) == pytest.approx(100 * report["availability"], abs=0.001)
    assert float(february["availability"]) <= 100 * report["availability"]
    assert float(february["down_s"]) == pytest.approx(report["down_s"], abs=0.001)
    assert answers["this-month"][0]["availability"] == answers["by-month"][-1]["availability"]
    recovery = next(row for row in answers["recovery"] if row["month"] == "2026-02")
    for name in ("down_s", "mean_time_to_recover_s", "longest_gap_s"):
        assert float(recovery[name]) == pytest.approx(report[name], abs=0.001), name
    assert recovery["outages"] == len(report["outages"])
    assert [(row["from"], row["until"], float(row["seconds"])) for row in reversed(answers["outages"])] == [
        (each["from"], each["until"], each["seconds"]) for each in report["outages"]
    ]
    for name in ("planned", "unplanned"):
        assert sum(row[name] for row in answers["switches"]) == report["switches"][name]
    assert sum(row["logins"] for row in answers["logins"]) == report["logins"]
    fired = {name: sum(row["fired"] for row in answers["alerts"] if row["name"] == name) for name in report["alerts"]}
    assert fired == report["alerts"] == {"RedisDown": 3, "XserverPushStale": 3}
    assert {str(row["week"]) for row in answers["alerts"]} == {"2026-02-09", "2026-02-16"}
    led = {row["site"]: float(row["hours"]) * 3600 for row in answers["sites"]}
    ended = {site: sum(lead.ended - lead.began for lead in leads if lead.site == site and lead.ended) for site in led}
    assert led["oci"] == ended["oci"] * 3600 == report["by_site"]["oci"]["leads_s"]
    assert led["xserver"] > report["by_site"]["xserver"]["leads_s"], "it leads until now"


def test_the_last_days_are_those_of_the_report(home: Home, metabase: StandIn) -> None:
    """Of the days that the question shows, which are counted back from now."""
    _set_up(home)
    now = int(time.time() * 1000)
    moves = [(now - 40 * DAY, "acquired", 1), (now - 40 * DAY, "ready", 1), (now - 20 * DAY, "released", 1)]
    moves += [(now - 19 * DAY, "acquired", 2), (now - 19 * DAY, "ready", 2), (now - 3 * DAY, "released", 2)]
    with _writing(home) as connection:
        told = [Told(at, kind, "oci", f"oci:{epoch}", epoch, "", None) for at, kind, epoch in moves]
        record.add_events(connection, told)
    rows = {str(row["date"]): float(row["availability"]) for row in _ask(home, metabase, "Availability by day, in %")}
    days = {day["date"]: day["availability"] for day in home.report("--since", "41d")["days"]}
    known = {date: share for date, share in days.items() if share is not None}
    assert set(rows) == set(known)
    assert len(rows) > 40
    today = max(rows)
    for date in set(rows) - {today}:
        assert rows[date] == pytest.approx(100 * known[date], abs=0.001)


DAY = 86_400_000


def _alert(day: int, name: str) -> dict[str, Any]:
    moment = f"2026-02-{day}T03:00:00Z"
    labels = {"alertname": name, "severity": "warning"}
    return {"status": "resolved", "labels": labels, "annotations": {}, "startsAt": moment, "endsAt": moment}


def _ask(home: Home, metabase: StandIn, name: str) -> list[dict[str, Any]]:
    """The question's answer, by the connection that Metabase was given."""
    card = metabase.row("cards", name)
    details = metabase.databases[card["dataset_query"]["database"]]["details"]
    given = {each: details[each] for each in ("host", "port", "dbname", "user", "password")}
    with psycopg.connect(**given, row_factory=dict_row) as link:
        rows = link.execute(card["dataset_query"]["native"]["query"]).fetchall()
    looks = card["visualization_settings"]
    shown = [*looks.get("graph.dimensions", []), *looks.get("graph.metrics", []), *looks.get("pie.dimension", [])]
    assert rows
    assert set(shown) <= set(rows[0]), "it is drawn from columns that are there"
    return rows


def _settings(home: Home) -> Settings:
    return load_settings(rectbot_home=home.folder, **{name.lower(): text for name, text in home.settings.items()})


@contextmanager
def _writing(home: Home) -> Iterator[Connection]:
    with opened(_settings(home)) as engine, writing(engine) as connection:
        yield connection


def _fill(home: Home) -> None:
    story = [Chapter("xserver", 0, 1, 30, "expired", 2, False), Chapter("oci", 0, 1, 3, "released", 0, False)]
    with _writing(home) as connection:
        record.set_sites(connection, SITES)
        record.add_events(connection, play(story, open_end=False)[0])


WRITES = [
    *(f"INSERT INTO {table} SELECT * FROM {table}" for table in ("event", "note", "site")),
    *("UPDATE event SET why = 'x'", "DELETE FROM leadership", "TRUNCATE alert", "DROP VIEW outage", "DROP TABLE event"),
    *("CREATE TABLE mine (x int)", "CREATE TEMPORARY TABLE mine (x int)", "CREATE SCHEMA mine"),
    *("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE ROLE mine", "CREATE DATABASE mine"),
    *("ALTER TABLE event ADD x int", "DO $$BEGIN LOCK TABLE event; END$$", "SET ROLE bi_owner"),
    *("COPY event TO PROGRAM 'true'", "COPY event TO '/tmp/there'", "SELECT pg_read_file('/etc/passwd')"),
    *("ALTER ROLE rectbot_reader SUPERUSER", "SELECT setval('event_id_seq', 1)", "SELECT nextval('event_id_seq')"),
]  # fmt: skip


def test_the_reader_reads_everything_and_writes_nothing(home: Home) -> None:
    _set_up(home)
    _fill(home)
    reader = home.settings["HISTORY_DATABASE_URL"].replace(f"bi_owner:{OWNERS}", f"{READER}:{READERS}")
    with psycopg.connect(reader, autocommit=True) as link:
        row = link.execute("SELECT COUNT(*) FROM event").fetchone()
        assert row is not None
        assert row[0] > 0
        for question in QUESTIONS:
            link.execute(question.sql)
        for off in ("SHOW default_transaction_read_only", "SET default_transaction_read_only = off"):
            link.execute(off)  # that alone would be its own to change
            for statement in WRITES:
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                    link.execute(statement)
    before = home.export()
    assert len(before) > 0


def test_what_a_later_version_adds_can_be_read_too(home: Home) -> None:
    _set_up(home)
    with psycopg.connect(home.settings["HISTORY_DATABASE_URL"]) as link:
        link.execute("CREATE TABLE later (x int)")
        link.execute("CREATE VIEW newer AS SELECT x FROM later")
    reader = home.settings["HISTORY_DATABASE_URL"].replace(f"bi_owner:{OWNERS}", f"{READER}:{READERS}")
    with psycopg.connect(reader) as link:
        link.execute("SELECT * FROM later, newer")


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT INSERT ON event TO rectbot_reader",
        "GRANT UPDATE ON note TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT bi_owner TO rectbot_reader",
        "GRANT pg_write_all_data TO rectbot_reader",
        "ALTER ROLE rectbot_reader CREATEROLE",
        "CREATE SCHEMA theirs AUTHORIZATION rectbot_reader",
    ],
)
def test_a_reader_that_may_do_more_is_not_given_to_metabase(
    home: Home, postgres: Postgres, metabase: StandIn, grant: str
) -> None:
    _set_up(home)
    home.settings.pop("HISTORY_ADMIN_URL")
    name = home.settings["HISTORY_DATABASE_URL"].rpartition("/")[2]
    metabase.journal.clear()
    with psycopg.connect(postgres.url_of(name), autocommit=True) as link:
        link.execute(grant)
    try:
        assert "may do more than read" in _refused(home)
        assert metabase.journal == []
    finally:
        with psycopg.connect(postgres.url_of(name), autocommit=True) as link:
            link.execute("DROP OWNED BY rectbot_reader CASCADE")
        with psycopg.connect(postgres.url, autocommit=True) as link:
            link.execute("DROP OWNED BY rectbot_reader")
            for (other,) in link.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
                with psycopg.connect(postgres.url_of(other), autocommit=True) as there:
                    there.execute("DROP OWNED BY rectbot_reader")
            link.execute("DROP ROLE rectbot_reader")


def test_without_a_superuser_it_is_said_what_to_run(home: Home, postgres: Postgres, metabase: StandIn) -> None:
    """A database of the operator's own, whose owner may make no roles."""
    admin = home.settings.pop("HISTORY_ADMIN_URL")
    name = home.settings["HISTORY_DATABASE_URL"].rpartition("/")[2]
    with psycopg.connect(postgres.url, autocommit=True) as link:
        link.execute(f"CREATE ROLE plain_{name} LOGIN PASSWORD '{OWNERS}'")
        link.execute(f"CREATE DATABASE {name} OWNER plain_{name}")
        link.execute("DROP ROLE IF EXISTS rectbot_reader")
    home.settings["HISTORY_DATABASE_URL"] = home.settings["HISTORY_DATABASE_URL"].replace("bi_owner", f"plain_{name}")
    assert "run this once with HISTORY_ADMIN_URL=postgresql://SUPERUSER" in _refused(home, code=2)
    assert metabase.journal == []
    home.settings["HISTORY_ADMIN_URL"] = admin
    _set_up(home)
    del home.settings["HISTORY_ADMIN_URL"]
    assert _set_up(home) == ["bi: everything was there already, and was brought up to date"]


def test_passwords_that_were_changed_in_env_are_brought_in(home: Home, metabase: StandIn) -> None:
    _set_up(home)
    home.settings["HISTORY_READER_PASSWORD"] = "a'new \"one\\ %s {0}"
    home.settings["HISTORY_DATABASE_URL"] = home.settings["HISTORY_DATABASE_URL"].replace(OWNERS, "n%3A%2F%40ew")
    _set_up(home)
    [database] = metabase.databases.values()
    assert database["details"]["password"] == "a'new \"one\\ %s {0}"
    home.settings["HISTORY_ADMIN_URL"] = home.settings["HISTORY_ADMIN_URL"].replace(PASSWORD, "wrong")
    assert "password authentication failed" in _refused(home)


def test_no_password_is_in_postgresqls_log(home: Home, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as link:
        link.execute("ALTER SYSTEM SET log_statement = 'all'")
        link.execute("SELECT pg_reload_conf()")
    try:
        _set_up(home)
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as link:
            link.execute("ALTER SYSTEM RESET log_statement")
            link.execute("SELECT pg_reload_conf()")
    log = (postgres.folder / "log").read_text()
    assert "ROLE" in log
    for secret in (READERS, OWNERS, ADMIN_PASSWORD):
        assert secret not in log


def test_what_sqlite_knows_is_carried_over_once(home: Home) -> None:
    url = home.settings.pop("HISTORY_DATABASE_URL")
    _fill(home)
    known = home.export()
    assert "the history is in SQLite" in _refused(home, code=2)
    home.settings["HISTORY_DATABASE_URL"] = url
    said = _set_up(home)
    assert any(f"{len(known)} events that were not known yet" in line for line in said)
    assert home.export() == known
    home.run("history", "prune", "--keep", "1d")
    _set_up(home)
    assert len(home.export()) < len(known), "what was forgotten since stays so"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HISTORY_READER_PASSWORD", "", "HISTORY_READER_PASSWORD is not set: 'rectbot init' makes it"),
        ("METABASE_ADMIN_PASSWORD", "", "METABASE_ADMIN_PASSWORD is not set: 'rectbot init' makes it"),
        ("METABASE_ADMIN_EMAIL", "admin", "write NAME@HOST.TLD"),
        ("METABASE_URL", "127.0.0.1:3001", "write http:// or https:// and a host"),
        ("METABASE_URL", "http://me:secret@127.0.0.1:3001", "write http:// or https:// and a host"),
        ("HISTORY_DATABASE_URL", "postgresql:///x", "HISTORY_DATABASE_URL: write postgresql://USER"),
        ("HISTORY_DATABASE_URL", f"postgresql://{READER}:x@127.0.0.1/x", "may only read; name the history's owner"),
        ("HISTORY_ADMIN_URL", "mysql://x:y@z/a", "HISTORY_ADMIN_URL: write postgresql://"),
    ],
)
def test_a_setting_that_is_wrong(home: Home, name: str, value: str, told: str) -> None:
    home.settings[name] = value
    assert told in home.run("bi", "setup", code=2)
