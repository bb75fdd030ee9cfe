"""A connection to Redis: the least that the failover needs of its protocol.

Not redis-py, for two reasons. Its import takes 11 MiB, a quarter of what the whole failover may take on a small host.
And the safety of a lease leans on what happens to an answer that comes too late: here a connection that was left while
an answer was due is closed, always, so that no answer is ever taken for another's.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2)
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from rectbot.errors import ConfigError
from rectbot.failover.endpoint import Endpoint

_REFUSED_PASSWORD = ("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR Client sent AUTH", "ERR invalid password")


class Disconnected(Exception):  # noqa: N818 (a state)
    """Redis cannot be reached, or hung up."""


class ServerError(Exception):
    """Redis answered with an error."""


class Connection:
    """One connection, for one caller at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Connection:
        """Connects and logs in. Raises Disconnected, or ConfigError when the login is refused."""
        try:
            if endpoint.path:
                reader, writer = await asyncio.open_unix_connection(endpoint.path)
            else:
                reader, writer = await asyncio.open_connection(
                    endpoint.host, endpoint.port, ssl=_tls_context(endpoint) if endpoint.tls else None
                )
        except OSError as error:
            raise Disconnected(f"Redis at {endpoint}: {_reason(error)}") from None
        connection = cls(reader, writer)
        try:
            await connection._log_in(endpoint)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _log_in(self, endpoint: Endpoint) -> None:
        try:
            if endpoint.password:
                user = (endpoint.username,) if endpoint.username else ()
                await self.call("AUTH", *user, endpoint.password)
            if endpoint.db is not None:
                await self.call("SELECT", endpoint.db)
        except ServerError as error:
            if str(error).startswith(_REFUSED_PASSWORD):
                names = "REDIS_PASSWORD or REDIS_USER" if endpoint.username else "REDIS_PASSWORD"
                raise ConfigError(f"Redis at {endpoint} refuses the login: correct {names}") from None
            if "DB index" in str(error):
                raise ConfigError(f"Redis at {endpoint} has no database {endpoint.db}: correct REDIS_DB") from None
            raise

    async def call(self, *words: str | int | bytes) -> Any:
        """Sends a command and returns its reply: bytes, int, None or a list of these. Raises ServerError, Disconnected.

        When it is cancelled, as by a time-out, the connection is closed.
        """
        self.send(*words)
        return await self.receive()

    def send(self, *words: str | int | bytes) -> None:
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        frame = [b"*%d\r\n" % len(encoded)]
        frame += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
        self._writer.write(b"".join(frame))

    async def receive(self) -> Any:
        try:
            return await self._read()
        except ServerError:
            raise
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.abort()
            raise Disconnected(_reason(error)) from None
        except BaseException:
            self.abort()
            raise

    async def _read(self) -> Any:
        line = await self._reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ServerError(rest.decode(errors="replace"))
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return (await self._reader.readexactly(number + 2))[:-2]
        if kind == b"*":
            return [await self._read() for _ in range(number)]
        raise ValueError(f"not Redis: it answered {line[:20]!r}")

    @property
    def closed(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    def abort(self) -> None:
        """Closes at once; what was not sent yet is thrown away."""
        self._writer.transport.abort()


def _tls_context(endpoint: Endpoint) -> Any:
    import ssl  # noqa: PLC0415 (few need it)

    try:
        return ssl.create_default_context(cafile=str(endpoint.cacert) if endpoint.cacert else None)
    except OSError as error:
        raise ConfigError(f"REDIS_CACERT={endpoint.cacert}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "Redis closed the connection"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno and text.startswith("Connect call failed"):  # asyncio's wording
        return os.strerror(error.errno)
    return text
