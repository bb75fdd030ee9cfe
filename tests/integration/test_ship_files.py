"""`rectbot logs ship FILE...` as a process: restarts, rotation, an absent Loki."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loki_stand_in import StandIn, stand_in
from rectbot.logs.ship.guess import guess
from servers import free_port
from servers_monitoring import until


@pytest.fixture
def loki() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


def command(folder: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "RECTBOT_HOME": str(folder),
        "LOKI_URL": f"http://127.0.0.1:{port}",
        "SITE_ID": "xserver",
    }
    words = [sys.executable, "-m", "rectbot", "logs", "ship", *arguments]
    return subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


@contextmanager
def shipping(folder: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = command(folder, port, *arguments)
    try:
        yield process
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
        assert "Traceback" not in errors, errors


def write(path: Path, first: int, last: int) -> None:
    with path.open("a") as file:
        file.writelines(f"line {number}\n" for number in range(first, last))


def lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def test_files_are_shipped_with_labels_as_they_grow(loki: StandIn, tmp_path: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    write(one, 0, 10)
    with shipping(tmp_path, loki.port, "one.log", "two.log", "--job", "node", "--label", "env=test"):
        until(
            lambda: loki.texts(job="node", site="xserver", env="test", filename=str(one)) == lines(10), "what is there"
        )
        two.write_text('{"level":50,"msg":"pino says error"}\nlevel=warn msg=logfmt\n2026 [INFO] plain\nno level\n')
        until(lambda: len(loki.texts(filename=str(two))) == 4, "what comes")
    assert loki.texts(level="error") == ['{"level":50,"msg":"pino says error"}']
    assert loki.texts(level="warn") == ["level=warn msg=logfmt"]
    assert loki.texts(level="info") == ["2026 [INFO] plain"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_goes_on_where_it_was(number: int, loki: StandIn, tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    write(log, 0, 100)
    with shipping(tmp_path, loki.port, "bot.log") as process:
        until(lambda: len(loki.texts()) == 100, "the first part")
        process.send_signal(number)
        process.wait(30)
        assert process.returncode == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    write(log, 100, 150)
    log.rename(tmp_path / "bot.log.1")
    write(log, 150, 200)
    with shipping(tmp_path, loki.port, "bot.log"):
        until(lambda: len(loki.texts()) >= 200, "the second part")
    assert loki.texts() == lines(200)


def test_kills_lose_nothing_and_double_nothing(loki: StandIn, tmp_path: Path) -> None:
    """Also in between, when Loki has taken a batch and the answer did not arrive: it is sent again as it was."""
    log, batches = tmp_path / "bot.log", 6
    written = 0
    for _ in range(batches):
        write(log, written, written + 200)
        written += 200
        attempts = loki.attempts
        with shipping(tmp_path, loki.port, "bot.log") as process:
            until(lambda seen=attempts: loki.attempts > seen, "a push arrives")  # type: ignore[misc]
            process.kill()  # at a moment between the push and what is remembered of it
    with shipping(tmp_path, loki.port, "bot.log"):
        until(lambda: len(loki.texts()) >= written, "the rest")
    assert loki.texts() == lines(written)


def test_while_loki_is_away_the_files_are_the_buffer(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "bot.log"
    write(log, 0, 10)
    with shipping(tmp_path, port, "bot.log"):
        state = tmp_path / "var/logs/ship-bot.json"
        until(lambda: state.exists() and json.loads(state.read_text())["unsent"], "it tries")
        write(log, 10, 20)
        log.rename(tmp_path / "bot.log.1")
        write(log, 20, 30)
        with stand_in(port) as loki:
            until(lambda: len(loki.texts()) == 30, "all arrives")
            assert loki.texts() == lines(30)
    assert state.stat().st_mode & 0o777 == 0o600


def test_a_much_longer_file_comes_in_many_batches(loki: StandIn, tmp_path: Path) -> None:
    write(tmp_path / "bot.log", 0, 200_000)
    process = command(tmp_path, loki.port, "--once", "bot.log")
    assert process.communicate(timeout=60)[1] == ""
    assert loki.attempts > 3
    assert max(loki.sizes) < 1_000_000, "the push proxy takes 1 MB"
    assert loki.texts() == lines(200_000)


def test_new_lines_only(loki: StandIn, tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    write(log, 0, 5)
    with shipping(tmp_path, loki.port, "--new", "bot.log", "other.log") as process:
        assert process.stderr is not None
        assert "other.log: is not there yet" in process.stderr.readline()  # it has looked at both
        write(log, 5, 8)
        until(lambda: loki.texts() == lines(8)[5:], "only the new ones")


def test_a_loki_that_is_away_is_told_and_so_is_its_return(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path / "bot.log", 0, 1)
    with shipping(tmp_path, port, "bot.log") as process:
        assert process.stderr is not None
        assert "cannot ship, and wait" in process.stderr.readline()
        with stand_in(port):
            assert process.stderr.readline() == "logs ship: lines are shipped again\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--label", "x", "bot.log"), "write NAME=VALUE"),
        (("--label", "a-b=c", "bot.log"), "write NAME=VALUE"),
        (("--state", "/proc/nothing/x", "bot.log"), "name another file with --state"),
        (("--state", "broken.json", "bot.log"), "is not a state of 'rectbot logs ship'"),
        (("--once", "bot.log"), "the lines are kept and sent next time"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    write(tmp_path / "bot.log", 0, 1)
    process = command(tmp_path, free_port(), *arguments)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in {1, 2}
    assert said in errors
    assert errors.count("\n") == 1


def test_two_shippers_do_not_share_a_state(loki: StandIn, tmp_path: Path) -> None:
    write(tmp_path / "bot.log", 0, 1)
    with shipping(tmp_path, loki.port, "bot.log"):
        until(loki.texts, "the first one works")
        _, errors = command(tmp_path, loki.port, "bot.log").communicate(timeout=30)
        assert "another 'rectbot logs ship' uses it" in errors


NOW = 1_795_413_600 * 10**9


@pytest.mark.parametrize(
    ("text", "level", "time"),
    [
        ('{"level":"warning","time":1795413500123}', "warn", 1_795_413_500_123_000_000),
        ('{"level":60,"time":"2026-11-23T05:59:59.5Z"}', "critical", NOW - 500_000_000),
        ('{"severity":"NOTICE","ts":1795413500.5}', "info", 1_795_413_500_500_000_000),
        ('{"level":20}', "debug", NOW),
        ('{"level":10}', "trace", NOW),
        ('{"level":true,"time":false}', None, NOW),
        ('{"level":[],"time":{}}', None, NOW),
        ('{"time":1e300}', None, NOW),
        ('{"time":NaN}', None, NOW),
        ('{"time":1}', None, NOW),  # 1970: of no use, Loki would refuse it
        ('{"time":"2030-01-01T00:00:00Z"}', None, NOW),
        ("{broken", None, NOW),
        ("2026-11-23T06:00:00Z ERROR boom", "error", NOW),
        ("[2026-11-23 14:59:59,250+09:00] warn: x", None, NOW - 750_000_000),
        ("2026-13-45 99:99:99 x", None, NOW),
        ('ts=1 level="error" msg=x', "error", NOW),
        ("no ERRORS here", None, NOW),
        ("", None, NOW),
    ],
)
def test_what_a_line_says_of_itself(text: str, level: str | None, time: int) -> None:
    assert guess(text, NOW) == (level, time)
