"""`rectbot logs query`: pages, ranges, output, and what is said of mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loki_stand_in import StandIn, stand_in
from rectbot.cli import main
from rectbot.errors import ConfigError
from rectbot.logs.client.query import PAGE, Entry, QueryClient, Range
from rectbot.logs.client.render import as_text
from rectbot.logs.client.show import Question, time_range
from rectbot.logs.client.target import Target
from servers import free_port

HOUR = 3600 * 10**9


@pytest.fixture
def loki(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    for name in ("LOKI_URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECTBOT_HOME", str(tmp_path))
    with stand_in() as server:
        yield server


def fill(loki: StandIn, entries: list[Entry]) -> None:
    for entry in entries:
        loki.entries[json.dumps(entry.labels, sort_keys=True), str(entry.time), entry.text] = entry.labels


def query(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", "query", *arguments])


@pytest.mark.parametrize("together", [1, 7, PAGE + 300])
@pytest.mark.parametrize("limit", [None, 1, PAGE, PAGE + 1, 2500])
def test_pages_give_every_line_once_and_in_order(together: int, limit: int | None, loki: StandIn) -> None:
    """Also where many lines of several streams share a moment, at which a page may end."""
    entries = [
        Entry(10**18 + number // together, {"job": "bot", "site": str(number % 3)}, f"line {number}")
        for number in range(3000)
    ]
    fill(loki, entries)
    within = Range(10**18, 10**18 + HOUR)
    found = list(QueryClient(Target(loki.url)).answer("{}", within, limit))
    assert all(isinstance(entry, Entry) for entry in found)
    times = [entry.time for entry in found]
    assert times == sorted(times)
    assert len(set(map(str, found))) == len(found) == (3000 if limit is None else limit)
    if limit is None:
        assert sorted(map(str, found)) == sorted(map(str, entries))
    else:
        assert times == [entry.time for entry in entries][-limit:], "the newest"


def now() -> int:
    return time.time_ns() - 10**9


def test_text_json_and_raw(loki: StandIn) -> None:
    text = json.dumps({"level": "error", "msg": "no luck", "guild": 7, "trace": "Traceback:\n  here"})
    labels = {"job": "bot", "site": "oci", "level": "error"}
    at = now()
    fill(loki, [Entry(at, labels, text), Entry(at + 1, {"job": "web"}, "plain \x1b[31mred\x07")])
    shown = query("--url", loki.url, "{}").output.splitlines()
    assert shown[0].endswith(" ERROR bot@oci no luck guild=7")
    assert shown[1:3] == ["    Traceback:", "      here"]
    assert shown[3].endswith("       web plain \\x1b[31mred\\x07"), "what was logged commands no terminal"
    assert query("--url", loki.url, "-o", "raw", "{}").output == f"{text}\nplain \x1b[31mred\x07\n"
    first = json.loads(query("--url", loki.url, "-o", "json", "{}").output.splitlines()[0])
    assert first == {"time": str(at), "labels": labels, "line": text}


def test_colours_only_where_they_are_wanted(loki: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(loki, [Entry(now(), {"level": "error"}, "x")])
    assert "\x1b[" not in query("--url", loki.url, "{}").output
    assert "\x1b[31m" in query("--url", loki.url, "--color", "{}").output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" in query("--url", loki.url, "--color", "{}").output, "the option is nearer than the environment"


@pytest.mark.parametrize(
    ("level", "style"), [("debug", "34"), ("info", "32"), ("warn", "33"), ("warning", "33"), ("fatal", "31"), ("", "0")]
)
def test_each_level_has_its_colour(level: str, style: str) -> None:
    assert f"\x1b[{style}m" in as_text(Entry(10**18, {"detected_level": level}, "text"))


@pytest.mark.parametrize("text", ["{", '{"msg": 1}', '{"a": 1}', "[1]", "{" * 100_000, '{"msg": null, "trace": 5}', ""])
def test_any_line_is_shown(text: str) -> None:
    assert as_text(Entry(10**18, {}, text))


def test_the_query_and_the_time_are_passed_on(loki: StandIn) -> None:
    assert query("--url", loki.url, '{job="a b"} |= "ü"', "--since", "1h30m", "-n", "5").exit_code == 0
    asked = loki.questions[-1]
    assert asked["query"] == '{job="a b"} |= "ü"'
    assert asked["limit"] == "5"
    assert int(asked["end"]) - int(asked["start"]) == 5400 * 10**9


def test_a_metric_query_gives_values(loki: StandIn) -> None:
    series = [{"metric": {"site": "oci"}, "values": [[1793491200, "3"], [1793491260.5, "4.5"]]}]
    loki.say = 200, json.dumps({"data": {"resultType": "matrix", "result": series}}).encode()
    lines = query("--url", loki.url, "count_over_time({}[1m])").output.splitlines()
    assert [line.split()[2:] for line in lines] == [["3", '{site="oci"}'], ["4.5", '{site="oci"}']]
    assert query("--url", loki.url, "-o", "raw", "x").output == "3\n4.5\n"
    first = json.loads(query("--url", loki.url, "-o", "json", "x").output.splitlines()[0])
    assert first == {"time": 1793491200.0, "metric": {"site": "oci"}, "value": "3"}
    followed = query("--url", loki.url, "-f", "x")
    assert followed.exit_code == 2
    assert "only a log query can be followed" in followed.output


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ((400, b"parse error at line 1, col 5: syntax error"), 2, "does not take the query: parse error at line 1"),
        ((401, b""), 1, "401: wrong user or password"),
        ((404, b"<title>404 Not Found</title>"), 1, "the push proxy takes pushes only"),
        ((429, b"too many outstanding requests"), 1, "429: too many outstanding requests"),
        ((200, b"<html>"), 1, "is it Loki that listens there?"),
        ((200, b"[]"), 1, "is it Loki that listens there?"),
        ((200, b'{"data": {"resultType": "streams"}}'), 1, "is it Loki that listens there?"),
    ],
)
def test_a_refusal_is_one_line(answer: tuple[int, bytes], code: int, said: str, loki: StandIn) -> None:
    loki.say = answer
    done = query("--url", loki.url, "{")
    assert (done.exit_code, done.output.count("\n")) == (code, 1)
    assert said in done.output


def test_nobody_there_is_one_line(loki: StandIn) -> None:
    done = query("--url", f"http://127.0.0.1:{free_port()}", "{}")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "Connection refused" in done.output


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    now = 10**18
    assert time_range(Question("{}", begin=text), now) == (now - seconds * 10**9, now)
    assert time_range(Question("{}", begin="3w", end=text), now).end == now - seconds * 10**9


@pytest.mark.parametrize("text", ["", "h", "1 h", "-1h", "1h!", "1H", "99999999999h", "2026-13-99"])
def test_what_is_no_time_is_refused(text: str) -> None:
    for question in (Question("{}", begin=text), Question("{}", end=text)):
        with pytest.raises(ConfigError, match=r"--(since|until) .*is neither a duration nor a date"):
            time_range(question, 10**18)


def test_a_step_goes_out_in_seconds(loki: StandIn) -> None:
    loki.say = 200, json.dumps({"data": {"resultType": "matrix", "result": []}}).encode()
    assert query("--url", loki.url, "--step", "1m30s", "x").exit_code == 0
    assert float(loki.questions[-1]["step"]) == 90


def test_dates() -> None:
    within = time_range(Question("{}", begin="2026-11-23T15:00+09:00", end="2026-11-23T06:30Z"), 0)
    assert within.end - within.start == HOUR // 2
    assert within.start == 1_795_413_600 * 10**9
    with pytest.raises(ConfigError, match="--since must be before --until"):
        time_range(Question("{}", begin="2026-11-24", end="2026-11-23"), 0)
    before = time_range(Question("{}", begin="1h", end="20261123"), 0)
    assert before.end - before.start == HOUR
    both = time_range(Question("{}", begin="2h", end="1h"), 10**18)
    assert (both.start, both.end) == (10**18 - 2 * HOUR, 10**18 - HOUR)


def test_a_component_s_output_is_still_shown(loki: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "var" / "main" / "log"
    folder.mkdir(parents=True)
    (folder / "nginx.log").write_text("one\ntwo\n")
    for arguments in (["nginx", "-n", "1"], ["-n", "1", "nginx"], ["show", "nginx", "-n", "1"]):
        assert CliRunner().invoke(main, ["logs", *arguments]).output == "two\n"
    assert "there is nginx" in CliRunner().invoke(main, ["logs", "redis"]).output


def test_a_reader_that_goes_away_is_no_error(loki: StandIn) -> None:
    fill(loki, [Entry(now() - number, {}, "x" * 1000) for number in range(2000)])
    command = f"{sys.executable} -m rectbot logs query --url {loki.url} -n 0 '{{}}' | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
