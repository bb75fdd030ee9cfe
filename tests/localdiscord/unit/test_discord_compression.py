"""Transport compression, read back by the decoders that clients use: zlib, and the zstd library itself."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import zlib
from collections.abc import Iterator

import pytest

from localdiscord.compression import ZlibStream, ZstdStream, encoder

TEXTS = [json.dumps({"op": 10}), json.dumps({"d": "ü" * 10}), json.dumps({"d": "x" * 300_000}), "{}"]


def test_each_zlib_message_ends_with_the_flush_that_clients_wait_for() -> None:
    stream, decoder = ZlibStream(), zlib.decompressobj()
    for text in TEXTS:
        data = stream.encode(text)
        assert data.endswith(b"\x00\x00\xff\xff")
        assert decoder.decompress(data).decode() == text


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer of zstd.h."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


class LibZstd:
    """Streaming decompression by libzstd, which every Debian has: dpkg needs it."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
        self._lib.ZSTD_createDStream.restype = ctypes.c_void_p
        self._lib.ZSTD_decompressStream.restype = ctypes.c_size_t
        self._lib.ZSTD_getErrorName.restype = ctypes.c_char_p
        self._stream = ctypes.c_void_p(self._lib.ZSTD_createDStream())

    def decompress(self, data: bytes) -> bytes:
        source = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.cast(source, ctypes.c_void_p), len(data), 0)
        return b"".join(self._drain(given))

    def _drain(self, given: _Buffer) -> Iterator[bytes]:
        while True:
            target = ctypes.create_string_buffer(200_000)
            out = _Buffer(ctypes.cast(target, ctypes.c_void_p), len(target), 0)
            code = self._lib.ZSTD_decompressStream(self._stream, ctypes.byref(out), ctypes.byref(given))
            assert not self._lib.ZSTD_isError(ctypes.c_size_t(code)), self._lib.ZSTD_getErrorName(ctypes.c_size_t(code))
            yield target.raw[: out.pos]
            if given.pos == given.size and out.pos < len(target):
                return


def test_each_zstd_message_is_whole_when_it_arrives() -> None:
    stream, decoder = ZstdStream(), LibZstd()
    for text in TEXTS:
        assert decoder.decompress(stream.encode(text)).decode() == text


@pytest.mark.parametrize("compress", ["gzip", "zlib", ""])
def test_unknown_compressions_have_no_encoder(compress: str) -> None:
    assert encoder(compress) is None
