"""Where Redis is, as settings or a URL say it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from rectbot.errors import ConfigError
from rectbot.hosts import host_alone

_ESCAPE = "in a password write @ / ? # % as %40 %2F %3F %23 %25"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Redis is, and how to log in."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""  # a unix socket, instead of host and port
    username: str = ""
    password: str = field(default="", repr=False)
    db: int | None = 0  # None: a server without databases, as Sentinels are
    tls: bool = False
    cacert: Path | None = None
    sentinels: tuple[tuple[str, int], ...] = ()  # host and port of each; they know where `service` is, instead of host
    service: str = ""
    sentinel_password: str = field(default="", repr=False)

    def __str__(self) -> str:
        if self.sentinels:
            return f"{self.service} (by Sentinel)"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def parse_url(url: str, cacert: Path | None = None) -> Endpoint:
    """Reads the forms that REDIS_URL may have; DB is 0 by default, and rediss means TLS.

    - `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, `rediss://...`
    - `unix://[[USER]:PASSWORD@]/PATH[?db=DB]`
    - `redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT],.../NAME[/DB][?sentinel_password=...]` and
      `rediss+sentinel://...`: all Sentinels, and the name that they know the master by

    Raises ConfigError naming REDIS_URL, never with the URL itself: it may hold a password.
    """
    why = ""
    try:
        parts, netloc = _split(url)
        scheme, _, kind = parts.scheme.partition("+")
        login, _, hosts = netloc.rpartition("@")
        user, _, password = map(unquote, login.partition(":"))
        given: dict[str, Any] = {"username": user, "password": password}
        if parts.scheme == "unix" and parts.path:
            return Endpoint(path=unquote(parts.path), db=_database(_query(parts).get("db", "")), **given)
        given |= {"tls": scheme == "rediss", "cacert": cacert}
        if scheme in ("redis", "rediss") and kind == "sentinel":
            return _by_sentinel(parts, hosts, given)
        if parts.scheme in ("redis", "rediss"):
            host, port = _host_and_port(hosts, 6379)
            return Endpoint(host, port, db=_database(parts.path.strip("/")), **given)
    except _UrlError as error:
        why = f" ({error})"
    except ValueError:
        pass
    raise ConfigError(
        f"REDIS_URL is wrong{why}: write redis://:PASSWORD@HOST:PORT/DB, rediss://... (TLS), unix:///PATH or"
        " redis+sentinel://:PASSWORD@HOST:PORT,HOST:PORT/NAME"
    )


def _split(url: str) -> tuple[SplitResult, str]:
    """The URL without what stands between // and the path, and that: newer Pythons refuse one,[::1] there."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return urlsplit(url), ""
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return urlsplit(f"{scheme}://{rest.removeprefix(netloc)}"), netloc


def _by_sentinel(parts: SplitResult, hosts: str, given: dict[str, Any]) -> Endpoint:
    name, _, db = parts.path.strip("/").partition("/")
    if not name:
        raise _UrlError("the master has no name")
    return Endpoint(
        sentinels=tuple(_host_and_port(each, 26379) for each in hosts.split(",")),
        service=unquote(name),
        sentinel_password=_query(parts).get("sentinel_password", ""),
        db=_database(db),
        **given,
    )


def _query(parts: SplitResult) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(parts.query).items()}


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    """Raises ValueError when there is no host, or the port is not one."""
    match = re.fullmatch(r"(\[[^]]*\]|[^][:]*)(?::(.*))?", text)
    if match is None or ":" in (match[2] or ""):
        raise _UrlError("write an IPv6 address in brackets, as in redis://[::1]:6379")
    host, port = match[1], match[2] or str(default)
    if not host:
        raise _UrlError(f"it has no host; {_ESCAPE}")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _UrlError(f"the port is no number from 1 to 65535; {_ESCAPE}")
    try:
        return host_alone(host), int(port)
    except ValueError:
        raise _UrlError("the host is no name and no address") from None


def _database(text: str) -> int:
    """Raises ValueError."""
    if text and not (text.isascii() and text.isdigit()):
        raise _UrlError("the database is no number")
    return int(text or 0)


class _UrlError(ValueError):
    """What is wrong with a URL, in words that hold nothing of it."""
