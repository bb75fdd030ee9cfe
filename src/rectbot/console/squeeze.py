"""Text goes out compressed. What a browser keeps for ever is compressed once, and then answered from here.

A page of ours is some thirty files, most of them the toolkit's, and all of them text: without this a browser that was
never here would be sent 2.4 MB, each file from the disk by a thread of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TEXT = re.compile(rb"text/|application/(?:json|javascript|manifest\+json)|image/svg")
_FOR_EVER = re.compile(rb"(?:max-age=(?:[0-9]{6,})|immutable)")
_LEAST_BYTES = 600  # below it the heads are as long as what is saved
_MOST_KEPT = 4 << 20  # bytes, compressed
_QUICK, _THOROUGH = 5, 9
Headers = list[tuple[bytes, bytes]]


@dataclass
class _Answer:
    """What the application answers, while it is being collected."""

    headers: Headers
    parts: list[bytes] = field(default_factory=list)


class Squeeze:
    """ASGI middleware, below whatever decides who may ask."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[str, tuple[Headers, bytes]] = {}  # by path
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not _takes_gzip(scope["headers"]):
            await self._app(scope, receive, send)
            return
        if (kept := self._kept.get(scope["path"])) is not None:
            await _send(send, *kept)
            return
        answer: _Answer | None = None

        async def collect(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start" and _worthwhile(message):
                answer = _Answer(message["headers"])
            elif answer is None:
                await send(message)
            elif message["type"] == "http.response.body":
                answer.parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _send(send, *await self._squeezed(scope, answer))

        await self._app(scope, receive, collect)

    async def _squeezed(self, scope: Scope, answer: _Answer) -> tuple[Headers, bytes]:
        text = b"".join(answer.parts)
        headers = [pair for pair in answer.headers if pair[0].lower() != b"content-length"]
        lasts = any(key.lower() == b"cache-control" and _FOR_EVER.search(value) for key, value in headers)
        if len(text) >= _LEAST_BYTES:
            headers.append((b"content-encoding", b"gzip"))
            if lasts:
                text = await asyncio.to_thread(gzip.compress, text, _THOROUGH)
            else:
                text = gzip.compress(text, _QUICK)
        found = [*headers, (b"vary", b"accept-encoding"), (b"content-length", b"%d" % len(text))], text
        if lasts and not scope["query_string"] and self._size + len(text) <= _MOST_KEPT:
            self._kept[scope["path"]] = found
            self._size += len(text)
        return found


def _takes_gzip(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """And wants all of it: a part of something compressed would be another part."""
    given = dict(headers)
    return b"gzip" in given.get(b"accept-encoding", b"") and b"range" not in given


def _worthwhile(start: Message) -> bool:
    given = {name.lower(): value for name, value in start["headers"]}
    return (
        start["status"] == 200
        and b"content-encoding" not in given
        and bool(_TEXT.match(given.get(b"content-type", b"")))
    )


async def _send(send: Send, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
