"""A connection to Redis: the least that the failover needs of its protocol.

Not redis-py, for two reasons. Its import takes 11 MiB, a quarter of what the whole failover may take on a small host.
And the safety of a lease leans on what happens to an answer that comes too late: here a connection that was left while
an answer was due is closed, always, so that no answer is ever taken for another's.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2)
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from rectbot.dial import dial_soon
from rectbot.errors import ConfigError
from rectbot.failover import reasons
from rectbot.failover.endpoint import Endpoint

OPEN_SECONDS = 4.0  # less than the patience of everybody who waits for a connection, so that they hear the reason
_EXPECTED = "NOSCRIPT"  # the one error that is no reason to leave a server
_REFUSED_PASSWORD = ("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR Client sent AUTH", "ERR invalid password")
_LONGEST = 16 * 2**20  # bytes of a word, elements of an array


class Disconnected(Exception):  # noqa: N818 (a state)
    """Redis cannot be reached, hung up, or is something else. The text says where, and what to mend."""


class ServerError(Exception):
    """Redis answered with an error. The text says where, and what to mend; `said` is Redis's own."""

    def __init__(self, said: str, explained: str) -> None:
        super().__init__(explained)
        self.said = said


class _Garbage(Exception):  # noqa: N818 (what it is)
    """An answer that no Redis gives; its first bytes."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


class Connection:
    """One connection, for one caller at a time.

    It is closed when an answer is due and nobody waits for it any more, and after every error of the server but
    NOSCRIPT: a replica, or one that is ill, must not be kept when its name leads to another server by now.
    """

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._spoken = False  # whether it has ever answered

    @classmethod
    async def open(cls, endpoint: Endpoint, seconds: float = OPEN_SECONDS) -> Connection:
        """Looks the name up, connects and logs in, within `seconds`.

        Raises Disconnected that says how far it came, or ConfigError when the login is refused. Give it less time than
        you have, so that you hear why.
        """
        stage = ["connect"]
        try:
            async with asyncio.timeout(seconds):
                connection = await cls._connect(endpoint, stage, seconds)
                try:
                    await connection._log_in()
                except BaseException:
                    connection.abort()
                    raise
        except TimeoutError:
            raise Disconnected(reasons.of_silence(stage[-1], endpoint, seconds)) from None
        return connection

    @classmethod
    async def _connect(cls, endpoint: Endpoint, stage: list[str], seconds: float) -> Connection:
        context = _tls_context(endpoint) if endpoint.tls else None
        try:
            if endpoint.path:
                return cls(endpoint, *await asyncio.open_unix_connection(endpoint.path))
            sock = await dial_soon(endpoint.host, endpoint.port, 0.9 * seconds)  # to hear why
        except OSError as error:
            raise Disconnected(reasons.of_connecting(error, endpoint, seconds)) from None
        stage.append("login" if context is None else "tls")
        try:
            name = endpoint.host if context is not None else None
            streams = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
        except OSError as error:  # asyncio has closed the socket
            raise Disconnected(reasons.of_tls(error, endpoint)) from None
        stage.append("login")
        return cls(endpoint, *streams)

    async def _log_in(self) -> None:
        endpoint = self._endpoint
        try:
            if endpoint.password:
                user = (endpoint.username,) if endpoint.username else ()
                await self.call("AUTH", *user, endpoint.password)
            if endpoint.db is not None:
                await self.call("SELECT", endpoint.db)
        except ServerError as error:
            if error.said.startswith(_REFUSED_PASSWORD):
                raise ConfigError(f"{reasons.name(endpoint)} {_refusal(error.said, endpoint)}") from None
            if "DB index" in error.said:
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
            answer = await self._read()
        except ServerError as error:
            if not error.said.startswith(_EXPECTED):
                self.abort()
            raise
        except _Garbage as error:
            self.abort()
            raise Disconnected(reasons.of_garbage(error.answer, self._endpoint)) from None
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            self.abort()
            raise Disconnected(reasons.of_hanging_up(error, self._endpoint, at_once=not self._spoken)) from None
        except BaseException:
            self.abort()
            raise
        self._spoken = True
        return answer

    async def _read(self) -> Any:
        kind = await self._reader.readexactly(1)
        if kind not in b"+-:$*":
            raise await self._garbage(kind)
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        if kind == b"+":
            return line
        if kind == b"-":
            said = line.decode(errors="replace")
            raise ServerError(said, reasons.of_server(said, self._endpoint))
        try:
            number = int(line)
        except ValueError:
            raise _Garbage(kind + line) from None
        if kind == b":":
            return number
        if number < 0:
            return None
        if number > _LONGEST:
            raise _Garbage(kind + line)
        if kind == b"$":
            return (await self._reader.readexactly(number + 2))[:-2]
        return [await self._read() for _ in range(number)]

    async def _garbage(self, first: bytes) -> _Garbage:
        """With as much as has come, to tell what it is."""
        try:
            async with asyncio.timeout(0.2):
                return _Garbage(first + await self._reader.read(60))
        except (TimeoutError, OSError):
            return _Garbage(first)

    @property
    def closed(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    def abort(self) -> None:
        """Closes at once; what was not sent yet is thrown away."""
        self._writer.transport.abort()


def _refusal(said: str, endpoint: Endpoint) -> str:
    if said.startswith("NOAUTH"):
        return "refuses the login: it wants a password: set REDIS_PASSWORD"
    if "without any password" in said or "no password is set" in said:
        return "refuses the login: it has no password: unset REDIS_PASSWORD, or give Redis one with requirepass"
    return f"refuses the login: correct {'REDIS_PASSWORD or REDIS_USER' if endpoint.username else 'REDIS_PASSWORD'}"


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(endpoint.cacert) if endpoint.cacert else None)
    except ssl.SSLError:
        raise ConfigError(f"REDIS_CACERT={endpoint.cacert}: is not a certificate in PEM format") from None
    except OSError as error:
        raise ConfigError(
            f"REDIS_CACERT={endpoint.cacert}: {error.strerror}: correct the path, or its permissions"
        ) from None
