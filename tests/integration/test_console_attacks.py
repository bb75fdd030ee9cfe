"""The console under attack by whoever reaches its port without a password: the others get in, and it stays small."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from hubs import Hub, hub, wait

ADMIN, VIEWER = "who-acts", "who-looks"
GROWTH_BYTES = 24 * 2**20
pytestmark = pytest.mark.timeout(480)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Hub]:
    passwords = {"DASHBOARD_ADMIN_PASSWORD": ADMIN, "DASHBOARD_VIEWER_PASSWORD": VIEWER}
    with hub(tmp_path, CONSOLE_LOGIN="true", **passwords) as found:
        wait(found, "serving the console")
        yield found


@pytest.fixture
def unguarded(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path) as found:
        wait(found, "serving the console")
        yield found


def _memory(found: Hub) -> int:
    """What the hub and its console hold, once the program that reads the history for a page's first look has ended."""
    main, deadline = psutil.Process(found.process.pid), time.monotonic() + 60
    while len(processes := [main, *main.children(recursive=True)]) > 2:
        assert time.monotonic() < deadline, [process.cmdline() for process in processes]
        time.sleep(0.1)
    return sum(process.memory_full_info().uss for process in processes)


def _status(
    found: Hub, path: str, method: str = "GET", body: str = "", address: str = "127.0.0.1", **headers: str
) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", found.console, timeout=20, source_address=(address, 0))
    given = {"Origin": f"http://127.0.0.1:{found.console}"} | {n.replace("_", "-"): v for n, v in headers.items()}
    with contextlib.closing(connection):
        connection.request(method, path, body or None, given)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def _login(found: Hub, password: str, address: str = "127.0.0.1", cookie: str = "") -> tuple[int, str]:
    """The status, and the session's cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", found.console, timeout=20, source_address=(address, 0))
    headers = {"Origin": f"http://127.0.0.1:{found.console}", "Cookie": cookie}
    with contextlib.closing(connection):
        connection.request("POST", "/login", urlencode({"password": password}), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0]


def _still_serves(found: Hub) -> None:
    status, cookie = _login(found, ADMIN)
    assert status == 303
    assert _status(found, "/", Cookie=cookie) == 200
    assert "rectbot_redis_up" in found.get("/metrics", found.metrics)


@contextlib.contextmanager
def _held(found: Hub, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which sends `first` and no more."""
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            held.append(stack.enter_context(socket.create_connection(("127.0.0.1", found.console))))
            held[-1].settimeout(30)
            held[-1].sendall(first)
        yield held


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\r\n" * 100,
        b"GET / HTTP/1.1\r\nHost: 127",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    ],
)
def test_held_connections_keep_nobody_out_and_end(guarded: Hub, first: bytes) -> None:
    with _held(guarded, 300, first) as held:
        _still_serves(guarded)
        began = time.monotonic()
        for each in held:  # all are ended in the end, without a word from us
            with contextlib.suppress(ConnectionError):
                while each.recv(4096):
                    pass
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "path", ["/_nicegui/nothing", "/no-such-page", "/_nicegui_ws/x", "/d/nothing", "/login?next=/x"]
)
def test_requests_of_strangers_are_forgotten_with_their_answers(guarded: Hub, path: str) -> None:
    assert _status(guarded, path) in (200, 303, 403)
    _still_serves(guarded)
    before = _memory(guarded)
    with ThreadPoolExecutor(8) as pool:
        assert {503, 500}.isdisjoint(pool.map(lambda _: _status(guarded, path), range(2_000)))
    assert _memory(guarded) - before < GROWTH_BYTES
    _still_serves(guarded)


@pytest.mark.parametrize("path", ["/", "/logs", "/d/nothing", "/no-such-page", "/_nicegui/nothing"])
def test_pages_that_nobody_comes_back_to_are_bounded(unguarded: Hub, path: str) -> None:
    """Where no login is asked for, any program on this machine can ask for pages."""
    for _ in range(60):
        _status(unguarded, path)
    before = _memory(unguarded)
    for _ in range(400):
        assert _status(unguarded, path) in (200, 404)
    assert _memory(unguarded) - before < GROWTH_BYTES


