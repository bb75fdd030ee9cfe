"""Why Redis cannot be used, in one line: what, where, and how to mend it. No line holds the password."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from rectbot.names import MAY_PASS

if TYPE_CHECKING:
    from rectbot.failover.endpoint import Endpoint

_PORT = "correct REDIS_PORT, or the port in REDIS_URL"
_NOT_ALLOWED = "this host's address is not allowed there: on its host 'rectbot init --allow ADDRESS', restart redis-tls"
_CLUSTER = "it is a Redis Cluster; the lease needs a single Redis, or one with Sentinels"
_NO_WAY = "is the host up, and the way to it (WireGuard, a tunnel)?"
_MENDS = {
    errno.ECONNREFUSED: f"start it, or {_PORT}",
    errno.ECONNRESET: f"perhaps {_NOT_ALLOWED}",
    errno.ENETUNREACH: _NO_WAY,
    errno.EHOSTUNREACH: _NO_WAY,
}

# Redis's errors, by a word that only they have. https://redis.io/docs/latest/develop/reference/protocol-spec/
_SERVER_ERRORS = {
    "READONLY": "it is a read-only replica: name the master, or the Sentinels (docs/redis.md)",
    "LOADING": "it is still reading its data from the disk: wait for that",
    "BUSY": "a script of another program keeps it busy: 'redis-cli SCRIPT KILL' ends that",
    "MISCONF": "it cannot write to its disk: free some space, and look into its log",
    "OOM": "its memory is full: raise its maxmemory (docs/redis.md)",
    "MASTERDOWN": "it is a replica that has lost its master: name the master, or the Sentinels (docs/redis.md)",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write: mend them",
    "CLUSTERDOWN": _CLUSTER,
    "MOVED": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "NOPERM": "the user may not do that: docs/redis.md lists the rights",
    "NOAUTH": "it wants a password: set REDIS_PASSWORD",
    "WRONGPASS": "it refuses the login: correct REDIS_PASSWORD",
    "WRONGTYPE": "another program uses our keys: set LEADER_LOCK_KEY and HB_PREFIX, or REDIS_DB",
    "DENIED": "it is in protected mode, for its own host only: give it a password (docs/redis.md)",
    "max number of clients": "it takes no more connections: raise its maxclients, or end those that nobody needs",
    "unknown command": "it lacks a command: Redis 7, Valkey or newer is needed",
}


def of_server(text: str, endpoint: Endpoint) -> str:
    """An error that the server answered with, and what it means if we know that."""
    said = _without_secret(text, endpoint)
    meaning = next((meaning for word, meaning in _SERVER_ERRORS.items() if word in text), "")
    return f"{name(endpoint)}: {meaning} ({said})" if meaning else f"{name(endpoint)}: {said}"


def of_connecting(error: OSError, endpoint: Endpoint, seconds: float) -> str:
    """Why no connection could be made."""
    seconds = round(seconds, 2)
    return f"{name(endpoint)}: {_connecting(error, endpoint, seconds)}"


def _connecting(error: OSError, endpoint: Endpoint, seconds: float) -> str:
    if isinstance(error, socket.gaierror):
        return _name(error, endpoint)
    said = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    if endpoint.path:
        return f"{said}: correct the path in REDIS_URL, or its permissions"
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s: is the host up, and the port open in its firewall?"
    return f"{said}: {_MENDS[error.errno]}" if error.errno in _MENDS else said


def _name(error: socket.gaierror, endpoint: Endpoint) -> str:
    if error.errno in MAY_PASS:
        return f"the name {endpoint.host} cannot be looked up now ({error.strerror}): see to this host's resolver"
    return f"the name {endpoint.host} is not found ({error.strerror}): correct REDIS_HOST, or REDIS_URL"


def of_tls(error: OSError, endpoint: Endpoint) -> str:
    """Why the handshake failed."""
    return f"{name(endpoint)}: {_tls(error, endpoint)}"


def _tls(error: OSError, endpoint: Endpoint) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, endpoint)
    if isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):  # the connection was closed or reset
        return f"the connection was closed before TLS began: perhaps {_NOT_ALLOWED}; or it speaks no TLS"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return f"no TLS is spoken on this port: {_PORT}, or unset REDIS_TLS (write redis://, not rediss://)"
    return (
        f"TLS failed ({error.reason or 'no reason given'}): it must speak TLS 1.2 or newer, without client certificates"
    )


def _certificate(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> str:
    match error.verify_code:  # X509_V_ERR_* of https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
        case 10:
            return "its certificate has expired: renew it on its host with 'rectbot init --rotate tls'"
        case 9:
            return "its certificate is not valid yet: set the clock of this host, or of that one"
        case 62 | 64:
            return (
                f"its certificate is for another name than {endpoint.host}: write a name that it has, or make one on"
                f" its host with 'rectbot init --host {endpoint.host}'"
            )
        case _:
            return (
                f"its certificate is not trusted ({error.verify_message}; certificate verify failed): copy its host's"
                " tls.crt here and set REDIS_CACERT to it"
            )


def of_silence(stage: str, endpoint: Endpoint, seconds: float) -> str:
    """Why it took so long, by what was waited for: "connect", "tls" or "login"."""
    seconds = round(seconds, 2)
    if stage == "connect":
        return of_connecting(TimeoutError(), endpoint, seconds)
    if stage == "tls":
        why = f"it takes the connection, but speaks no TLS: {_PORT}, or unset REDIS_TLS"
    else:
        why = "it takes the connection and says nothing: does it hang, or is it no Redis, or one with TLS (REDIS_TLS)?"
    return f"{name(endpoint)}: no answer within {seconds:g} s: {why}"


def of_hanging_up(error: Exception, endpoint: Endpoint, *, at_once: bool) -> str:
    """Why the connection ended; `at_once`: before the first answer."""
    said = "Redis closed the connection" if isinstance(error, EOFError | ConnectionError) else _said(error)
    if not at_once:
        return f"{name(endpoint)}: {said}"
    if endpoint.tls:
        return f"{name(endpoint)}: {said} before the first answer: perhaps {_NOT_ALLOWED}"
    return f"{name(endpoint)}: {said} before the first answer: if the port is for TLS, set REDIS_TLS=true (rediss://)"


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def of_garbage(answer: bytes, endpoint: Endpoint) -> str:
    """What answers there instead of Redis."""
    if answer[:2] in (b"\x15\x03", b"\x16\x03"):  # RFC 8446, section 5.1: an alert, a handshake
        return f"{name(endpoint)}: TLS is spoken on this port: set REDIS_TLS=true, or write rediss:// in REDIS_URL"
    what = "a web server" if answer[:5] == b"HTTP/" or answer[:1] == b"<" else "something else"
    text = answer.partition(b"\r")[0].partition(b"\n")[0][:40].decode("ascii", "replace")
    said = _without_secret("".join(c if c.isprintable() else "?" for c in text), endpoint)
    return f"{name(endpoint)}: {what} answers there, and not Redis ({said!r}): {_PORT}"


def name(endpoint: Endpoint) -> str:
    """What we call the server."""
    return f"{'Sentinel' if endpoint.db is None else 'Redis'} at {endpoint}"


def _without_secret(text: str, endpoint: Endpoint) -> str:
    """In one line, and short: Redis repeats the arguments of a command that it does not know."""
    for secret in filter(None, (endpoint.password, endpoint.sentinel_password)):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:200]
