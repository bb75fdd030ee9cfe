"""What the console sends compressed, and what of it is kept."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from rectbot.console import squeeze
from rectbot.console.squeeze import Squeeze

FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
GZIP = ((b"accept-encoding", b"gzip, deflate, br"),)


class Site:
    """An application with one answer, in parts."""

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes], status: int = 200, part: int = 1000) -> None:
        self.body, self.headers, self.status, self.part = body, headers, status, part
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        length = (b"content-length", b"%d" % len(self.body))
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, length]})
        for at in range(0, len(self.body) + 1, self.part):
            more = at + self.part <= len(self.body)
            await send({
                "type": "http.response.body", "body": self.body[at : at + self.part], "more_body": more,
            })  # fmt: skip


def ask(
    app: Squeeze, *headers: tuple[bytes, bytes], path: str = "/a.js", query: bytes = b"", method: str = "GET"
) -> tuple[dict[bytes, bytes], bytes]:
    """The answer's headers and its body."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody reads the request")

    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": path, "query_string": query, "headers": list(headers),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    given = {name.lower(): value for name, value in sent[0]["headers"]}
    assert len(given) == len(sent[0]["headers"]), "each header once"
    assert int(given[b"content-length"]) == len(body)
    return given, body


@given(st.binary(max_size=5000), st.integers(1, 4000))
def test_a_browser_reads_what_was_written(body: bytes, part: int) -> None:
    app = Squeeze(Site(body, (b"Content-Type", b"text/html; charset=utf-8"), part=part))
    given_, got = ask(app, *GZIP)
    assert (gzip.decompress(got) if given_.get(b"content-encoding") == b"gzip" else got) == body


@pytest.mark.parametrize(
    ("headers", "kind", "status", "method"),
    [
        ((), b"text/css", 200, "GET"),
        (((b"accept-encoding", b"br"),), b"text/css", 200, "GET"),
        ((*GZIP, (b"range", b"bytes=0-9")), b"text/css", 200, "GET"),
        (GZIP, b"font/woff2", 200, "GET"),
        (GZIP, b"text/css", 404, "GET"),
        (GZIP, b"text/css", 200, "POST"),
    ],
)
def test_what_is_not_for_compressing_goes_through(
    headers: tuple[tuple[bytes, bytes], ...], kind: bytes, status: int, method: str
) -> None:
    site = Site(b"word " * 1000, (b"content-type", kind), FOR_EVER, status=status)
    for time in (1, 2):
        given_, body = ask(Squeeze(site), *headers, method=method)
        assert b"content-encoding" not in given_
        assert body == site.body
        assert site.asked == time


def test_what_a_browser_keeps_for_ever_is_compressed_once() -> None:
    site = Site(b"word " * 1000, (b"content-type", b"text/javascript"), FOR_EVER)
    app = Squeeze(site)
    first, second = ask(app, *GZIP), ask(app, *GZIP)
    assert first == second
    assert site.asked == 1
    assert gzip.decompress(second[1]) == site.body
    assert second[0][FOR_EVER[0]] == FOR_EVER[1]


def test_pages_and_made_up_addresses_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Site(b"word " * 1000, (b"content-type", b"text/html"), (b"cache-control", b"no-store"))
    app = Squeeze(page)
    for _ in range(3):
        ask(app, *GZIP)
    assert page.asked == 3
    file = Site(b"word " * 1000, (b"content-type", b"text/css"), FOR_EVER)
    app = Squeeze(file)
    for number in range(3):
        ask(app, *GZIP, query=b"%d" % number)
    assert file.asked == 3
    room = len(ask(app, *GZIP)[1]) * 3 // 2  # for one of two
    file.asked = 0
    monkeypatch.setattr(squeeze, "_MOST_KEPT", room)
    app = Squeeze(file)
    for path in ("/a", "/b", "/a", "/b"):
        ask(app, *GZIP, path=path)
    assert file.asked == 1 + 2
