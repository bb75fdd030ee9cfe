"""What clients can make the log store hold: bodies, answers, connections, streams. All of it has a bound."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logs_server import T0, LogServer, log_server
from logs_watch import PUSH, Watch, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    folder = tmp_path_factory.mktemp("floods") / "logs"
    with log_server(folder, "--query-timeout", "4s", "--client-rate", "0") as running:
        yield running
        assert "Traceback" not in running.log


def told(push: Callable[[], int]) -> int:
    """The status of a push, once the store has let go of what earlier ones held: until then it says 429, try again."""
    deadline = time.monotonic() + 120
    while (status := push()) == 429 and time.monotonic() < deadline:
        time.sleep(0.1)
    return status


def bomb(size: int) -> bytes:
    values = [[str(T0 + number), "x" * 100_000] for number in range(size // 100_000)]
    return gzip.compress(json.dumps({"streams": [{"stream": {"job": "bomb"}, "values": values}]}).encode(), 9)


def test_small_bodies_that_unpack_to_large_ones(server: LogServer) -> None:
    body, answers = bomb(15 << 20), list[int]()
    assert len(body) < 20_000

    def push() -> None:
        answers.append(server.request(PUSH, body, Content_Type="application/json", Content_Encoding="gzip")[0])

    threads = [threading.Thread(target=push) for _ in range(60)]
    with Watch(server) as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        large = bomb(60 << 20)
        kind = {"Content_Type": "application/json", "Content_Encoding": "gzip"}
        assert told(lambda: server.request(PUSH, large, **kind)[0]) == 413
    assert set(answers) <= {204, 429}
    assert 204 in answers
    watch.check()
    served(server)


@pytest.mark.parametrize("entry", ['["1","a"]', '["1","a",{"k":"v"}]'])
def test_many_small_entries(server: LogServer, entry: str) -> None:
    body = ('{"streams":[{"stream":{"a":"b"},"values":[' + ",".join([entry] * 700_000) + "]}]}").encode()
    with Watch(server) as watch:
        assert told(lambda: server.request(PUSH, body, Content_Type="application/json")[0]) == 413
    watch.check()


def test_clients_that_do_not_read_their_answers(server: LogServer) -> None:
    values = [[str(T0 + number), '"' * 2000] for number in range(1800)]
    assert told(lambda: server.push({"job": "quotes"}, values)[0]) == 204
    asked = urllib.parse.urlencode({"query": '{job="quotes"}', "limit": 1800, "start": T0, "end": T0 + 10**9})
    request = f"GET /loki/api/v1/query_range?{asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with Watch(server) as watch, contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(half(server, request))
        served(server)
    watch.check()


@contextlib.contextmanager
def half(server: LogServer, begin: bytes) -> Iterator[socket.socket]:
    """A connection that says no more than this, and reads nothing."""
    link = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    try:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(begin)
        yield link
    finally:
        link.close()


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /re",
        b"POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        b"POST /loki/api/v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 900\r\n\r\nquery=",
    ],
)
def test_connections_that_say_nothing_more(server: LogServer, begin: bytes) -> None:
    with Watch(server) as watch, contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(half(server, begin))
        assert server.push({"job": "t2"}, [[str(T0), "x"]])[0] == 204
        served(server)
    watch.check()


def test_tails_that_read_nothing(server: LogServer) -> None:
    asked = urllib.parse.urlencode({"query": '{job="flood"}'})
    begin = (
        f"GET /loki/api/v1/tail?{asked} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    with Watch(server) as watch, contextlib.ExitStack() as stack:
        following = 0
        while following < 10:  # one is refused while answers of the test before are held
            following += stack.enter_context(half(server, begin)).recv(12) == b"HTTP/1.1 101"
        for part in range(10):
            values = [[str(T0 + part * 100 + number), "\x01" * 100_000] for number in range(20)]
            assert told(lambda values=values: server.push({"job": "flood"}, values)[0]) == 204  # type: ignore[misc]
        time.sleep(2)
    watch.check()


def test_streams_without_end(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs", "--client-rate", "0") as server, Watch(server) as watch:
        assert server.push({"job": "t"}, [[str(T0), "x"]])[0] == 204
        for part in range(3):
            labels = [{"job": f"{part}.{number}", "long": "y" * 2000, "longer": "z" * 2000} for number in range(2000)]
            streams = [{"stream": one, "values": [[str(T0), "x"]]} for one in labels]
            status, body = server.request(
                PUSH, json.dumps({"streams": streams}).encode(), Content_Type="application/json"
            )
            assert status == 429
            assert body.startswith(b"maximum active stream limit exceeded")
        assert server.push({"job": "t"}, [[str(T0 + 10**6), "x"]])[0] == 204, "what is known goes on"
    watch.check()


def test_a_client_that_pushes_without_end_is_told_to_wait(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs", "--client-rate", "0.1", "--client-burst", "1") as server:
        lines = [[str(T0 + number), "x" * 1000] for number in range(400)]
        answers = [server.push({"job": "flood"}, lines)[0] for _ in range(6)]
        assert answers[:2] == [204, 204]
        assert answers[-1] == 429
        link = http.client.HTTPConnection("127.0.0.1", server.port)
        link.request("POST", PUSH, b"{}", {"Content-Type": "application/json"})
        answer = link.getresponse()
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        served(server)
        assert b'loki_discarded_samples_total{reason="rate_limited"}' in server.get("/metrics")[1]
