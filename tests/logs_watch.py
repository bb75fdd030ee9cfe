"""Attacks on the log store: what is asked of it, and a watch on whether all others are served meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
import urllib.parse
from typing import Any

import psutil

from logs_server import LogServer

PUSH = "/loki/api/v1/push"
READY_SECONDS = 3  # on a busy machine; alone it is some hundredths
RESIDENT_MB = 200  # of the server and its worker together
FORM = "application/x-www-form-urlencoded"


def resident(server: LogServer) -> float:
    """MB of the server and its worker."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += child.memory_info().rss
    return total / 1e6


class Watch:
    """Asks /ready all the time, and looks at the memory."""

    def __init__(self, server: LogServer) -> None:
        self.server, self.slowest, self.resident, self.failures = server, 0.0, 0.0, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.03):
            begin = time.monotonic()
            try:
                link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
                link.request("GET", "/ready")
                if link.getresponse().status != 200:
                    self.failures.append("not ready")
                link.close()
            except OSError as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.resident = max(self.resident, resident(self.server))

    def check(self) -> None:
        assert not self.failures, self.failures
        assert self.slowest < READY_SECONDS, self.slowest
        assert self.resident < RESIDENT_MB, self.resident


def ask(server: LogServer, path: str, **params: Any) -> tuple[int, bytes]:
    """As a form, since that may be long."""
    body = urllib.parse.urlencode(params).encode()
    return server.request(f"/loki/api/v1/{path}", body, Content_Type=FORM)


def served(server: LogServer) -> None:
    """Queries are answered again, as soon as what came before is done with."""
    deadline = time.monotonic() + 60
    while (found := ask(server, "query", query="vector(1)"))[0] != 200:
        assert found[0] in (429, 503, 504), found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
