"""Takes pushes as Loki does, and misbehaves on request, which a real Loki does not.

Like Loki it keeps one of several entries that have stream, time and text in common.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PUSH_PATH = "/loki/api/v1/push"
RANGE_PATH = "/loki/api/v1/query_range"
Refusal = tuple[int, dict[str, str], bytes]


@dataclass
class StandIn:
    """What was pushed so far. `refuse` says how a push is refused (None: it is taken); `hang` lets it wait for ever."""

    port: int
    refuse: Callable[[], Refusal | None] = lambda: None
    hang: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    headers: list[dict[str, str]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    attempts: int = 0
    times: list[float] = field(default_factory=list)
    questions: list[dict[str, str]] = field(default_factory=list)
    say: tuple[int, bytes] | None = None
    entries: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: dict[str, str]) -> tuple[int, bytes]:
        if self.say is not None:
            return self.say
        forward = asked["direction"] == "forward"
        found = self.found(int(asked["start"]), int(asked["end"]), int(asked["limit"]), forward=forward)
        return 200, json.dumps(found).encode()

    def take(self, headers: dict[str, str], body: bytes) -> Refusal:
        with self.lock:
            self.attempts += 1
            self.times.append(time.monotonic())
            self.headers.append(headers)
            if (refusal := self.refuse()) is not None:
                return refusal
            self.sizes.append(len(body))
            pushed: dict[str, Any] = json.loads(gzip.decompress(body))
            for stream in pushed["streams"]:
                labels = json.dumps(stream["stream"], sort_keys=True)
                for moment, text in stream["values"]:
                    assert moment.isdigit()
                    self.entries[labels, moment, text] = stream["stream"]
            return 204, {}, b""

    def found(self, start: int, end: int, limit: int, *, forward: bool) -> dict[str, Any]:
        """What a query of everything finds, as Loki answers."""
        with self.lock:
            entries = [(int(at), labels, text) for labels, at, text in self.entries if start <= int(at) < end]
        entries.sort(key=lambda entry: entry[0], reverse=not forward)
        streams: dict[str, list[list[str]]] = {}
        for moment, labels, text in entries[:limit]:
            streams.setdefault(labels, []).append([str(moment), text])
        result = [{"stream": json.loads(labels), "values": values} for labels, values in streams.items()]
        return {"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}}

    def texts(self, **labels: str) -> list[str]:
        """The lines of the streams with these labels, in the order in which they first came."""
        with self.lock:
            found = list(self.entries.items())
        return [text for (_, _, text), have in found if labels.items() <= have.items()]

    def messages(self, **labels: str) -> list[str]:
        """The messages of JSON lines."""
        return [json.loads(text)["msg"] for text in self.texts(**labels)]


@contextmanager
def stand_in(port: int = 0) -> Iterator[StandIn]:
    """A stand-in on a port of 127.0.0.1, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if loki.hang:
                loki.released.wait()
                self.close_connection = True
                return
            status, headers, text = loki.take(dict(self.headers), body) if self.path == PUSH_PATH else (404, {}, b"")
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            loki.questions.append(asked)
            status, text = 404, b"404 page not found"
            if url.path == RANGE_PATH:
                status, text = loki.answer(asked)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that went away

    with Server(("127.0.0.1", port), Handler) as server:
        loki = StandIn(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield loki
        finally:
            loki.released.set()
            server.shutdown()
            thread.join()
