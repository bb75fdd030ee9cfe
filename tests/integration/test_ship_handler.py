"""The logging handler: everything arrives, once, in order; and what happens when it cannot."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loki_stand_in import Refusal, StandIn, stand_in
from rectbot.errors import ConfigError
from rectbot.logs import LokiHandler
from rectbot.logs.ship.spool import Spool
from servers import free_port
from servers_monitoring import until

Maker = Callable[..., tuple[LokiHandler, logging.Logger]]


@pytest.fixture
def loki() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


@pytest.fixture
def make() -> Iterator[Maker]:
    """Makes handlers with short times, and closes them after the test."""
    made: list[tuple[LokiHandler, logging.Logger]] = []

    def maker(url: str, **options: Any) -> tuple[LokiHandler, logging.Logger]:
        quick: dict[str, Any] = {"site": "xserver", "batch_seconds": 0.05, "exit_seconds": 5.0}
        handler = LokiHandler(url, **(quick | options))
        logger = logging.getLogger(f"ship.{len(made)}")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        made.append((handler, logger))
        return handler, logger

    yield maker
    for handler, logger in made:
        logger.removeHandler(handler)
        handler._exit_seconds = 0  # a test that wants the rest to be sent closes by itself
        handler.close()


def refusing(status: int, times: int, headers: dict[str, str] | None = None, text: bytes = b"no") -> Any:
    left = [times]

    def refuse() -> Refusal | None:
        left[0] -= 1
        return (status, headers or {}, text) if left[0] >= 0 else None

    return refuse


def test_lines_arrive_with_labels_once_and_in_order(loki: StandIn, make: Maker) -> None:
    handler, logger = make(loki.url, job="mybot", labels={"env": "test"}, batch_bytes=10_000)
    for number in range(1000):
        logger.info("line %d", number)
    logger.warning("look", extra={"guild": 7})
    handler.flush()
    expected = {"job": "mybot", "site": "xserver", "level": "info", "env": "test"}
    assert loki.messages(**expected) == [f"line {number}" for number in range(1000)]
    (warning,) = loki.texts(level="warn")
    assert json.loads(warning) == {"level": "warn", "logger": logger.name, "msg": "look", "guild": 7}
    assert loki.attempts > 5, "it is sent in batches by size"
    assert handler.counts.sent == 1001
    assert {headers["Content-Encoding"] for headers in loki.headers} == {"gzip"}


def test_equal_lines_of_one_moment_are_kept_apart(loki: StandIn, make: Maker) -> None:
    handler, logger = make(loki.url)
    record = logger.makeRecord(logger.name, logging.INFO, "here.py", 1, "same", (), None)
    for _ in range(50):
        logger.handle(record)
    handler.flush()
    assert loki.messages() == ["same"] * 50


def test_a_batch_waits_for_more_but_not_for_long(loki: StandIn, make: Maker) -> None:
    _, logger = make(loki.url, batch_seconds=1)
    began = time.monotonic()
    for number in range(20):
        logger.info("%d", number)
    until(lambda: len(loki.messages()) == 20, "the batch arrives")
    assert time.monotonic() - began >= 1
    assert loki.attempts == 1


def test_a_hanging_server_never_holds_up_the_event_loop(loki: StandIn, make: Maker, tmp_path: Path) -> None:
    """And lines get to the disk meanwhile."""
    loki.hang = True
    handler, logger = make(loki.url, spool=tmp_path / "spool", batch_bytes=20_000)
    longest = 0.0

    async def log() -> None:
        nonlocal longest
        for number in range(3000):
            began = time.perf_counter()
            logger.info("line %d", number)
            longest = max(longest, time.perf_counter() - began)
            if number % 100 == 0:
                await asyncio.sleep(0)

    asyncio.run(log())
    assert longest < 5, "half the time-out of a push; it takes some microseconds"
    until(handler._shipper._spooled, "all is on disk")
    assert sum(int(path.name.split("-")[1].split(".")[0]) for path in tmp_path.glob("spool/*.gz")) == 3000
    assert handler.counts.sent == 0


def test_a_cut_connection_loses_nothing(make: Maker, tmp_path: Path) -> None:
    port = free_port()
    handler, logger = make(f"http://127.0.0.1:{port}", spool=tmp_path / "spool")
    for number in range(200):
        logger.info("%d", number)
        if number % 50 == 0:
            time.sleep(0.06)  # several batches
    until(lambda: len(list(tmp_path.glob("spool/*.gz"))) >= 4, "the spool fills")
    with stand_in(port) as loki:
        until(lambda: len(loki.messages()) == 200, "the spool is sent")
        assert loki.messages() == [str(number) for number in range(200)]
        until(lambda: not list(tmp_path.glob("spool/*.gz")), "the spool is empty")
    assert handler.counts.dropped == 0


def test_beyond_its_limit_the_spool_drops_the_oldest_and_says_so(make: Maker, tmp_path: Path) -> None:
    port = free_port()
    handler, logger = make(f"http://127.0.0.1:{port}", spool=tmp_path / "spool", spool_bytes=60_000, batch_bytes=20_000)
    for number in range(2000):
        logger.info("%d %s", number, os.urandom(100).hex())  # does not compress well
    until(handler._shipper._spooled, "all is on disk")
    size = sum(path.stat().st_size for path in tmp_path.glob("spool/*.gz"))
    assert size <= 60_000
    dropped = handler.counts.dropped
    assert 0 < dropped < 2000
    with stand_in(port) as loki:
        until(lambda: len(loki.messages()) >= 2001 - dropped, "the rest is sent")
        numbers = [int(text.split()[0]) for text in loki.messages(level="info")]
        assert numbers == list(range(dropped, 2000)), "the newest are kept"
        until(lambda: loki.messages(level="warn"), "the loss is told in Loki")
        (told,) = loki.texts(level="warn")
        assert json.loads(told)["dropped"] == json.loads(told)["dropped_total"] == dropped
    handler.close()
    again, _ = make(f"http://127.0.0.1:{port}", spool=tmp_path / "spool")
    assert again.counts.dropped == dropped, "the counter goes on"


def test_429_is_obeyed(loki: StandIn, make: Maker) -> None:
    loki.refuse = refusing(429, 1, {"Retry-After": "2"})
    handler, logger = make(loki.url)
    logger.info("patience")
    until(lambda: loki.messages() == ["patience"], "it arrives")
    first, second = loki.times
    assert second - first >= 2
    assert handler.counts.dropped == 0


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_may_be_mended_is_tried_again(status: int, loki: StandIn, make: Maker) -> None:
    loki.refuse = refusing(status, 2)
    _, logger = make(loki.url)
    logger.info("again")
    until(lambda: loki.messages() == ["again"], "it arrives")
    assert loki.attempts == 3


def test_a_page_of_a_proxy_is_not_loki_s_word(loki: StandIn, make: Maker) -> None:
    """nginx answers plain HTTP on its TLS port with 400: that says nothing about the lines."""
    loki.refuse = refusing(400, 1, {"Content-Type": "text/html"}, b"<title>400 plain HTTP</title>")
    _, logger = make(loki.url)
    logger.info("again")
    until(lambda: loki.messages() == ["again"], "it arrives")


def test_what_loki_refuses_for_good_is_counted_and_left(
    loki: StandIn, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    loki.refuse = refusing(400, 1, {}, b"timestamp too old")
    handler, logger = make(loki.url)
    logger.info("old")
    until(lambda: handler.counts.refused == 1, "it is refused")
    logger.info("new")
    handler.flush()
    assert loki.messages() == ["new"]
    assert "1 log lines were refused for good" in caplog.text
    assert "timestamp too old" in caplog.text


def test_failures_are_told_once_and_so_is_the_end(loki: StandIn, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loki.refuse = refusing(500, 3)
    _, logger = make(loki.url)
    logger.propagate = False
    try:
        logger.info("x")
        until(lambda: "logs are shipped again" in caplog.text, "it is told")
    finally:
        logger.propagate = True
    assert caplog.text.count("logs cannot be shipped, and are kept") == 1


def test_the_handler_does_not_ship_what_shipping_logs(loki: StandIn, make: Maker) -> None:
    """At the level of debugging the HTTP client logs each push, which would be a line to push."""
    handler, _ = make(loki.url)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        root.debug("one")
        handler.flush()
        time.sleep(0.2)  # longer than a batch waits
        handler.flush()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert loki.messages() == ["one"]


def test_a_spool_belongs_to_one_process_and_is_private(make: Maker, tmp_path: Path) -> None:
    make(f"http://127.0.0.1:{free_port()}", spool=tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="is the log spool of another process"):
        Spool(tmp_path / "spool", 1000)


def test_without_a_usable_disk_lines_wait_in_memory(make: Maker, tmp_path: Path, loki: StandIn) -> None:
    spool = tmp_path / "spool"
    loki.refuse = refusing(503, 2)
    handler, logger = make(loki.url, spool=spool)
    (spool / "new").mkdir()  # no file can be written in its place
    logger.info("kept")
    until(lambda: loki.messages() == ["kept"], "it arrives")
    assert handler.counts.dropped == 0


SCRIPT = """
    import logging, sys, time
    from rectbot.logs import LokiHandler
    url, spool, how = sys.argv[1:]
    handler = LokiHandler(url, site="s", spool=spool or None, batch_seconds=0.1, exit_seconds=1)
    logging.getLogger().addHandler(handler)
    for number in range(300):
        logging.warning("%d", number)
    if how == "wait":
        handler._shipper._changed.acquire()
        handler._shipper._changed.wait_for(handler._shipper._spooled)
        handler._shipper._changed.release()
        print("spooled", flush=True)
        time.sleep(60)
