"""`rectbot logs ship FILE...` as a process: restarts, rotation, an absent Loki."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_glob_that_names_rotated_files_too_stores_every_line_once(number: int, loki: StandIn, tmp_path: Path) -> None:
    """What the shell makes of bot.log*: old files are shipped, once, and rotating them ships nothing again."""
    log, old, older = tmp_path / "bot.log", tmp_path / "bot.log.1", tmp_path / "bot.log.2.gz"
    older.write_bytes(gzip.compress(b"line 0\nline 1\n"))
    write(old, 2, 4)
    write(log, 4, 6)
    (tmp_path / "same.log").hardlink_to(log)
    (tmp_path / "link.log").symlink_to(log)
    names = ("bot.log", "bot.log.1", "bot.log.2.gz", "same.log", "link.log")
    written = 6
    for _ in range(3):
        with shipping(tmp_path, loki.port, *names) as process:
            until(lambda seen=written: len(loki.texts()) >= seen, "what is there")  # type: ignore[misc]
            process.send_signal(number)
            process.wait(30)
            write(log, written, written + 2)
            older.write_bytes(gzip.compress(old.read_bytes()))
            log.replace(old)
            write(log, written + 2, written + 4)
            written += 4
    with shipping(tmp_path, loki.port, *names):
        until(lambda: len(loki.texts()) >= written, "the rest")
        log.replace(old)
        write(log, written, written + 1)
        until(lambda: len(loki.texts()) > written, "one more")
    assert sorted(loki.texts()) == sorted(lines(written + 1))


def test_the_state_of_an_earlier_version_is_gone_on_with(loki: StandIn, tmp_path: Path) -> None:
    log, old = tmp_path / "bot.log", tmp_path / "bot.log.1"
    old.write_text("an old line\n")
    os.utime(old, (1, 1))
    write(log, 0, 10)
    head = log.read_bytes()[:30]
    known = {
        "inode": log.stat().st_ino,
        "offset": 35,
        "head": hashlib.blake2b(head, digest_size=16).hexdigest(),
        "head_size": len(head),
    }
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"files": {str(log): known}, "unsent": None}))
    with shipping(tmp_path, loki.port, "bot.log", "--state", str(state)):
        until(lambda: len(loki.texts()) == 5, "from where it was")
        old.rename(tmp_path / "bot.log.2")
        log.rename(old)
        write(log, 10, 12)
        until(lambda: len(loki.texts()) >= 7, "what comes")
    assert loki.texts() == lines(12)[5:]


def test_a_hole_costs_no_memory_and_is_no_line(loki: StandIn, tmp_path: Path) -> None:
    """copytruncate, while the program goes on writing where it was: 1 GB of nothing, then lines."""
    log = tmp_path / "bot.log"
    write(log, 0, 1)
    with shipping(tmp_path, loki.port, "bot.log") as process:
        until(loki.texts, "the first line")
        shutil.copy(log, tmp_path / "bot.log.1")
        with log.open("r+b") as file:
            file.truncate(0)
            file.seek(10**9)
            file.write(b"line 1\nline 2\n")
        until(lambda: len(loki.texts()) >= 3, "the real ones")
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert peak is not None
        assert int(peak[1]) < 150_000
    assert loki.texts() == lines(3)


def test_two_shippers_do_not_share_a_state(loki: StandIn, tmp_path: Path) -> None:
    write(tmp_path / "bot.log", 0, 1)
    with shipping(tmp_path, loki.port, "bot.log"):
        until(loki.texts, "the first one works")
        _, errors = command(tmp_path, loki.port, "bot.log").communicate(timeout=30)
        assert "another 'rectbot logs ship' uses it" in errors


NOW = 1_795_413_600 * 10**9
# discord.utils._ColourFormatter; without a zone, so the host's
DISCORD_PY = (
    f"\x1b[30;1m{datetime.fromtimestamp(NOW // 10**9 - 1):%Y-%m-%d %H:%M:%S}\x1b[0m "
    "\x1b[34;1m{}\x1b[0m \x1b[35mdiscord.client\x1b[0m logging in using static token"
)


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
        ("\x1b[31mERROR\x1b[0m boom", "error", NOW),
        ("\x1b[1;38;2;255;0;0mWARNING\x1b[m boom", "warn", NOW),
        ("[31mERROR[0m: a pager took the escape away", "error", NOW),
        ("#033[31mERROR#033[0m as rsyslog writes it", "error", NOW),
        ("\x9b33mWARN \x9b0m in one byte", "warn", NOW),
        ("\x1b[36mlevel\x1b[0m=\x1b[31mfatal\x1b[0m msg=x", "critical", NOW),
        ('{"level":"\\u001b[31merror\\u001b[39m","message":"winston"}', "error", NOW),
        (DISCORD_PY.format("INFO    "), "info", NOW - 10**9),
        (DISCORD_PY.format("CRITICAL"), "critical", NOW - 10**9),
        ("\x1b[2m2026-11-23T05:59:59Z\x1b[0m \x1b[32m INFO\x1b[0m tracing", "info", NOW - 10**9),
        ("", None, NOW),
    ],
)
def test_what_a_line_says_of_itself(text: str, level: str | None, time: int) -> None:
    assert guess(text, NOW) == (level, time)
