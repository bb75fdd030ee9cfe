"""The hub's metrics while the console falls, and under what websites and strangers send."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.webguard import Guard
from hubs import Hub, hub, wait
from rectbot.hub.answers import Answer, Answers

pytestmark = pytest.mark.timeout(480)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path) as found:
        wait(found, "serving the console")
        yield found


def _console_of(found: Hub) -> psutil.Process:
    (console,) = psutil.Process(found.process.pid).children()
    return console


def _metrics(found: Hub, method: str = "GET", path: str = "/metrics", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", found.metrics, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_metrics_go_on_when_the_console_falls_and_it_comes_back(running: Hub, number: signal.Signals) -> None:
    console = _console_of(running)
    console.send_signal(number)
    assert "rectbot_redis_up" in running.get("/metrics", running.metrics)
    if number is signal.SIGSTOP:
        console.kill()
    deadline = time.monotonic() + 30
    while running.log.read_text().count("serving the console") < 2:
        assert "rectbot_redis_up" in running.get("/metrics", running.metrics)
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.1)
    assert "the console was ended by SIGKILL; it is started again in 1 s" in running.log.read_text()
    assert "Redis does not answer" in running.get("/")


def test_the_console_does_not_outlive_the_hub(tmp_path: Path) -> None:
    with hub(tmp_path) as found:
        wait(found, "serving the console")
        console = _console_of(found)
        os.kill(found.process.pid, signal.SIGKILL)
        console.wait(10)


def test_the_console_is_what_falls_when_memory_is_short(running: Hub) -> None:
    def score(process: int) -> int:
        return int(Path(f"/proc/{process}/oom_score_adj").read_text())

    assert score(_console_of(running).pid) > score(running.process.pid)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (200, {"Host": "hub:9464"}),
        (200, {"Host": "localhost:9464"}),
        (200, {"Host": "[::1]:9464"}),
        (200, {"X_Prometheus_Scrape_Timeout_Seconds": "10"}),
        (421, {"Host": "rebound.example"}),
        (421, {"Host": "127.0.0.1.rebound.example:9464"}),
        (403, {"Origin": "http://rebound.example"}),
        (403, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}),
        (403, {"Sec_Fetch_Site": "same-site"}),
    ],
)
def test_websites_read_no_metrics_and_prometheus_does(running: Hub, status: int, headers: dict[str, str]) -> None:
    assert _metrics(running, **headers) == status
    assert _metrics(running, path="/healthz", **headers) == status


def test_nothing_can_be_changed_there(running: Hub) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        assert _metrics(running, method) == 405
    assert _metrics(running, path="/") == 404


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\n", b"A" * 15_000])
def test_held_connections_and_floods_keep_prometheus_from_nothing(running: Hub, first: bytes) -> None:
    process = psutil.Process(running.process.pid)
    _metrics(running)
    before = process.memory_info().rss
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(1_500):
            with contextlib.suppress(ConnectionError):
                held.append(stack.enter_context(socket.create_connection(("127.0.0.1", running.metrics))))
                held[-1].sendall(first)
        assert _metrics(running) == 200
        assert process.memory_info().rss - before < 8 * 2**20
        held[-1].settimeout(20)
        with contextlib.suppress(ConnectionError):
            held[-1].recv(4096)  # an answer, or the end
    assert process.num_fds() < 100


_LINE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"GET /metrics HTTP/1.1", b"GET / HTTP/1.1", b"Host: 127.0.0.1", b"Host:", b"", b"\x00", b"GET"]),
    st.sampled_from([b"Host: [", b"Origin: null", b"Origin: http://[", b"Content-Length: " + b"9" * 5_000, b": x"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_LINE, max_size=8), st.sampled_from([b"\r\n", b"\n"]))
def test_whatever_is_sent_is_answered_with_a_sentence_or_not_at_all(lines: list[bytes], end: bytes) -> None:
    async def ask() -> bytes:
        async def metrics() -> Answer:
            return Answer(b"up 1\n")

        server = await Answers({"/metrics": metrics}, Guard()).listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(end.join([*lines, b"", b""]))
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""

    answer = asyncio.run(ask())
    assert answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))
