"""Odd requests to the console get an answer with a sentence, or are ignored: never a failure of ours, in no log."""

from __future__ import annotations

import contextlib
import http.client
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from hubs import Hub, hub, wait
from rectbot.console.own import STYLE

pytestmark = pytest.mark.timeout(480)
FOLDER = Path(__file__).parents[2] / "docker/monitoring/grafana/dashboards"
NAMES = ("refresh", "from", "to", "var-site", "var-job", "last", "query", "text", "level", "site", "job", "next", "x")
VALUES = (
    "x", "", "0", "-1", "9" * 5_000, "1e999", "nan", "now-6h", "now-" + "9" * 5_000 + "d", "now-9999999d", "²",
    "\u0661d",
    "%00", "%", "%zz", "%ff%fe", "a%0d%0ab", "<script>", "{{7*7}}", "\\", '"', "$__all", "../../etc/passwd", "10s",
    "\u0663m",
    "null", "%F0%9F%98%80", "%ED%A0%80", "[]", "&", "=",
)  # fmt: skip
PATHS = ("/", "/logs", "/d/rectbot-overview", "/d/rectbot-logs", "/d/x/y", "/login", "/healthz", "/d/", "/_nicegui/x")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = tmp_path_factory.mktemp("console")
    shutil.copytree(FOLDER, home / "docker/monitoring/grafana/dashboards")
    with hub(home) as found:
        wait(found, "serving the console")
        yield found
    written = found.log.read_text()
    assert "Traceback" not in written
    assert "ERROR" not in written


def _get(
    found: Hub, path: str, *, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", found.console, timeout=20)
    with contextlib.closing(connection):
        given = {"Origin": f"http://127.0.0.1:{found.console}"} | (headers or {})
        connection.request(method, path, body or None, given)
        answer = connection.getresponse()
        answer.read()
        return answer.status


@pytest.mark.parametrize("path", PATHS)
def test_any_query_of_any_page(running: Hub, path: str) -> None:
    for name in NAMES:
        for value in VALUES if name == "refresh" else random.Random(name + path).sample(VALUES, 3):
            query = f"{name}={value if '%' in value else quote(value)}"
            assert _get(running, f"{path}?{query}") < 500, query[:80]
    for query in ("from=1&to=2", "from=9&to=1", f"from=1&to={'9' * 400}", "&&&=", "a" * 9_000, "refresh=&refresh=x"):
        assert _get(running, f"{path}?{query}") < 500, query[:80]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx"),
        ("multipart/form-data; boundary=" + "a" * 500, b"--a--"),
        ("application/x-www-form-urlencoded", b"password=%"),
        ("application/x-www-form-urlencoded", b"password=%ED%A0%80&next=%00"),
        ("application/x-www-form-urlencoded", b"&" * 4_000),
        ("application/x-www-form-urlencoded", b"a=b&" * 1_000),
        ("application/x-www-form-urlencoded", b"password=" + b"9" * 5_000),
        ("application/json", b"{" * 4_000),
        ("", b"\x00\xff"),
    ],
)
def test_any_form(running: Hub, kind: str, body: bytes) -> None:
    for path in ("/login", "/logout", "/", "/logs", "/d/x"):
        assert _get(running, path, method="POST", body=body, headers={"Content-Type": kind}) in range(200, 500), path


def test_any_cookie_and_header(running: Hub) -> None:
    for value in ("x" * 20_000, "=;=;,", "\xff\xfe", "rectbot_language=zz; rectbot_theme=<x>", 'a="\\'):
        for name in ("Cookie", "Accept-Language", "X-Forwarded-Prefix", "Range", "If-None-Match", "If-Modified-Since"):
            for path in ("/", STYLE):
                assert _get(running, path, headers={name: value}) < 500, (name, value[:20])


def test_any_bytes(running: Hub) -> None:
    dice = random.Random(7)
    heads = [
        b"GET / HTTP/1.1",
        b"GET /%zz HTTP/1.1",
        b"GET \xff HTTP/1.1",
        b"GET http://[ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ]
    heads += [
        b"CONNECT a:1 HTTP/1.1",
        b"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        b"\x16\x03\x01",
    ]
    more = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"]
    more += [b"Host: 127.0.0.1:%d" % running.console, b"Origin: http://127.0.0.1:%d" % running.console, b"Host: \xff"]
    more += [
        b"Content-Length: -1",
        b"Content-Length: " + b"9" * 5_000,
        b"Transfer-Encoding: chunked",
        b"A\x00: b",
        b"Cookie: \xff",
    ]
    more += [b"Sec-WebSocket-Protocol: \xff,,", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Expect: 100-continue"]
    for _ in range(200):
        lines = [dice.choice(heads), *dice.sample(more, dice.randrange(len(more)))]
        with socket.create_connection(("127.0.0.1", running.console)) as client, contextlib.suppress(OSError):
            client.settimeout(5)
            client.sendall(b"\r\n".join([*lines, b"", dice.randbytes(dice.randrange(40))]))
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(100)
            assert not answer.startswith(b"HTTP/1.1 5"), lines
