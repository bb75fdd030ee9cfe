"""What a website in the operator's browser can do with the log store: nothing."""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Iterator

import pytest

from logs_server import T0, LogServer, log_server

EVIL = {"Origin": "http://evil.example"}
REBOUND = {"Host": "evil.example:3100"}
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATHS = (
    *("/ready", "/metrics", "/nothing", "/loki/api/v1/labels", "/loki/api/v1/label/job/values", "/loki/api/v1/delete"),
    *("/loki/api/v1/query_range?query={job=%22a%22}", "/loki/api/v1/status/buildinfo", "/loki/api/v1/series"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    with log_server(tmp_path_factory.mktemp("guard") / "logs", "--name", "Logs.example.org") as running:
        assert running.push({"job": "a"}, [[str(T0), "secret"]])[0] == 204
        yield running


def ask(server: LogServer, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [EVIL, REBOUND, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}])
def test_it_reads_nothing(server: LogServer, path: str, headers: dict[str, str]) -> None:
    status, body = ask(server, "GET", path, headers)
    assert status in (403, 421)
    assert b"secret" not in body


@pytest.mark.parametrize("headers", [EVIL, REBOUND, REBOUND | {"Origin": "http://evil.example:3100"}])
def test_it_follows_nothing(server: LogServer, headers: dict[str, str]) -> None:
    socket = SOCKET | {"Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
    path = "/loki/api/v1/tail?query=%7Bjob%3D%22a%22%7D"
    assert ask(server, "GET", path, socket | headers)[0] in (403, 421)
    assert ask(server, "GET", path, socket)[0] == 101, "a program does"


@pytest.mark.parametrize("headers", [EVIL, {"Origin": "null"}, REBOUND, {"Referer": "http://evil.example/"}])
def test_it_changes_nothing(server: LogServer, headers: dict[str, str]) -> None:
    form = b"query=%7Bjob%3D%22a%22%7D&start=1"
    assert ask(server, "POST", "/loki/api/v1/delete", FORM | headers, form)[0] in (403, 421)
    assert ask(server, "POST", "/loki/api/v1/delete?query=%7Bjob%3D%22a%22%7D&start=1", headers)[0] in (403, 421)
    assert ask(server, "DELETE", "/loki/api/v1/delete?request_id=1", headers)[0] in (403, 421)
    push = json.dumps({"streams": [{"stream": {"job": "a"}, "values": [[str(T0), "forged"]]}]}).encode()
    assert ask(server, "POST", "/loki/api/v1/push", {"Content-Type": "text/plain"} | headers, push)[0] in (403, 421)
    assert server.lines('{job="a"}') == [(T0, "secret")]
    assert json.loads(server.get("/loki/api/v1/delete")[1]) == []


def test_it_may_not_even_ask_whether_it_may(server: LogServer) -> None:
    """The question that a browser asks before a request that no form could make."""
    headers = EVIL | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert ask(server, "OPTIONS", "/loki/api/v1/push", headers)[0] == 403


@pytest.mark.parametrize("host", ["localhost:3100", "loki:3100", "192.0.2.7", "[::1]:3100", "logs.example.org"])
def test_programs_ask_by_whatever_name_it_has(server: LogServer, host: str) -> None:
    for path in PATHS[:2]:
        assert ask(server, "GET", path, {"Host": host})[0] == 200
