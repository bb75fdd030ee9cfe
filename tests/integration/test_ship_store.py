"""Shipping to rectbot's own log store, and asking it: the whole way, through the real nginx, with kills in between."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rectbot.logs import LokiHandler
from rectbot.logs.client.push import Answer, Fate, PushClient
from rectbot.logs.client.target import make_target
from rectbot.logs.ship.batch import Line, encode
from servers import free_port
from servers_monitoring import PASSWORD, answers, push_proxy, running, until


@dataclass(frozen=True)
class Store:
    """`rectbot logs serve` on a folder of the test, that can be killed and started again."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "rectbot", "logs", "serve", "--data", str(self.folder / "data")]
        command += ["--port", str(self.port)]
        with running(command, self.folder / "store.log", lambda: answers(f"{self.url}/ready")) as process:
            yield process

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rectbot", "logs", "query", "--url", self.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    def numbers(self) -> list[int]:
        lines = self.ask('{job="bot"}', "-n", "0", "-o", "raw").stdout.splitlines()
        return [json.loads(line)["number"] for line in lines]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, free_port())


@contextmanager
def logger(handler: LokiHandler) -> Iterator[logging.Logger]:
    log = logging.getLogger("ship.store")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        yield log
    finally:
        log.removeHandler(handler)
        handler.close()


def test_a_line_goes_through_the_proxy_into_the_store_and_is_found(store: Store, tmp_path: Path) -> None:
    with store.serving(), push_proxy(tmp_path / "nginx", free_port(), loki_port=store.port) as proxy:
        handler = LokiHandler(proxy.url(""), user="prom", password=PASSWORD, cacert=proxy.certificate, site="xserver")
        with logger(handler) as log:
            log.info("募集を作成しました", extra={"guild": 7})
            log.error("no luck")
        assert handler.counts.sent == 2
        shown = store.ask('{job="bot", site="xserver"}').stdout.splitlines()
        assert shown[0].endswith(" INFO  bot@xserver 募集を作成しました logger=ship.store guild=7")
        assert shown[1].endswith(" ERROR bot@xserver no luck logger=ship.store")
        assert len(store.ask('{level="error"} | json | msg = "no luck"').stdout.splitlines()) == 1
        counted = store.ask('sum by (level) (count_over_time({job="bot"}[5m]))', "--step", "1h", "-o", "json")
        assert '"metric": {"level": "info"}' in counted.stdout, counted.stderr
        wrong = store.ask("{job=")
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert "does not take the query: parse error" in wrong.stderr


def test_a_store_that_is_killed_again_and_again_gets_every_line_once(store: Store, tmp_path: Path) -> None:
    handler = LokiHandler(store.url, site="x", spool=tmp_path / "spool", batch_seconds=0.02, exit_seconds=20)
    number = 0
    with logger(handler) as log:
        for _ in range(4):
            with store.serving() as server:
                sent = handler.counts.sent
                while handler.counts.sent < sent + 500:
                    log.info("x", extra={"number": number})
                    number += 1
                server.kill()
                server.wait()
            for _ in range(100):
                log.info("x", extra={"number": number})
                number += 1
        with store.serving():
            until(lambda: handler.counts.sent >= number, "all is sent")
            assert store.numbers() == list(range(number))


def test_the_same_batch_twice_is_kept_once(store: Store) -> None:
    now = time.time_ns() - 10**9
    body = encode([Line((("job", "bot"),), now + number, f'{{"number": {number}}}') for number in range(50)])
    with store.serving():
        client = PushClient(make_target(store.url))
        assert [client.push(body), client.push(body)] == [Answer(Fate.TAKEN)] * 2
        assert store.numbers() == list(range(50))


def test_following_shows_lines_as_they_come_until_ctrl_c(store: Store) -> None:
    with store.serving(), logger(LokiHandler(store.url, site="x", batch_seconds=0.05)) as log:
        log.info("before")
        until(lambda: "before" in store.ask('{job="bot"}').stdout, "it is there")
        command = [sys.executable, "-m", "rectbot", "logs", "query", "--url", store.url, '{job="bot"}', "-f"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as following:
            assert following.stdout is not None
            assert "before" in following.stdout.readline()
            for number in range(3):
                log.warning("line %d", number)
                assert f"WARN  bot@x line {number}" in following.stdout.readline()
            following.send_signal(signal.SIGINT)
            _, errors = following.communicate(timeout=20)
        assert (following.returncode, errors) == (0, "")
