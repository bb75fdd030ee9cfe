"""A server for a few answers to GET, and for what programs post: small, with bounds on all that it can be made hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from foundation.webguard import Guard

MOST_CONNECTIONS = 64
READ_SECONDS, WRITE_SECONDS = 5.0, 10.0
MOST_BODY_BYTES = 256 * 1024
_MOST_HEAD_BYTES = 16 * 1024
_MOST_POSTS = 4  # at a time
Take = Callable[[bytes], Awaitable["Answer"]]
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"} | {
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    body: bytes
    status: int = 200
    kind: str = "text/plain; charset=utf-8"


class _Refused(Exception):  # noqa: N818 - it is an answer
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(f"{text}\n".encode(), status)


class Answers:
    """Each connection gets one answer. Of too many the one that has been there for the longest is ended."""

    def __init__(
        self, routes: dict[str, Callable[[], Awaitable[Answer]]], guard: Guard, posts: dict[str, Take] | None = None
    ) -> None:
        self._routes, self._guard, self._posts = routes, guard, posts or {}
        self._posting = asyncio.Semaphore(_MOST_POSTS)
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Raises OSError when it cannot."""
        return await asyncio.start_server(self._serve, host, port, limit=_MOST_HEAD_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = None
        if len(self._open) > MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        try:
            with contextlib.suppress(OSError, TimeoutError):
                answer, body_too = await self._answer(reader)
                async with asyncio.timeout(WRITE_SECONDS):
                    writer.write(_head(answer) + (answer.body if body_too else b""))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        """And whether its body is wanted."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            method, path, headers = _parsed(head)
            if (refusal := self._guard.refusal(method, headers)) is not None:
                raise _Refused(*refusal)
            if method == "POST" and (take := self._posts.get(path)) is not None:
                return await self._take(take, reader, headers), True
            if method not in ("GET", "HEAD"):
                raise _Refused(405, "only GET is answered here")
            if (route := self._routes.get(path.partition("?")[0])) is None:
                raise _Refused(404, f"there is only {' and '.join(self._routes)}")
            return await route(), method == "GET"
        except TimeoutError:
            return _Refused(408, "the request did not come in time").answer, True
        except asyncio.LimitOverrunError:
            return _Refused(431, f"the request's head is longer than {_MOST_HEAD_BYTES} bytes").answer, True
        except asyncio.IncompleteReadError:
            return _Refused(400, "this is not a whole HTTP request").answer, True
        except _Refused as refused:
            return refused.answer, True

    async def _take(self, take: Take, reader: asyncio.StreamReader, headers: list[tuple[str, str]]) -> Answer:
        """Raises _Refused, and what reading raises."""
        length = _length(headers)
        async with asyncio.timeout(READ_SECONDS), self._posting:
            body = await reader.readexactly(length)
        return await take(body)


def _parsed(head: bytes) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, target, and headers. Raises _Refused."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ")
    pairs = [line.partition(":") for line in lines]
    whole = len(words) == 3 and words[2] in ("HTTP/1.0", "HTTP/1.1")
    if not whole or any(not colon or not name or name != name.strip() for name, colon, _ in pairs):
        raise _Refused(400, "this is no HTTP request of version 1.0 or 1.1")
    return words[0], words[1], [(name, value.strip()) for name, _, value in pairs]


def _length(headers: list[tuple[str, str]]) -> int:
    """Of the body. Raises _Refused."""
    found = {value for name, value in headers if name.lower() == "content-length"}
    text = found.pop() if len(found) == 1 else ""
    if not (text.isascii() and text.isdigit()):
        raise _Refused(411, "a body needs a Content-Length")
    if len(text) > 9 or int(text) > MOST_BODY_BYTES:
        raise _Refused(413, f"a body may have {MOST_BODY_BYTES} bytes")
    return int(text)


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.kind}\r\nContent-Length: {len(answer.body)}\r\n"
        "X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")