def test_a_long_head_and_a_row_of_requests_are_refused(guarded: Hub) -> None:
    before = _memory(guarded)
    cookies = b"Cookie: a=" + b"b" * 4096 + b"\r\n"
    for request in (
        b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n" + cookies * 50 + b"\r\n",
        b"GET /login HTTP/1.1\r\n" + b"A: b\r\n" * 50_000,
        b"GET /" + b"x" * 2_000_000,
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50_000,
    ):
        with socket.create_connection(("127.0.0.1", guarded.console)) as client, contextlib.suppress(ConnectionError):
            client.settimeout(10)
            client.sendall(request)
            answer = client.recv(65_536)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 ")), answer[:80]
    assert _memory(guarded) - before < GROWTH_BYTES
    _still_serves(guarded)


def test_guesses_from_all_of_loopback_are_counted_together(guarded: Hub) -> None:
    def guess(number: int) -> int:
        return _login(guarded, f"guess {number}", f"127.0.{number // 250}.{number % 250 + 1}")[0]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(guess, range(100)))
    assert answers.count(403) == 5
    assert set(answers) == {403, 429}
    assert guarded.log.read_text().count("too many wrong passwords") == 1


def test_a_browser_that_has_been_the_administrator_s_is_not_kept_out_by_others(guarded: Hub) -> None:
    _, session = _login(guarded, ADMIN)
    connection = http.client.HTTPConnection("127.0.0.1", guarded.console)
    connection.request("GET", "/", headers={"Cookie": session})
    known = (connection.getresponse().getheader("Set-Cookie") or "").partition(";")[0]
    assert known
    assert [_login(guarded, "wrong")[0] for _ in range(6)] == [403] * 5 + [429]
    assert _login(guarded, ADMIN)[0] == 429
    assert _login(guarded, ADMIN, cookie=known)[0] == 303
    assert _login(guarded, ADMIN, cookie=known[:-2] + "xx")[0] == 429
    _, viewer = _login(guarded, VIEWER, cookie=known)
    connection = http.client.HTTPConnection("127.0.0.1", guarded.console)
    connection.request("GET", "/", headers={"Cookie": viewer})
    assert connection.getresponse().getheader("Set-Cookie") is None, "a viewer gets no count of his own to guess with"


def test_a_wrong_password_takes_as_long_as_any_other(guarded: Hub) -> None:
    """Also one that begins as the right one does, and one that is none at all."""
    took = []
    for password in (ADMIN[:-1], "", "x" * 2_000, ADMIN + "x"):
        began = time.monotonic()
        assert _login(guarded, password)[0] == 403
        took.append(time.monotonic() - began)
    assert max(took) - min(took) < 0.1


_ELEMENTS = re.compile(r"listener_id[\\\"']+: ?[\\\"']+([0-9a-f-]{36})")


def _ids(page: str) -> tuple[str, list[str]]:
    found = re.search(r"['\"]client_id['\"]: ?['\"]([0-9a-f-]{36})['\"]", page)
    assert found is not None, page[:500]
    return found[1], _ELEMENTS.findall(page)


def _page(found: Hub, cookie: str) -> tuple[str, list[str]]:
    connection = http.client.HTTPConnection("127.0.0.1", found.console)
    connection.request("GET", "/", headers={"Cookie": cookie})
    return _ids(connection.getresponse().read().decode())


class Wire:
    """A page's WebSocket, spoken by hand; a thread of its own answers the server's pings, as a browser does."""

    def __init__(self, found: Hub, cookie: str, page: str = "", *, tab: str = "tab") -> None:
        asked = {"EIO": "4", "transport": "websocket"}
        if page:
            asked |= {"client_id": page, "document_id": tab, "tab_id": tab, "next_message_id": "0"}
            asked |= {"implicit_handshake": "true"}
        self.socket = connect(
            f"ws://127.0.0.1:{found.console}/_nicegui_ws/socket.io/?{urlencode(asked)}",
            origin=Origin(f"http://127.0.0.1:{found.console}"),
            additional_headers={"Cookie": cookie},
            legacy=True,
        )
        self._messages: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if page:
            self.socket.send("40")

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in self.socket:
                if message == "2":
                    self.socket.send("3")
                elif str(message).startswith("4"):
                    self._messages.put(str(message))

    def answer(self, kind: str = "4") -> str:
        while not (message := self._messages.get(timeout=10)).startswith(kind):
            pass
        return message

    def emit(self, name: object, value: object) -> None:
        self.socket.send(f"42{json.dumps([name, value])}")

    def closed(self, seconds: float = 5) -> bool:
        self._reader.join(seconds)
        return not self._reader.is_alive()


