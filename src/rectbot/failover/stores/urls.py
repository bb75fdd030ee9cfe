"""Where a store is, as LEASE_URL says it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from rectbot.errors import ConfigError

BUCKETS, ETCD = ("s3", "gs", "az"), ("etcd", "etcds")
REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_ETCD_PORT = 2379
HOW = (
    "LEASE_URL is wrong: write s3://BUCKET/PREFIX?endpoint=https://HOST (without endpoint: Amazon), gs://BUCKET/PREFIX,"
    " az://CONTAINER/PREFIX, etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX (etcds:// for TLS) or redis://:PASSWORD@HOST:PORT/DB"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in a bucket."""

    url: str  # without query
    endpoint: str = ""  # of a server that speaks S3; empty: the provider's own
    options: dict[str, str] = field(default_factory=dict, repr=False)  # credentials, by the names that obstore has

    def __str__(self) -> str:
        return f"{self.url} at {self.endpoint}" if self.endpoint else self.url


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where etcd is, and how to log in."""

    members: tuple[tuple[str, int], ...]
    prefix: str = ""  # of all keys
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    cacert: Path | None = None

    def __str__(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.members)


def parse_bucket(url: str, options: dict[str, str]) -> Place:
    """Reads `s3://BUCKET/PREFIX[?endpoint=URL]`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`. Raises ConfigError."""
    parts, query = _split(url, {"endpoint"})
    endpoint = query.get("endpoint", "")
    if "endpoint" in query and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", endpoint):
        raise ConfigError(HOW)
    if parts.scheme not in BUCKETS or not re.fullmatch(r"[A-Za-z0-9._-]+", parts.netloc):
        raise ConfigError(HOW)
    return Place(f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}".rstrip("/"), endpoint.rstrip("/"), options)


def parse_etcd(url: str) -> Cluster:
    """Reads `etcd[s]://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],.../PREFIX[?cacert=FILE]`. Raises ConfigError."""
    scheme, _, rest = url.partition("://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]  # newer Pythons refuse one,[::1] there
    parts, query = _split(f"{scheme}://{rest.removeprefix(netloc)}", {"cacert"})
    login, _, hosts = netloc.rpartition("@")
    user, _, password = map(unquote, login.partition(":"))
    if scheme not in ETCD or bool(user) != bool(password):
        raise ConfigError(HOW)
    return Cluster(
        members=tuple(_member(each) for each in hosts.split(",")),
        prefix=unquote(parts.path.strip("/")),
        username=user,
        password=password,
        tls=scheme == "etcds",
        cacert=Path(query["cacert"]) if "cacert" in query else None,
    )


def _split(url: str, known: set[str]) -> tuple[SplitResult, dict[str, str]]:
    try:
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query, True, bool(parts.query)).items()}
    except ValueError:
        raise ConfigError(HOW) from None
    if query.keys() - known or parts.fragment:
        raise ConfigError(HOW)
    return parts, query


def _member(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and not parts.path:
            return parts.hostname, _ETCD_PORT if parts.port is None else parts.port
    except ValueError:
        pass
    raise ConfigError(HOW)
