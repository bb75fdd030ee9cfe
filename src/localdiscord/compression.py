"""Transport compression of the gateway: what `?compress=` in the gateway's URL asks for.

https://discord.com/developers/docs/events/gateway#transport-compression
"""

from __future__ import annotations

import zlib
from typing import Protocol


class Encoder(Protocol):
    """Turns the text of one payload into a websocket message; one encoder lives as long as one connection."""

    def encode(self, text: str) -> str | bytes: ...


class Plain:
    """No compression: text frames."""

    def encode(self, text: str) -> str:
        return text


class ZlibStream:
    """One zlib stream for the whole connection, each payload ended by Z_SYNC_FLUSH."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def encode(self, text: str) -> bytes:
        return self._stream.compress(text.encode()) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    """One Zstandard frame for the whole connection, made of stored blocks (RFC 8878, sections 3.1.1.1 and 3.1.1.2).

    Stored blocks need no compressor, which Python has only since 3.14, and every decoder reads them.
    """

    _MAGIC = b"\x28\xb5\x2f\xfd"
    _DESCRIPTOR = b"\x00"  # no content size, no checksum, no dictionary, a window descriptor follows
    _WINDOW = b"\x38"  # exponent 7, mantissa 0: a window of 128 KiB
    _BLOCK_MAX = 128 * 1024

    def __init__(self) -> None:
        self._header = self._MAGIC + self._DESCRIPTOR + self._WINDOW

    def encode(self, text: str) -> bytes:
        data = text.encode()
        parts, self._header = [self._header], b""
        for start in range(0, len(data), self._BLOCK_MAX):
            block = data[start : start + self._BLOCK_MAX]
            # Bit 0 "last block" stays clear: the frame ends with the connection. Bits 1-2 are 0: a stored block.
            parts += [(len(block) << 3).to_bytes(3, "little"), block]
        return b"".join(parts)


def encoder(compress: str | None) -> Encoder | None:
    """The encoder for a value of `?compress=`; None for a value that the gateway does not know."""
    known: dict[str | None, type[Plain | ZlibStream | ZstdStream]] = {
        None: Plain,
        "zlib-stream": ZlibStream,
        "zstd-stream": ZstdStream,
    }
    kind = known.get(compress)
    return kind() if kind else None
