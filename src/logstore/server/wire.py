"""Push bodies: Loki's JSON, and its protobuf in a snappy block.

Sources: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs, pkg/push/push.proto,
https://protobuf.dev/programming-guides/encoding/. The two messages are small enough to be read by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from logstore.logql.strings import unquote
from logstore.server.budget import Share

Metadata = dict[str, str]
Pushed = tuple[Metadata, list[int], Sequence[str], dict[int, Metadata]]
"""A stream's labels, then times, lines and structured metadata of what is pushed to it."""


class WireError(Exception):
    """The body is not what it should be."""

    status = 400


class _Value(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Nanoseconds as text, the line, and perhaps structured metadata."""

    time: str
    line: str
    metadata: dict[str, msgspec.Raw] | None = None


class _Stream(msgspec.Struct):
    """Values of labels and metadata may be anything: what is no text is taken as it is written, as Loki does."""

    stream: dict[str, msgspec.Raw]
    values: list[_Value] | None = None


class _Push(msgspec.Struct):
    streams: list[_Stream]


class _PlainStream(msgspec.Struct):
    """Without structured metadata, as most are: pairs come apart into columns at once."""

    stream: dict[str, str]
    values: list[tuple[str, str]]


class _PlainPush(msgspec.Struct):
    streams: list[_PlainStream]


_ANY, _PLAIN = msgspec.json.Decoder(_Push), msgspec.json.Decoder(_PlainPush)
_NUMBERS = msgspec.json.Decoder(list[int])
_LONGEST_NUMBER = 20  # characters
_MOST_ENTRIES = 250_000  # of one stream in one push
_SMALL = 1 << 20  # bytes of a push whose cost is not worth counting
_MOST_COST = 96 << 20  # bytes that one push may take while it is decoded


def from_json(body: bytes) -> Iterator[Pushed]:
    """Labels, times, lines and structured metadata of each stream. Raises WireError."""
    if len(body) > _SMALL and _cost(body) > _MOST_COST:
        raise _too_many()
    try:
        found: Iterator[Pushed]
        try:
            found = map(_from_pairs, _PLAIN.decode(body).streams)
        except msgspec.ValidationError:
            found = map(_from_values, _ANY.decode(body).streams)
    except (msgspec.DecodeError, RecursionError) as error:
        raise WireError(str(error)) from None
    except UnicodeDecodeError:
        raise WireError("the request is not UTF-8") from None
    del body  # it may be as large as what came out of it
    yield from found


def _cost(body: bytes) -> int:
    """Bytes that a JSON body may take when it is decoded: texts are copied, and each one and each object is a block."""
    texts = (body.count(b'"') - body.count(b'\\"')) / 2
    return int(2 * len(body) + 90 * texts + 200 * body.count(b"{"))


def _too_many() -> WireError:
    error = WireError(f"too many entries in one push: more than {_MOST_ENTRIES}, or too many labels")
    error.status = 413
    return error


def _check_count(entries: int) -> None:
    if entries > _MOST_ENTRIES:
        raise _too_many()


def _from_pairs(stream: _PlainStream) -> Pushed:
    _check_count(len(stream.values))
    times, lines = zip(*stream.values, strict=True) if stream.values else ((), ())
    return stream.stream, _numbers(times), lines, {}


def _from_values(stream: _Stream) -> Pushed:
    values = stream.values or []
    _check_count(len(values))
    metadata = {index: _texts(value.metadata, objects=False) for index, value in enumerate(values) if value.metadata}
    times = _numbers([value.time for value in values])
    return _texts(stream.stream, objects=True), times, [value.line for value in values], metadata


def _texts(values: dict[str, msgspec.Raw], *, objects: bool) -> Metadata:
    """The values as text; with or without those that are objects."""
    pairs = ((name, bytes(raw)) for name, raw in values.items())
    return {name: _shown(raw) for name, raw in pairs if objects or raw[:1] != b"{"}


def _shown(raw: bytes) -> str:
    if raw[:1] != b'"':
        return raw.decode(errors="replace")
    try:
        text: str = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # what is inside was not looked at before
        raise WireError(str(error)) from None
    return text


def _numbers(texts: Sequence[str]) -> list[int]:
    """All at once as JSON, which takes a fifth of the time that `int` does; what is no JSON, one by one."""
    try:
        numbers = _NUMBERS.decode(f"[{','.join(texts)}]")
        if len(numbers) == len(texts):
            return numbers
    except (msgspec.DecodeError, ValueError):
        pass
    try:
        if any(len(text) > _LONGEST_NUMBER for text in texts):
            raise ValueError
        return [int(text) for text in texts]
    except ValueError:
        raise WireError("a value's first part must be nanoseconds since 1970, as text") from None


def unpacked(body: bytes, most: int, share: Share) -> bytes:
    """What a snappy block holds, at most `most` bytes. Raises WireError, and SpentError when the share cannot grow."""
    import cramjam  # noqa: PLC0415 - only clients that speak protobuf need it

    size, _ = _varint(body, 0)
    if size > most:
        raise WireError(f"the body unpacks to {size} bytes, more than {most}")
    share.grow(size)
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise WireError(f"snappy: {error}") from None


def from_protobuf(body: bytes) -> Iterator[Pushed]:
    """The same from a PushRequest. Raises WireError."""
    for field, content in _fields(body):
        if field != 1:
            continue
        labels: Metadata = {}
        times, lines, metadata = list[int](), list[str](), dict[int, Metadata]()
        for part, value in _fields(_bytes(content)):
            if part == 1:
                labels = parse_labels(_text(value))
            elif part == 2:
                time, line, fields = _entry(_bytes(value))
                if fields:
                    metadata[len(times)] = fields
                times.append(time)
                lines.append(line)
                _check_count(len(times))
        yield labels, times, lines, metadata


def _entry(body: bytes) -> tuple[int, str, Metadata]:
    time, line, metadata = 0, "", dict[str, str]()
    for field, content in _fields(body):
        if field == 1:
            parts = {part: number for part, number in _fields(_bytes(content)) if isinstance(number, int)}
            seconds = parts.get(1, 0)
            time = (seconds - (1 << 64) if seconds >> 63 else seconds) * 10**9 + parts.get(2, 0)
        elif field == 2:
            line = _text(content)
        elif field == 3:
            pair = {part: _text(text) for part, text in _fields(_bytes(content)) if isinstance(text, bytes)}
            metadata[pair.get(1, "")] = pair.get(2, "")
    return time, line, metadata


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("protobuf: a message was expected")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode(errors="replace")


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(body):
            break
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError("protobuf: a number does not end")


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(body):
        tag, position = _varint(body, position)
        kind = tag & 7
        if kind == 0:
            number, position = _varint(body, position)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, position = _varint(body, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise WireError("protobuf: a field of unknown kind")
        if position + size > len(body):
            raise WireError("protobuf: a field ends behind the body")
        if kind == 2:
            yield tag >> 3, body[position : position + size]
        position += size


_PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*("(?:[^"\\]|\\.)*"|`[^`]*`)\s*(,|\}\s*\Z)')


@lru_cache(maxsize=1024)
def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    body = text.strip()
    if body.replace(" ", "") == "{}":
        return ()
    position, found, end = 1, list[tuple[str, str]](), ""
    while body[:1] == "{" and (match := _PAIR.match(body, position)) is not None:
        found.append((match[1], unquote(match[2])))
        position, end = match.end(), match[3]
        if end != ",":
            return tuple(found)
    raise WireError(f"error parsing labels {text}")


def parse_labels(text: str) -> Metadata:
    """Labels as Prometheus writes them: `{name="value", ...}`. Raises WireError."""
    try:
        return dict(_pairs(text))
    except ValueError:
        raise WireError(f"error parsing labels {text}") from None
