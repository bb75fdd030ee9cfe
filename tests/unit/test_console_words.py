"""The catalogue: both languages say everything; and what an act will do is said for every state."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rectbot.console.acts import Act, consequence
from rectbot.console.log_query import LEVELS
from rectbot.console.translate import replaced, translated
from rectbot.console.widgets import event_lines
from rectbot.console.words import LANGUAGES, Words, choose
from rectbot.dashboards.model import load
from rectbot.failover.events import MEANINGS, Event, Hold, Leader, Site, SiteState, Snapshot

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "src/rectbot/console"
DASHBOARDS = load(ROOT / "docker/monitoring/grafana/dashboards")
CATALOGUE: dict[str, dict[str, str]] = json.loads((CONSOLE / "words.json").read_text(encoding="utf-8"))
LEADER = Leader("xserver", "owner", 3, "2026-01-01T00:00:00.000Z", 4000)
SITES = {"xserver": Site(1.0, True, 0, serving=True), "oci": Site(1.0, True, 1)}


def _places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_with_the_same_places() -> None:
    for key, texts in CATALOGUE.items():
        wanted = ("ja",) if key.startswith(("event.", "kind.", "reason.", "summary.", "text.")) else LANGUAGES
        assert tuple(sorted(texts)) == tuple(sorted(wanted)), key
        assert len({frozenset(_places(text)) for text in texts.values()}) == 1, key


def test_every_kind_of_event_is_explained_in_both() -> None:
    for kind, meaning in MEANINGS.items():
        assert Words("en").meaning(kind) == meaning
        assert Words("ja").meaning(kind) != meaning
        assert Words("ja").optional(f"kind.{kind}"), "its name"


def test_reasons_are_said_in_japanese_and_what_a_person_wrote_stays() -> None:
    ja, en = Words("ja"), Words("en")
    for english, japanese in (
        ("not renewed since 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z から更新がありません"),
        ("stopped; not renewed since T", "停止しました; T から更新がありません"),
        ("hands over to oci: switch by admin: a {test}", "oci に引き渡します: admin: a {test} による切替"),
        ("the workload ended: the client closed itself", "ボットが終了しました: クライアントが自ら終了しました"),
        ("2 losses: leaves the lead to others for 60 s", "2 回失ったため、60 秒間は他に譲ります"),
    ):
        assert ja.reason(english) == japanese
        assert en.reason(english) == english
    for own in ("because {I} say so", "", "; ", "{", "stopped by me", "no lock here"):
        assert ja.reason(own) == own
    event = Event("1", 0.0, "drain", "oci", "me", 1, "stopped")
    assert [line["text"] for line in event_lines([event, event._replace(kind="released")], ja)] == [
        "oci: 停止しました",
        "oci: stopped",
    ], "an operator's own words are his"


def test_every_reason_in_the_catalogue_is_one_that_the_code_gives() -> None:
    code = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/rectbot").glob("[bf]*/**/*.py"))
    for key in CATALOGUE:
        if key.startswith("reason."):
            fixed = [part.strip() for part in re.split(r"\{[a-z]+\}", key.removeprefix("reason."))]
            assert all(part.strip(": ") in code for part in fixed), key


def test_every_alert_has_its_summary_in_japanese_with_whose_it_is() -> None:
    rules = [
        rule
        for path in (ROOT / "docker/monitoring/prometheus/alerts").glob("*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert {f"summary.{rule['alert']}" for rule in rules} == {key for key in CATALOGUE if key.startswith("summary.")}
    for rule in rules:
        english = rule["annotations"]["summary"]
        labels = {"alertname": rule["alert"], "site": "the-site"}
        shown = Words("ja").summary(labels, english)
        assert re.search(r"[\u3040-\u30ff]", shown), "it is Japanese"
        assert ("the-site" in shown) == ("$labels" in english), rule["alert"]
        assert Words("en").summary(labels, english) == english
    assert Words("ja").summary({"alertname": "MyOwn"}, "Mine") == "Mine"
    assert Words("ja").summary({"alertname": "TargetDown", "job": "loki"}, "x").startswith("loki")


def test_every_key_in_the_code_is_in_the_catalogue() -> None:
    for path in CONSOLE.rglob("*.py"):
        for key in re.findall(r'words\(\s*f?"([a-z]+\.[a-z.]+)"', path.read_text(encoding="utf-8")):
            assert key in CATALOGUE, f"{path.name}: {key}"


def test_every_key_in_the_catalogue_is_in_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in CONSOLE.rglob("*.py"))
    made = tuple(re.findall(r'\(f"([a-z]+\.[a-z.]*)\{', code))  # the beginnings of keys that are put together
    made = (*made, "reason.")  # which another test looks for
    unused = [
        key for key in CATALOGUE if not re.search(rf'["\']{re.escape(key)}["\']', code) and not key.startswith(made)
    ]
    assert not unused


def test_every_text_of_a_dashboard_has_its_japanese_and_changes_nothing_else() -> None:
    used = set()

    def note(text: str) -> str:
        used.add(text)
        return f"<{text}>"

    for dashboard in DASHBOARDS.values():
        assert replaced(replaced(dashboard, note), lambda text: text[1:-1]) == dashboard
    words = {text for text in used if re.search(r"[A-Za-z]{2}", re.sub(r"\{\{.*?\}\}| p\d\d", "", text))}
    missing = {text for text in words if f"text.{text.removeprefix('rectbot: ')}" not in CATALOGUE}
    assert missing == set(LEVELS), "which are values of a label"
    unused = {key for key in CATALOGUE if key.startswith("text.") and key.removeprefix("text.") not in used}
    assert unused == {f"text.{each['title'].removeprefix('rectbot: ')}" for each in DASHBOARDS.values()} - {
        f"text.{text}" for text in used
    }


def test_a_dashboard_is_shown_in_the_visitors_language() -> None:
    given = {"title": "rectbot: Logs", "panels": [{"title": "Disk free", "fieldConfig": {"overrides": [
        {"matcher": {"id": "byName", "options": "State"}}]}, "expr": "Site"}]}  # fmt: skip
    shown = translated(given, Words("ja"))
    assert shown["title"] == "ログ"
    assert shown["panels"][0]["title"] == "ディスクの空き"
    assert shown["panels"][0]["fieldConfig"]["overrides"][0]["matcher"]["options"] == "状態"
    assert shown["panels"][0]["expr"] == "Site"
    assert translated(given, Words("en")) == given | {"title": "Logs", "language": "en"}


def test_every_state_of_a_site_has_a_name_and_a_colour() -> None:
    colours = (CONSOLE / "static/console.css").read_text(encoding="utf-8")
    for state in (*get_args(SiteState), "unknown"):
        assert f"state.{state}" in CATALOGUE
        assert f".state.{state}" in colours or state == "unknown"


@pytest.mark.parametrize(
    ("cookie", "header", "language"),
    [("", "", "en"), ("", "ja,en;q=0.8", "ja"), ("", "fr,ja;q=0.5", "ja"), ("en", "ja", "en"), ("xx", "de", "en")],
)
def test_the_language_is_the_visitors(cookie: str, header: str, language: str) -> None:
    assert choose({"rectbot_language": cookie}, header).language == language


@pytest.mark.parametrize(
    ("act", "snapshot", "says"),
    [
        (Act("switch", "oci"), Snapshot(LEADER, SITES), "logs out at xserver and logs in at oci: one login"),
        (Act("switch", "oci"), Snapshot(None, SITES), "Nobody leads now. The bot logs in at oci"),
        (Act("switch", "xserver"), Snapshot(LEADER, SITES), "leads already"),
        (Act("switch", "oci"), Snapshot(LEADER, {"xserver": SITES["xserver"]}), "it is not running, or is cut off"),
        (Act("switch", "oci"), Snapshot(LEADER, SITES, drained={"oci": "by me"}), "because it is drained"),
        (Act("switch", "oci"), Snapshot(LEADER, SITES | {"oci": Site(1.0, False, 1)}), "sits out"),
        (
            Act("switch", "oci"),
            Snapshot(LEADER, SITES | {"oci": Site(9.0, False, 1, ttl_ms=6000)}),
            "it is not running, or is cut off",
        ),
        (Act("switch", "oci"), Snapshot(LEADER, SITES, next_login_s=90), "the next one is free in 2 min"),
        (Act("switch", "xserver"), Snapshot(LEADER, SITES, next_login_s=90), "leads already"),
        (Act("drain", "xserver"), Snapshot(LEADER, SITES, hold=Hold(60, "oci", "")), "logs in at oci"),
        (Act("drain", "xserver"), Snapshot(LEADER, SITES), "logs out at xserver and logs in at oci"),
        (Act("drain", "xserver"), Snapshot(LEADER, {"xserver": SITES["xserver"]}), "OFFLINE"),
        (Act("drain", "xserver"), Snapshot(LEADER, SITES, hold=Hold(60, "xserver", "")), "OFFLINE"),
        (Act("drain", "oci"), Snapshot(LEADER, SITES), "Nobody logs in or out"),
        (Act("hold"), Snapshot(LEADER, SITES), "if xserver dies, the bot stays offline"),
        (Act("hold"), Snapshot(None, SITES), "only the site that led last"),
        (Act("unhold"), Snapshot(LEADER, SITES), "move automatically again"),
        (Act("undrain", "oci"), Snapshot(LEADER, SITES), "oci may lead again"),
    ],
)
def test_what_will_happen_is_said(act: Act, snapshot: Snapshot, says: str) -> None:
    found = consequence(Words("en"), snapshot, act)
    assert says in found.text
    assert act.site in found.verb
    assert found.possible == ("cannot be done" not in found.text)
    assert consequence(Words("ja"), snapshot, act).possible == found.possible
