"""What stands in a store, a log or an answer is chosen by others: no command of ours passes it to the terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from rectbot.doctor import examine
from rectbot.doctor.verdict import fail
from rectbot.failover.events import Event
from rectbot.stack.status import Status
from rectbot.stack.view import render
from servers import RedisServer

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\x7f\u202egnp\n2026-01-01 00:00:00  acquired  all is well\r\u2028[bold red]x[/]"
SECRET = "s3cr3t/of the webhook"


def harmless(output: str, *, colours: bool = False) -> bool:
    if colours:
        output = "".join(
            part.partition("m")[2] if number else part for number, part in enumerate(output.split("\x1b["))
        )
    return not any(unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") and each not in "\n" for each in output)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def _run(home: Path, redis: RedisServer, *arguments: str, **more: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "RECTBOT_HOME": str(home),
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": redis.password,
        "USER": HOSTILE.replace("\x00", ""),
        "LOGNAME": HOSTILE,
        **more,
    }
    command = [sys.executable, "-m", "rectbot", *arguments]
    found = subprocess.run(command, env=environment, cwd=home, capture_output=True, timeout=120, check=False)
    return (found.stdout + found.stderr).decode()


def test_what_stands_in_the_store_is_shown_and_not_obeyed(tmp_path: Path, redis: RedisServer) -> None:
    shown = _run(tmp_path, redis, "failover", "hold", "--why", HOSTILE)
    assert harmless(shown), repr(shown)
    fields = ("kind", HOSTILE, "site", HOSTILE, "owner", HOSTILE, "epoch", "1", "why", HOSTILE)
    entry = ("XADD", "rectbot:events", "*", "ms", str(time.time_ns() // 10**6), *fields)
    subprocess.run(["redis-cli", "-p", str(redis.port), "-a", redis.password, *entry], check=True, capture_output=True)
    for arguments in (["status"], ["history"], ["history", "--explain"], ["history", "--json"], ["status", "--json"]):
        shown = _run(tmp_path, redis, "failover", *arguments)
        assert harmless(shown), (arguments, repr(shown))
        assert "owned" in shown, (arguments, shown)
        if "--json" in arguments:
            parts = [shown] if arguments[0] == "status" else shown.splitlines()
            assert any(
                "\x1b]0;owned" in json.dumps(json.loads(part), ensure_ascii=False).encode().decode("unicode_escape")
                for part in parts
            )
    kinds = [line.split()[2] for line in _run(tmp_path, redis, "failover", "history").splitlines()]
    assert kinds[:2] == ["suspended", "hold"], "an event is a line"
    assert len(kinds) == 3


def test_a_program_s_log_is_shown_and_not_obeyed(tmp_path: Path, redis: RedisServer) -> None:
    folder = tmp_path / "var" / "main" / "log"
    folder.mkdir(parents=True)
    (folder / "hub.log").write_text(f"\x1b[32mgreen\x1b[0m {HOSTILE} {SECRET}\n", encoding="utf-8")
    webhook = "https://discord.com/api/webhooks/1/s3cr3t%2Fof%20the%20webhook/slack"
    shown = _run(tmp_path, redis, "logs", "hub", DISCORD_ALERT_WEBHOOK_URL=webhook)
    assert "green" in shown
    assert "owned" in shown
    assert harmless(shown), repr(shown)
    assert SECRET not in shown


def test_the_views_show_hostile_names_as_they_are() -> None:
    site = {"heartbeat_age_s": 1.0, "eligible": True, "priority": 0, "state": HOSTILE}
    status = Status(
        leader={"site": HOSTILE, "epoch": 1, "since": HOSTILE, "lease_remaining_ms": 1},
        sites={HOSTILE: site},
        push={HOSTILE: {"age_s": 1.0}},
        alerts=[{"name": HOSTILE, "state": "firing", "severity": HOSTILE}],
        components={HOSTILE: {"healthy": False, "address": HOSTILE}},
        orders=[HOSTILE],
        events=[Event("1-0", 1.0, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE)],
    )
    for terminal in (False, True):
        output = io.StringIO()
        Console(file=output, force_terminal=terminal, width=2_000).print(render(status))
        assert harmless(output.getvalue(), colours=terminal), repr(output.getvalue())
        assert "[bold red]x" in output.getvalue()


def test_the_doctor_s_findings_too(capsys: pytest.CaptureFixture[str]) -> None:
    examine._print("push", fail(HOSTILE, HOSTILE))
    assert harmless(capsys.readouterr().out)


class _Missing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(404, explain="no such webhook")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def missing() -> Iterator[int]:
    """The port of a server that knows no webhook."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Missing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_an_error_shows_neither_escapes_nor_secrets(tmp_path: Path, redis: RedisServer, missing: int) -> None:
    token = "t0ken-of-the-webhook-" + "x" * 40
    for end in ("", "/", "/slack", "/github", "?wait=true", "/slack?x=" + token):
        url = f"http://127.0.0.1:{missing}/api/webhooks/1/{token}{end}"
        shown = _run(tmp_path, redis, "alert", "x", DISCORD_ALERT_WEBHOOK_URL=url)
        assert "404" in shown, shown
        assert token not in shown, end
    shown = _run(tmp_path, redis, "failover", "status", REDIS_PASSWORD=f"wrong {SECRET}")
    assert "wrong s3cr3t" not in shown
    assert harmless(_run(tmp_path, redis, "logs", HOSTILE))
    assert harmless(_run(tmp_path, redis, "failover", "drain", HOSTILE))
    assert harmless(_run(tmp_path, redis, "failover", "status", REDIS_HOST=HOSTILE))
