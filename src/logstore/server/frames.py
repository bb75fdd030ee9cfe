"""What the server and its worker tell each other, over a socket: a header in msgpack, and perhaps a body of bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from logstore.store.index import Change, ChunkRef

LENGTHS = struct.Struct("<II")  # of the header and of the body that follow


class Start(msgspec.Struct, tag="start", array_like=True):
    """The first frame: the store's folder, and the fields of its Limits."""

    folder: str
    limits: dict[str, int | float]


class Changes(msgspec.Struct, tag="changes", array_like=True):
    """What was committed since the last such frame."""

    changes: list[Change]


class Job(msgspec.Struct, tag="job", array_like=True):
    """A request: which kind, what stood behind the question mark, the name in its path. The body is the form."""

    number: int
    kind: str
    query: str = ""
    name: str = ""
    seconds: float = 60
    since: int = 0  # for a tail: the first time that counts,
    new: list[tuple[str, ChunkRef]] = []  # the chunks that are new,
    skip: int = 0  # how many lines of the first of them are known already,
    lost: list[tuple[str, ChunkRef]] = []  # and chunks that will not be looked at


class Cancel(msgspec.Struct, tag="cancel", array_like=True):
    """Nobody waits for this job any more."""

    number: int


class Ping(msgspec.Struct, tag="ping", array_like=True):
    """Is the worker's lock free?"""


class Done(msgspec.Struct, tag="done", array_like=True):
    """A job's answer: with status 200 the body is the response, else a sentence."""

    number: int
    status: int
    used: int = 0  # of a tail's new chunks, how many are done with,
    skip: int = 0  # and how many lines of the one behind them


class Begun(msgspec.Struct):
    """The body of a tail's first answer: what there was, from when on it follows, and how many seconds it waits."""

    streams: list[dict[str, Any]]
    start: int
    delay: int


class News(msgspec.Struct):
    """The body of a later one, and a message to the client: what is new, and what will not be looked at."""

    streams: list[dict[str, Any]]
    dropped_entries: list[dict[str, Any]] | None = None


class Pong(msgspec.Struct, tag="pong", array_like=True):
    """It is; also the worker's first word."""


class Lost(msgspec.Struct, tag="lost", array_like=True):
    """A chunk that a query wanted is damaged."""

    key: str
    ref: ChunkRef
    error: str


ToWorker = Start | Changes | Job | Cancel | Ping
FromWorker = Done | Pong | Lost
_encode: Callable[[ToWorker | FromWorker], bytes] = msgspec.msgpack.Encoder().encode
to_worker = msgspec.msgpack.Decoder(ToWorker).decode
from_worker = msgspec.msgpack.Decoder(FromWorker).decode


def frame(header: ToWorker | FromWorker, size: int = 0) -> bytes:
    """A frame up to its body, which has `size` bytes and is sent behind it."""
    head = _encode(header)
    return LENGTHS.pack(len(head), size) + head