"""


def program(url: str, spool: Path | str, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), url, str(spool), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


EXPECTED = [str(number) for number in range(300)]


def test_a_program_s_end_sends_the_rest(loki: StandIn) -> None:
    process = program(loki.url, "", "exit")
    assert process.communicate(timeout=30)[1] == ""
    assert loki.messages() == EXPECTED


@pytest.mark.parametrize("hangs", [True, False])
def test_a_program_s_end_does_not_wait_for_ever_and_the_next_one_sends_the_rest(
    hangs: bool, make: Maker, tmp_path: Path
) -> None:
    port = free_port()
    with stand_in(port) as loki:
        loki.hang = hangs
        url = f"http://127.0.0.1:{port if hangs else free_port()}"
        process = program(url, tmp_path / "spool", "exit")
        began = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - began < 20, "1 s, and the start of Python on a busy machine"
        assert process.returncode == 0
        assert loki.messages() == []
    with stand_in(port) as loki:
        make(f"http://127.0.0.1:{port}", spool=tmp_path / "spool")
        until(lambda: len(loki.messages()) == 300, "the next process sends the rest")
        assert loki.messages() == EXPECTED


def test_a_killed_program_leaves_its_spool(loki: StandIn, make: Maker, tmp_path: Path) -> None:
    process = program(f"http://127.0.0.1:{free_port()}", tmp_path / "spool", "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "spooled\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / "spool" / "new").write_bytes(b"half a bat")  # what a death in the middle of writing leaves
    make(loki.url, spool=tmp_path / "spool")
    until(lambda: len(loki.messages()) == 300, "the next process sends it")
    assert loki.messages() == EXPECTED


def test_importing_it_loads_no_http_client() -> None:
    code = "import sys, rectbot.logs; sys.exit('urllib3' in sys.modules or 'aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
