"""The system under examination: which engine runs it, and how to ask its parts."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import shutil
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import psutil
import urllib3
from urllib3.exceptions import HTTPError

from rectbot.errors import RectbotError
from rectbot.failover.endpoint import Endpoint
from rectbot.failover.events import Snapshot
from rectbot.failover.resp import Connection, Disconnected, ServerError
from rectbot.failover.wiring import open_observer, redis_endpoint
from rectbot.pool import Pool
from rectbot.settings import BASE_PORTS, Settings, reachable
from rectbot.stack.components import console_port
from rectbot.stack.docker import docker
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor

TIMEOUT_SECONDS = 5.0


class Engine(Enum):
    """What runs here."""

    NATIVE = "native"
    COMPOSE = "compose"
    SITE = "site"  # a bot and its push agent, whose stack is on another host
    NONE = "none"


@dataclass(frozen=True)
class Container:
    """A container of the compose project, as `docker compose ps` tells."""

    id: str
    service: str
    image: str
    published: tuple[tuple[str, int], ...]  # address and port on this host


@dataclass
class Subject:
    """One system, with everything that the checks ask of it."""

    settings: Settings
    layout: Layout
    engine: Engine
    containers: dict[str, Container] = field(default_factory=dict)
    http: Pool = field(default_factory=lambda: Pool(retries=False, timeout=urllib3.Timeout(total=TIMEOUT_SECONDS)))

    @classmethod
    def of(cls, settings: Settings) -> Subject:
        """Finds out what runs here."""
        layout = Layout.of(settings)
        if Supervisor(layout).running():
            return cls(settings, layout, Engine.NATIVE)
        if containers := _containers(layout):
            return cls(settings, layout, Engine.COMPOSE, containers)
        away = settings.site_id is not None or settings.pushgateway_url is not None
        return cls(settings, layout, Engine.SITE if away else Engine.NONE)

    def url(self, name: str) -> str:
        """Where a part answers on this host."""
        return f"http://127.0.0.1:{self.settings.port(name)}"

    @property
    def hub_url(self) -> str:
        """Where the hub answers; its container publishes no port."""
        if self.engine is Engine.COMPOSE:
            return f"http://{self.container_address('hub')}:{BASE_PORTS['hub']}"
        return self.url("hub")

    @property
    def console_port(self) -> int:
        """The console's port on this host; 0: there is none."""
        return BASE_PORTS["console-beside"] if self.engine is Engine.COMPOSE else console_port(self.settings)

    @property
    def console_url(self) -> str:
        """Where the console answers on this host."""
        host = "127.0.0.1" if self.engine is Engine.COMPOSE else reachable(self.settings.console_bind)
        return f"http://{host}:{self.console_port}"

    def get(self, url: str, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """A GET. Raises RectbotError, without the path, when nothing answers: it may hold a secret."""
        try:
            return self.http.request("GET", url, headers=headers, redirect=False)
        except HTTPError as error:
            host = urllib3.util.parse_url(url).netloc
            cause = error.__cause__ or error.__context__
            reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no answer"
            raise RectbotError(f"{host} does not answer ({reason.lower()})") from None

    def get_json(self, name: str, path: str) -> Any:
        """The JSON that a part answers with. Raises RectbotError."""
        response = self.get(self.url(name) + path)
        try:
            return response.json()
        except ValueError:
            raise RectbotError(f"{name} answers {response.status} to {path}, and no JSON") from None

    def listening(self, port: int) -> set[str]:
        """The addresses of this host on which somebody accepts connections to a TCP port."""
        sockets = {
            connection.laddr.ip
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        }
        published = {
            address
            for container in self.containers.values()
            for address, number in container.published
            if number == port
        }
        return sockets | published

    def open_to_others(self, port: int) -> list[str]:
        """The addresses beyond loopback on which a port is open."""
        return sorted(ip for ip in self.listening(port) if not ipaddress.ip_address(ip.partition("%")[0]).is_loopback)

    @property
    def proxy_is_public(self) -> bool:
        """Whether the push proxy listens to other hosts."""
        return bool(self.open_to_others(self.settings.port("push-proxy")))

    @cached_property
    def redis(self) -> Endpoint:
        """Where Redis is, seen from this host."""
        settings = self.settings
        user, password = settings.redis_login
        if self.engine is Engine.SITE:
            endpoint = redis_endpoint(settings)
            if endpoint is None:
                raise RectbotError("the lease is not in Redis")
            return endpoint
        if self.engine is Engine.COMPOSE:
            return Endpoint(self.container_address("redis"), 6379, username=user, password=password)
        return Endpoint("127.0.0.1", settings.port("redis"), username=user, password=password)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The failover's state, as this host sees the store. Raises RectbotError."""
        return asyncio.run(_snapshot(self.settings))

    def ask_redis(self, *words: str, endpoint: Endpoint | None = None) -> Any:
        """The answer to one command. Raises RectbotError, also for an answer that is an error."""
        return asyncio.run(_ask(endpoint or self.redis, words))

    def container_address(self, service: str) -> str:
        """The address of a container on its bridge, which its host reaches. Raises RectbotError."""
        container = self.containers.get(service)
        if container is None:
            raise RectbotError(f"the service {service} does not run")
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        addresses = docker("inspect", "--format", form, container.id).split()
        if not addresses:
            raise RectbotError(f"the container of {service} has no address")
        return addresses[0]

    def inside(self, service: str, *command: str, stdin: str = "") -> str:
        """What a command prints in a container. Raises RectbotError."""
        container = self.containers.get(service)
        if container is None:
            raise RectbotError(f"the service {service} does not run")
        return docker("exec", "-i", container.id, *command, stdin=stdin)


async def _snapshot(settings: Settings) -> Snapshot:
    store = open_observer(settings)
    try:
        return await store.snapshot()
    finally:
        await store.close()


async def _ask(endpoint: Endpoint, words: tuple[str, ...]) -> Any:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            connection = await Connection.open(endpoint)
            try:
                return await connection.call(*words)
            finally:
                connection.abort()
    except TimeoutError:
        raise RectbotError(f"Redis at {endpoint} does not answer within {TIMEOUT_SECONDS:.0f} s") from None
    except (Disconnected, ServerError) as error:
        raise RectbotError(str(error)) from None


def _containers(layout: Layout) -> dict[str, Container]:
    """The project's running containers by service; empty where Docker or the compose file is not there."""
    compose = layout.compose_file
    if not compose.is_file() or shutil.which("docker") is None:
        return {}
    try:
        text = docker("compose", "-f", str(compose), "ps", "--format", "json")
    except RectbotError:
        return {}
    entries: list[dict[str, Any]] = []
    for line in text.splitlines():  # newer versions print one object a line, older ones a list
        value = json.loads(line) if line.strip() else []
        entries += value if isinstance(value, list) else [value]
    return {entry["Service"]: _container(entry) for entry in entries if entry.get("State") == "running"}


def _container(entry: dict[str, Any]) -> Container:
    published = tuple(
        (publisher.get("URL") or "0.0.0.0", publisher["PublishedPort"])  # noqa: S104 - Docker's word for everywhere
        for publisher in entry.get("Publishers") or []
        if publisher.get("PublishedPort")
    )
    return Container(entry["ID"], entry["Service"], entry["Image"], published)
