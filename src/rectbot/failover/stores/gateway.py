"""etcd's HTTP gateway: JSON over POST, which the standard library speaks; gRPC would cost a small host 20 MiB.

https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/. One member is spoken to until it fails, then the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from rectbot.dial import dial
from rectbot.errors import ConfigError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.stores.base import StoreUnavailable
from rectbot.failover.stores.urls import Cluster
from rectbot.threads import in_thread

_DENIED = 7  # https://grpc.io/docs/guides/status-codes/
_LIMIT = 65_536  # bytes of an error that are read
_LOGIN_S = 2.0
_PAUSE_S = 0.02  # before the next member is asked


class Refused(Exception):  # noqa: N818 (what happened)
    """etcd's own error: its gRPC code, and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Gateway:
    """The way to a cluster, for one request at a time."""

    def __init__(self, cluster: Cluster, patience_ms: int) -> None:
        """A member that has not answered for `patience_ms` is left for the next one. Raises ConfigError."""
        self.cluster = cluster
        self._patience_s = patience_ms / 1000
        self._context = _tls(cluster) if cluster.tls else None
        self._at = 0  # the member that is spoken to
        self._connection: HTTPConnection | None = None
        self._token = ""

    async def call(self, path: str, body: dict[str, Any], give_up_at: int) -> dict[str, Any]:
        """The answer to a request, which is repeated at another member when one does not answer.

        Raises StoreUnavailable, or ConfigError where another try cannot help.
        """
        why, tries, members = "", 0, len(self.cluster.members)
        while (left := (give_up_at - boottime_ms()) / 1000) > 0:
            # All of them may be slow: so each round of the members gives them twice as long as the one before.
            limit = min(left, self._patience() * 2 ** (tries // members)) if members > 1 else left
            tries += 1
            where = self._where()
            try:
                async with asyncio.timeout(limit):
                    return await in_thread(self._asking(path, body, limit))
            except ssl.SSLCertVerificationError as error:
                raise ConfigError(f"etcd at {where}: its certificate is not accepted: {error.verify_message}") from None
            except (OSError, HTTPException, ValueError) as error:
                if not (why and isinstance(error, TimeoutError)):  # the last try may have had no time for an answer
                    why = f"{where}: {_in_words(error)}"
                self._at += 1
                await asyncio.sleep(min(_PAUSE_S, limit))  # all may refuse at once
            except Refused as refusal:
                self._token = ""
                _check(refusal, self.cluster)
                why = f"{where}: {refusal}"
                self._at += 1
        raise StoreUnavailable(f"etcd did not answer in time: {why or 'no time was left'}")

    async def stream(self, path: str, body: dict[str, Any], silence_s: float) -> AsyncIterator[dict[str, Any]]:
        """The answers of a request that is answered for ever. Raises OSError when none has come for `silence_s`."""
        limit = min(silence_s, self._patience())
        connection = self._connect(limit)
        try:
            response = await in_thread(lambda: self._post(connection, path, body))
            while True:
                if connection.sock is not None:
                    connection.sock.settimeout(silence_s)
                line = await in_thread(response.readline)
                if not line:
                    return
                yield json.loads(line)["result"]
        except Refused:
            self._token = ""  # it may have expired
            raise
        finally:
            self._at += 1  # the member may be frozen: next time it is another
            _abort(connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _patience(self) -> float:
        """A login takes longer: the password's hash is slow on purpose."""
        return max(self._patience_s, _LOGIN_S) if self.cluster.username and not self._token else self._patience_s

    def _where(self) -> str:
        host, port = self.cluster.members[self._at % len(self.cluster.members)]
        return f"{host}:{port}"

    def _asking(self, path: str, body: dict[str, Any], limit_s: float) -> Callable[[], dict[str, Any]]:
        """The request, for a thread. It owns the connection until it is answered, for it may be given up before."""
        connection = self._connection or self._connect(limit_s)
        self._connection = None

        def ask() -> dict[str, Any]:
            if connection.sock is not None:
                connection.sock.settimeout(limit_s)
            answer: dict[str, Any] = json.loads(self._post(connection, path, body).read())
            self._connection = connection
            return answer

        return ask

    def _connect(self, limit_s: float) -> HTTPConnection:
        host, port = self.cluster.members[self._at % len(self.cluster.members)]
        if self._context is None:
            connection = HTTPConnection(host, port, timeout=limit_s)
        else:
            connection = HTTPSConnection(host, port, timeout=limit_s, context=self._context)
        connection._create_connection = _dial  # type: ignore[attr-defined]  # what http.client itself is tested with
        return connection

    def _post(self, connection: HTTPConnection, path: str, body: dict[str, Any]) -> HTTPResponse:
        if self.cluster.username and not self._token:
            login = {"name": self.cluster.username, "password": self.cluster.password}
            connection.request("POST", "/v3/auth/authenticate", json.dumps(login))
            self._token = json.loads(_checked(connection.getresponse()).read())["token"]
        headers = {"Authorization": self._token} if self._token else {}
        connection.request("POST", path, json.dumps(body), headers)
        return _checked(connection.getresponse())


def _dial(address: tuple[str, int], timeout: float | None, source: tuple[str, int] | None = None) -> socket.socket:
    return dial(*address, timeout, source=source)


def _checked(response: HTTPResponse) -> HTTPResponse:
    """Raises Refused for etcd's own errors, ValueError when it is not etcd that answers."""
    if response.status == HTTPStatus.OK:
        return response
    text = response.read(_LIMIT)
    try:
        found = json.loads(text)
        raise Refused(int(found.get("code", 0)), str(found.get("message") or found["error"])[:200])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"HTTP {response.status}, which is no answer of etcd's gateway") from None


def _check(refusal: Refused, cluster: Cluster) -> None:
    """Raises ConfigError for what another try cannot mend."""
    text = str(refusal)
    if "authentication is not enabled" in text:
        raise ConfigError("etcd has no authentication switched on: leave user and password out of LEASE_URL") from None
    if "authentication failed" in text or "user name is empty" in text:
        raise ConfigError(
            f"etcd at {cluster} refuses the login: correct user and password in LEASE_URL ({text})"
        ) from None
    if refusal.code == _DENIED:
        raise ConfigError(
            f"etcd user {cluster.username!r} may not read and write the keys of LEASE_URL: grant it a role that may"
            f" ({text})"
        ) from None


def _tls(cluster: Cluster) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(cluster.cacert) if cluster.cacert else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"LEASE_URL: cacert={cluster.cacert}: cannot be used ({error}); name a PEM file") from None


def _abort(connection: HTTPConnection) -> None:
    """Ends the wait of a thread that reads, too."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS: write etcd:// in LEASE_URL, or another port"
    if isinstance(error, BadStatusLine):
        return "no answer in HTTP: if it speaks TLS, write etcds:// in LEASE_URL"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
