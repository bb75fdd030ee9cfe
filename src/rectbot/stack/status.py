"""One look at the running stack: who leads, sites, pushes, alerts, components."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.console import orders, site_state
from rectbot.failover.events import Event, Snapshot
from rectbot.failover.store import StoreUnavailable
from rectbot.failover.wiring import open_observer
from rectbot.settings import Settings
from rectbot.stack import redis_users
from rectbot.stack.components import Component, components
from rectbot.stack.health import TIMEOUT_SECONDS, Facts, check, http_json, push_times
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor, site_program

ENGINE = "native"
EVENTS_SHOWN = 6


@dataclass(frozen=True)
class Status:
    """The facts, as `rectbot status --json` prints them, and the last events for people."""

    leader: dict[str, Any] | None
    sites: dict[str, dict[str, Any]]
    push: dict[str, dict[str, float]]
    alerts: list[dict[str, str]]
    components: dict[str, dict[str, Any]]
    orders: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """True when every component does its work."""
        return all(part["healthy"] for part in self.components.values())

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON."""
        return {
            "leader": self.leader,
            "sites": self.sites,
            "push": self.push,
            "alerts": self.alerts,
            "components": self.components,
            "orders": self.orders,
        }


def own_redis(settings: Settings) -> Settings:
    """The settings with the stack's own Redis, wherever the bots of `.env` look for theirs."""
    here = {"redis_url": None, "redis_host": "127.0.0.1", "redis_tls": False, "redis_db": 0}
    return settings.model_copy(update=here | {"redis_user": settings.redis_user or redis_users.HUB})


class Observer:
    """Looks at a stack again and again over connections that it keeps. Use it as an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.layout = Layout.of(settings)
        self.parts = components(settings, self.layout)
        self._supervisor = Supervisor(self.layout)

    async def __aenter__(self) -> Observer:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        self._store = open_observer(own_redis(self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._store.close()

    async def look(self) -> Status:
        """Asks everything at once; what does not answer in time is missing or unhealthy."""
        (snapshot, trouble), events, pushed, alerts, states = await asyncio.gather(
            self._snapshot(),
            self._events(),
            push_times(self._http, self._url("pushgateway")),
            self._alerts(),
            asyncio.to_thread(self._supervisor.states),
        )
        now = time.time()
        push = {job: {"age_s": round(max(0.0, now - then), 3)} for job, then in sorted(pushed.items())}
        sites = _sites(snapshot, self.settings.failover_priority, trouble)
        facts = Facts(
            redis=snapshot is not None,
            sites_up=frozenset(site for site in sites if states.get(site_program(site)) in ("RUNNING", "STARTING")),
            heartbeat_age_s={name: site["heartbeat_age_s"] for name, site in sites.items()},
            push_age_s={job: entry["age_s"] for job, entry in push.items()},
        )
        health = await asyncio.gather(*(self.healthy(part, facts) for part in self.parts))
        parts = {
            part.name: {"engine": ENGINE, "healthy": ok, "address": part.address}
            for part, ok in zip(self.parts, health, strict=True)
        }
        ordered = list(orders(snapshot, self.settings.failover_priority)) if snapshot is not None else []
        return Status(_leader(snapshot), sites, push, alerts, parts, ordered, events)

    async def healthy(self, part: Component, facts: Facts) -> bool:
        """Checks one component."""
        return await check(part, facts, self._http, self.settings, self.layout)

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.settings.port(name)}"

    async def _snapshot(self) -> tuple[Snapshot | None, str]:
        """What Redis knows, or why it does not say."""
        try:
            return await self._store.snapshot(), ""
        except ConfigError as error:
            return None, str(error)
        except (StoreUnavailable, RectbotError):
            return None, "Redis does not answer"

    async def _events(self) -> list[Event]:
        try:
            return await self._store.events(EVENTS_SHOWN)
        except (StoreUnavailable, RectbotError):
            return []

    async def _alerts(self) -> list[dict[str, str]]:
        answer = await http_json(self._http, f"{self._url('prometheus')}/api/v1/alerts")
        if not isinstance(answer, dict):
            return []
        return [
            {
                "name": str(alert["labels"]["alertname"]),
                "state": alert["state"],
                "severity": alert["labels"].get("severity", ""),
            }
            for alert in answer["data"]["alerts"]
        ]


def _leader(snapshot: Snapshot | None) -> dict[str, Any] | None:
    if snapshot is None or snapshot.leader is None:
        return None
    leader = snapshot.leader
    return {
        "site": leader.site,
        "owner": leader.owner,
        "epoch": leader.epoch,
        "since": leader.since,
        "lease_remaining_ms": leader.lease_remaining_ms,
    }


def _sites(snapshot: Snapshot | None, priority: tuple[str, ...], trouble: str) -> dict[str, dict[str, Any]]:
    known = snapshot.sites if snapshot is not None else {}
    result = {}
    for rank, name in enumerate(priority):
        site = known.get(name)
        result[name] = {
            "heartbeat_age_s": site.heartbeat_age_s if site else None,
            "eligible": bool(site and site.eligible),
            "priority": rank,
            "state": site_state(snapshot, name) if snapshot is not None else f"unknown: {trouble}",
        }
    return result


async def look_once(settings: Settings) -> Status:
    """A single look."""
    async with Observer(settings) as observer:
        return await observer.look()
