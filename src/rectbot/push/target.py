"""Where a push goes, and how it proves who it is."""

from __future__ import annotations

import base64
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from urllib3 import disable_warnings
from urllib3.exceptions import InsecureRequestWarning, LocationParseError
from urllib3.util import Url, parse_url

from rectbot.errors import ConfigError
from rectbot.hosts import is_loopback
from rectbot.push.resident import make_tls
from rectbot.settings import Settings

PATH = re.compile(r"(?P<base>.*)/metrics/job(?P<coded>@base64)?/(?P<job>[^/]+)(?P<labels>(/.*)?)")
JOB = re.compile(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True)
class Target:
    """A checked address with the means to reach it."""

    url: Url
    job: str
    user: str
    headers: dict[str, str] = field(repr=False)
    tls: ssl.SSLContext | None
    warnings: tuple[str, ...]


def target_of(settings: Settings, job: str | None = None) -> Target:
    """The target that the settings name; `job` replaces the job in its address.

    Raises ConfigError when the address or the certificate file is unusable.
    """
    url, job = _address(settings.push_url, job)
    user, password = settings.push_login
    warnings = []
    if settings.pushgateway_insecure and url.scheme == "https":
        disable_warnings(InsecureRequestWarning)  # urllib3's own words; these are for our user:
        warnings.append("PUSHGATEWAY_INSECURE=true: anybody in between can read the password; use PUSHGATEWAY_CACERT")
    if url.scheme == "http" and password and not is_loopback(url.host or ""):
        warnings.append("PUSHGATEWAY_URL is http://: anybody in between can read the password; write https://")
    return Target(
        url=url,
        job=job,
        user=user,
        headers=_basic_auth(user, password) if password else {},
        tls=make_tls(**tls_of(settings)) if url.scheme == "https" else None,
        warnings=tuple(warnings),
    )


def _basic_auth(user: str, password: str) -> dict[str, str]:
    """In UTF-8 (RFC 7617, section 2.1), as the hash in htpasswd was made."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _address(text: str, job: str | None) -> tuple[Url, str]:
    example = "write https://HOST[:PORT]/metrics/job/JOB, like https://prom.example.org:9443/metrics/job/xserver-bot"
    try:
        url = parse_url(text)
    except LocationParseError:
        raise ConfigError(f"PUSHGATEWAY_URL is not a URL; {example}") from None
    if url.auth:
        raise ConfigError("PUSHGATEWAY_URL holds a password; put it in PUSHGATEWAY_USER and PUSHGATEWAY_PASSWORD")
    path = PATH.fullmatch(url.path or "")
    if url.scheme not in {"http", "https"} or not url.host or path is None:
        raise ConfigError(f"PUSHGATEWAY_URL={text!r} is wrong; {example}")
    if job is None:
        return url, _decoded(path["job"]) if path["coded"] else unquote(path["job"])
    if not JOB.fullmatch(job):
        raise ConfigError(f"the job {job!r} may hold letters, digits and . _ : - only")
    return url._replace(path=f"{path['base']}/metrics/job/{job}{path['labels']}"), job


def _decoded(text: str) -> str:
    """The job of a path like /metrics/job@base64/c2hvcC9ib3Q: https://github.com/prometheus/pushgateway#url."""
    job, digits = "", unquote(text).rstrip("=")
    if re.fullmatch(r"[A-Za-z0-9_-]+", digits):
        with suppress(ValueError):
            job = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4)).decode("ascii")
    if not job.isprintable() or not job:
        raise ConfigError(
            f"PUSHGATEWAY_URL: after /metrics/job@base64/ stands no job in base64 for URLs: {text[:60]!r}"
        )
    return job


def tls_of(settings: Settings) -> dict[str, Any]:
    """What `make_tls` is given for these settings."""
    cafile = settings.pushgateway_cacert or _certificate_of_this_machine(settings)
    return {"cafile": str(cafile) if cafile else None, "insecure": settings.pushgateway_insecure}


def _certificate_of_this_machine(settings: Settings) -> Path | None:
    """The push proxy's own certificate, for the proxy on this machine only; else the system's authorities count."""
    certificate = settings.rectbot_home / "docker/monitoring/tls/tls.crt"
    default_url = settings.model_copy(update={"pushgateway_url": None}).push_url
    return certificate if settings.push_url == default_url and certificate.exists() else None
