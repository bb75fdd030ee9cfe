"""Reading what clients send, with a bound on its size, packed and unpacked, and on the time that they take."""

from __future__ import annotations

import asyncio
import io
import zlib

from aiohttp import web

from logstore.server.budget import Share

_PIECE = 256 << 10  # bytes that are unpacked at once


class BodyError(Exception):
    """The body is not taken: `str` is the answer, with `status`."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def _too_large(most: int) -> BodyError:
    return BodyError(f"request body too large: more than {most} bytes", 413)


async def read(request: web.Request, most: int, share: Share, seconds: float) -> bytes:
    """The body as it was sent. Raises BodyError, and SpentError when the share cannot grow."""
    declared = request.content_length
    if declared is not None:
        if declared > most:
            raise _too_large(most)
        share.grow(declared)
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.content.iter_any():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                if declared is None:
                    share.grow(len(part))
                parts.append(part)
    except TimeoutError:
        raise BodyError(f"the body took longer than {seconds:g} s", 408) from None
    except (ValueError, OSError, web.RequestPayloadError):
        raise BodyError("the body was broken off") from None
    return b"".join(parts)


def unpack(body: bytes, encoding: str, most: int, share: Share) -> bytes:
    """The body without its Content-Encoding. Raises BodyError for what is damaged or cut off, and SpentError."""
    kind = encoding.strip().lower()
    if kind in ("", "identity", "snappy"):  # snappy: clients say so of protobuf, which always is
        return body
    if kind in ("gzip", "x-gzip"):
        unpacked = _inflate(body, 31, most, share, kind)
    elif kind == "deflate":
        wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
        unpacked = _inflate(body, 15 if wrapped else -15, most, share, kind)
    else:
        raise BodyError(f'Content-Encoding "{encoding[:40]}" not supported')
    share.shrink(len(body))
    return unpacked


def _inflate(body: bytes, window: int, most: int, share: Share, kind: str) -> bytes:
    """All members of a gzip file, or the one stream of another kind."""
    unpacked, size = io.BytesIO(), 0  # grows in place, and gives its bytes away without a copy
    rest = body
    try:
        while True:
            machine = zlib.decompressobj(window)
            while not machine.eof:
                part = machine.decompress(rest, _PIECE)
                rest = machine.unconsumed_tail
                size += len(part)
                if size > most:
                    raise _too_large(most)
                share.grow(len(part))
                unpacked.write(part)
                if not part and not rest and not machine.eof:
                    raise BodyError(f"the body cannot be unpacked: its {kind} ends too early")
            rest = machine.unused_data
            if not rest:
                return unpacked.getvalue()
            if window != 31:
                raise BodyError(f"the body cannot be unpacked: something follows its {kind}")
    except zlib.error as error:
        raise BodyError(f"the body cannot be unpacked: {kind}: {error}") from None