def test_a_socket_serves_the_pages_of_its_own_session_only(guarded: Hub) -> None:
    admin, viewer = _login(guarded, ADMIN)[1], _login(guarded, VIEWER)[1]
    page, listeners = _page(guarded, admin)
    own, _ = _page(guarded, viewer)
    assert Wire(guarded, viewer, page).answer().startswith("44"), "not with another's page in its address"
    wire = Wire(guarded, viewer, own)
    assert wire.answer().startswith("40")
    for listener in listeners[:3]:
        wire.emit("event", {"id": 3, "client_id": page, "listener_id": listener, "args": []})
    assert wire.closed(), "a message for another's page ends the socket"
    wire = Wire(guarded, viewer, _page(guarded, viewer)[0])
    assert wire.answer().startswith("40")
    asked = {"client_id": page, "tab_id": "other", "document_id": "other", "next_message_id": 0}
    wire.socket.send(f"421{json.dumps(['handshake', asked])}")
    assert wire.answer("43") == "431[false]"
    other = _login(guarded, VIEWER)[1]
    assert Wire(guarded, other, _page(guarded, viewer)[0]).answer().startswith("44"), (
        "of one role, but not of one login"
    )


def test_a_browser_writes_nothing_into_our_log(guarded: Hub) -> None:
    viewer = _login(guarded, VIEWER)[1]
    page, listeners = _page(guarded, viewer)
    wire = Wire(guarded, viewer, page)
    assert wire.answer().startswith("40")
    forged = "2026-01-01 00:00:00,000 INFO rectbot: forged \x1b[2J"
    before = guarded.log.read_text()
    for level in ("debug", "info", "warning", "error", "x"):
        wire.emit("log", {"client_id": page, "level": level, "message": forged})
    odd: list[object] = [None, 1, [], "x", {}, {"client_id": page}, {"client_id": page, "id": forged, "args": forged}]
    names: list[object] = ["event", "ack", "javascript_response", "handshake", "connect", "disconnect", forged, [], {}]
    for value, name in itertools.product(odd, names):
        wire.emit(name, value)
    for listener in listeners:
        message = {"id": 3, "client_id": page, "listener_id": listener, "args": [forged]}
        wire.emit("event", message)
    time.sleep(1)
    written = guarded.log.read_text().removeprefix(before)
    assert "forged" not in written
    assert written.count("\n") <= 3, "what failed is told once a second, in a line"


def test_a_logout_ends_the_sockets_of_the_session(guarded: Hub) -> None:
    cookie = _login(guarded, ADMIN)[1]
    wire = Wire(guarded, cookie, _page(guarded, cookie)[0])
    assert wire.answer().startswith("40")
    began = time.monotonic()
    assert _status(guarded, "/logout", "POST", Cookie=cookie) == 303
    assert wire.closed()
    assert time.monotonic() - began < 4


def test_a_socket_that_opens_no_page_is_ended(guarded: Hub) -> None:
    assert Wire(guarded, _login(guarded, ADMIN)[1]).closed(15)


def test_many_pages_of_one_session_do_not_take_another_s_place(guarded: Hub) -> None:
    admin, viewer = _login(guarded, ADMIN)[1], _login(guarded, VIEWER)[1]
    wire = Wire(guarded, admin, _page(guarded, admin)[0])
    assert wire.answer().startswith("40")
    before = _memory(guarded)
    many = []
    for number in range(120):
        many.append(Wire(guarded, viewer, _page(guarded, viewer)[0], tab=f"tab{number}"))
    assert _memory(guarded) - before < 3 * GROWTH_BYTES
    assert not wire.closed()
    for each in many:
        each.socket.close()
