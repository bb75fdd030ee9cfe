"""The log store's server for tests: a real process on a free port, killed or stopped by its pid."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cramjam

from servers import free_port

T0 = 1_793_491_200 * 10**9  # 2026-11-01, in nanoseconds


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _message(field: int, body: bytes | int) -> bytes:
    if isinstance(body, int):
        return _varint(field << 3) + _varint(body)
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def protobuf(labels: str, entries: list[tuple[int, str, dict[str, str]]]) -> bytes:
    """A push of one stream as clients of Loki's protobuf send it: times in nanoseconds, lines, structured metadata."""
    stream = _message(1, labels.encode())
    for at, line, metadata in entries:
        entry = _message(1, _message(1, at // 10**9) + _message(2, at % 10**9)) + _message(2, line.encode())
        for name, value in metadata.items():
            entry += _message(3, _message(1, name.encode()) + _message(2, value.encode()))
        stream += _message(2, entry)
    return bytes(cramjam.snappy.compress_raw(_message(1, stream)))


@dataclass
class LogServer:
    folder: Path
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "logstore",
            "--data",
            str(self.folder),
            "--port",
            str(self.port),
        ]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *self.arguments], stderr=log, stdout=log)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/ready")[0] == 200:
                    return
            assert self.process.poll() is None, self.log[-2000:]
            assert time.monotonic() < deadline, "the log store did not answer within 30 s"
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    def request(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=named)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str, **params: Any) -> tuple[int, bytes]:
        return self.request(f"{path}?{urllib.parse.urlencode(params)}" if params else path)

    def push(self, labels: dict[str, str], values: list[list[Any]]) -> tuple[int, bytes]:
        body = json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()
        return self.request("/loki/api/v1/push", body, Content_Type="application/json")

    def data(self, path: str, **params: Any) -> Any:
        status, body = self.get(f"/loki/api/v1/{path}", **params)
        assert status == 200, body
        return json.loads(body)["data"]

    def lines(self, query: str, **params: Any) -> list[tuple[int, str]]:
        """All lines of a query, in the order of time."""
        asked = {"start": T0 - 10**9, "end": T0 + 10**15, "limit": 5000, "direction": "forward", **params}
        result = self.data("query_range", query=query, **asked)["result"]
        return sorted((int(at), line) for stream in result for at, line in (value[:2] for value in stream["values"]))


@contextlib.contextmanager
def log_server(folder: Path, *arguments: str) -> Iterator[LogServer]:
    server = LogServer(folder, arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()
