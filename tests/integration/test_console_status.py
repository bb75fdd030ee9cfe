"""The status page: everybody sees whether the bot is up, down, or whether that is unknown; and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from hubs import Hub, hub, wait
from rectbot.console.status_page import DAYS
from servers import RedisServer, redis_server

pytestmark = pytest.mark.timeout(480)
PATHS = ("/status", "/status.svg")
TTL_MS = 6_000
SITE = "secret-site"  # which nobody is to read


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def ask(found: Hub, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", found.console, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"},
            answer.read().decode(),
        )


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def _settings(redis: RedisServer) -> dict[str, str]:
    return {
        "REDIS_PORT": str(redis.port),
        "REDIS_PASSWORD": redis.password,
        "LOCK_TTL_MS": str(TTL_MS),
        "FAILOVER_PRIORITY": f"{SITE},oci",
    }


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Hub]:
    """A console behind a login, with a status page."""
    settings = {"CONSOLE_LOGIN": "true", "DASHBOARD_ADMIN_PASSWORD": "who-acts", "STATUS_PAGE": "true"}
    with hub(tmp_path_factory.mktemp("home"), **settings, **_settings(redis)) as found:
        wait(found, "serving the console")
        yield found


@contextlib.contextmanager
def _site(folder: Path, redis: RedisServer) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"FAILOVER_ENABLED": "true", "SITE_ID": SITE, "RECTBOT_HOME": str(folder), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "rectbot", "failover", "run", "--", "sleep", "1000"]
    with (folder / "site.log").open("wb") as log:
        process = subprocess.Popen(command, env=settings | _settings(redis), cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _until(found: Hub, says: str) -> Answer:
    deadline = time.monotonic() + 150
    while says not in (answer := ask(found, "/status")).body:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.5)
    return answer


def test_it_tells_up_down_and_unknown_and_names_nothing(public: Hub, redis: RedisServer, tmp_path: Path) -> None:
    _until(public, "The bot is offline.")
    with _site(tmp_path, redis):
        _until(public, "The bot is online.")
        assert ">online" in ask(public, "/status.svg").body
        japanese = ask(public, "/status", Accept_Language="ja").body
        assert "ボットはオンラインです。" in japanese
        assert 'lang="ja"' in japanese
        assert japanese.count("<li ") == DAYS
        # Of most days nothing was recorded, and so nothing is said of them.
        assert japanese.count('class="unknown"') >= DAYS - 2
        _names_nothing(public, redis)
        assert redis.process is not None
        os.kill(redis.process.pid, signal.SIGSTOP)
        try:
            _until(public, "Unknown whether the bot is online.")
            assert ">unknown<" in ask(public, "/status.svg").body
            _names_nothing(public, redis)
        finally:
            os.kill(redis.process.pid, signal.SIGCONT)
        _until(public, "The bot is online.")
    _until(public, "The bot is offline.")


def _names_nothing(found: Hub, redis: RedisServer) -> None:
    for path in PATHS:
        answer = ask(found, path)
        told = f"{answer.body}{answer.headers}"
        for name in (SITE, "oci", "127.0.0.1", "localhost", str(redis.port), str(found.console), "Redis", "rectbot"):
            assert name not in told, (path, name)
        assert not re.search(r"\d+\.\d+\.\d+", answer.body), "no version"
        assert "<script" not in told


def test_nothing_else_opens_without_a_login(public: Hub) -> None:
    assert [ask(public, path).status for path in PATHS] == [200, 200]
    near = ("/status/", "/status/x", "/statuses", "/STATUS", "//status", "/status/../", "/status%2f..", "/status.json")
    others = ("/", "/logs", "/explore", "/history", "/history.csv", "/d/rectbot-overview", "/_nicegui/x", "/session")
    odd = ("/status;/", "/status.svg/..%2f", "/./status", "/x/../logs", "/status%00", "/status?next=/logs")
    for path in (*near, *others, *odd):
        answer = ask(public, path)
        opened = path.startswith("/status?")
        assert answer.status == (200 if opened else 303), path
        assert opened or answer.headers["location"].startswith("/login?next="), path
    for path in PATHS:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert ask(public, path, method).status in (403, 404, 405), (path, method)
    refused = ask(public, "/status", Host="evil.example")
    assert refused.status == 421, "as everything here: no name that we do not know"


def test_its_headers_are_those_of_the_other_pages_and_it_sets_no_cookie(public: Hub) -> None:
    login = ask(public, "/login").headers
    for path in PATHS:
        headers = ask(public, path).headers
        for name in set(login) - {"content-length", "content-type", "cache-control"}:
            assert headers[name] == login[name], (path, name)
        assert "set-cookie" not in headers
        assert headers["cache-control"] == "public, max-age=15"


def _work(redis: RedisServer) -> int:
    """Commands that the store has carried out."""
    with socket.create_connection((redis.host, redis.port), timeout=60) as link:
        link.sendall(f"AUTH {redis.password}\r\nINFO stats\r\nQUIT\r\n".encode())
        found = re.search(rb"total_commands_processed:(\d+)", link.makefile("rb").read())
    assert found is not None
    return int(found[1])


def test_who_asks_without_end_makes_nobody_work(public: Hub, redis: RedisServer) -> None:
    main = psutil.Process(public.process.pid)
    ask(public, "/status")
    before, memory, began = _work(redis), _console_memory(main), time.monotonic()

    def one(number: int) -> int:
        path = f"{PATHS[number % 2]}?{number}={'x' * (number % 50)}"
        odd = {"Cookie": f"rectbot_language={number}; rectbot_zone=x{number}", "Accept-Language": f"x{number},ja" * 9}
        odd |= {"Cache-Control": "no-cache", "If-None-Match": f'"{number}"', "X-Forwarded-For": f"10.0.0.{number % 9}"}
        return ask(public, path, "HEAD" if number % 3 == 0 else "GET", **odd).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(600))) == {200}
    took = time.monotonic() - began
    # Each look costs a few commands, and so does the recorder's look every 5 s, which goes on anyway.
    assert _work(redis) - before < 60 + 20 * took
    assert _console_memory(main) - memory < 16 * 2**20
    assert ask(public, "/status", "HEAD").body == ""


def _console_memory(main: psutil.Process) -> int:
    (console,) = [each for each in main.children() if "console" in each.cmdline()]
    return int(console.memory_full_info().uss)


def test_without_the_setting_there_is_no_such_page(tmp_path: Path, redis: RedisServer) -> None:
    with hub(tmp_path, **_settings(redis)) as found:
        wait(found, "serving the console")
        for path in PATHS:
            answer = ask(found, path)
            assert (answer.status, answer.body) == (404, "there is no such page\n")
    settings = {"CONSOLE_LOGIN": "true", "DASHBOARD_ADMIN_PASSWORD": "who-acts", "STATUS_PAGE": "false"}
    with hub(tmp_path, **settings, **_settings(redis)) as found:
        wait(found, "serving the console")
        for path in PATHS:
            assert ask(found, path).status == 303
