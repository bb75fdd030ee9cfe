"""Where Loki is, and how one proves who one is."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rectbot.errors import ConfigError
from rectbot.settings import Settings

PUSH_PATH = "/loki/api/v1/push"
_EXAMPLE = "write https://HOST[:PORT], like https://prom.example.org:9443"


@dataclass(frozen=True)
class Target:
    """A server's checked address, without a slash at its end, with the means to reach it."""

    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = None


def make_target(url: str, user: str | None = None, password: str | None = None, cacert: Path | None = None) -> Target:
    """The server at `url`, which may end in the path of pushes, as other shippers want it.

    Without `cacert` (a file in PEM format) the system's authorities are trusted. Raises ConfigError when the address
    or the certificate is unusable.
    """
    _check(url)
    credentials = base64.b64encode(f"{user or ''}:{password}".encode()).decode() if password else ""
    return Target(
        url=url.rstrip("/").removesuffix(PUSH_PATH).rstrip("/"),
        headers={"Authorization": f"Basic {credentials}"} if credentials else {},  # UTF-8: RFC 7617, section 2.1
        tls=_trust(cacert) if url.startswith("https:") else None,
    )


def target_of(settings: Settings, url: str | None = None) -> Target | None:
    """The server that LOKI_URL names, or `url`; None when neither is given.

    Where that is the push proxy to which metrics go, its user, password and certificate are taken for what LOKI_USER,
    LOKI_PASSWORD and LOKI_CACERT leave open. They are sent to no other address. Raises ConfigError.
    """
    url = url or settings.loki_url
    if url is None:
        return None
    _check(url)
    own = settings.loki_url is not None and _place(url) == _place(settings.loki_url)
    password = settings.loki_password.get_secret_value() if own and settings.loki_password else None
    user = settings.loki_user if own else None
    cacert = settings.loki_cacert
    if _place(url) == _place(settings.push_url):
        push_user, push_password = settings.push_login
        password = password or push_password
        user = user or push_user
        cacert = cacert or settings.pushgateway_cacert or _certificate_of_this_machine(settings)
    return make_target(url, user, password, cacert)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is no number, or a bracket is missing
        parts, usable = urlsplit(""), False
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ConfigError("the address of Loki holds a password; put it in LOKI_USER and LOKI_PASSWORD")
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is not the address of Loki (LOKI_URL); {_EXAMPLE}")


def _place(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _certificate_of_this_machine(settings: Settings) -> Path | None:
    """The push proxy's own certificate, which it shows to clients on this machine."""
    certificate = settings.rectbot_home / "docker/monitoring/tls/tls.crt"
    local = urlsplit(settings.push_url).hostname in {"localhost", "127.0.0.1"}
    return certificate if local and certificate.exists() else None


def _trust(cacert: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cacert)
    except ssl.SSLError:
        raise ConfigError(f"LOKI_CACERT={cacert}: is not a certificate in PEM format") from None
    except OSError as error:
        raise ConfigError(f"LOKI_CACERT={cacert}: cannot be read ({error.strerror}); correct the path") from None
