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
from rectbot.stack.components import Component, components, keeps_the_lease
from rectbot.stack.health import TIMEOUT_SECONDS, Facts, check, http_json, push_times
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import Supervisor, site_program

ENGINE = "native"
EVENTS_SHOWN = 6


@dataclass(frozen=True)
class Status:
    """The facts, as `rectbot status --json` prints them, and the last events for people."""

    leader: dict[str, Any] | None  # None also while nobody knows: see `unknown`
    sites: dict[str, dict[str, Any]]
    push: dict[str, dict[str, float]] | None  # None: the Pushgateway does not say
    alerts: list[dict[str, str]] | None  # None: Prometheus does not say
    components: dict[str, dict[str, Any]]  # `healthy` is None where it cannot be asked
    orders: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    unknown: str = ""  # why the lease's store does not say who leads

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
            "unknown": self.unknown,
        }


@dataclass(frozen=True)
class _Trouble:
    """Why the store does not say who leads; `refused`: it answers, and a setting is to be corrected."""

    why: str = ""
    refused: bool = False


def lease_of_stack(settings: Settings) -> Settings:
    """The settings with the store of the stack's bots: its own Redis, unless a URL names another."""
    if not keeps_the_lease(settings):
        return settings
    here = {"lease_url": None, "redis_url": None, "redis_host": "127.0.0.1", "redis_tls": False, "redis_db": 0}
    return settings.model_copy(update=here | {"redis_user": settings.redis_user or redis_users.HUB})


class Observer:
    """Looks at a stack again and again over connections that it keeps. Use it as an async context manager.

    With `away`, it looks from a site's host at the store that the site uses: no part of the stack is on that host.
    """

    def __init__(self, settings: Settings, *, away: bool = False) -> None:
        self.settings = settings
        self.layout = Layout.of(settings)
        self.parts = [] if away else components(settings, self.layout)
        self._away = away
        self._own = keeps_the_lease(settings)
        self._supervisor = Supervisor(self.layout)

    async def __aenter__(self) -> Observer:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        self._store = open_observer(self.settings if self._away else lease_of_stack(self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._store.close()

    async def look(self) -> Status:
        """Asks everything at once; what does not answer in time is missing or unhealthy."""
        (snapshot, trouble), events, pushed, alerts, states = await asyncio.gather(
            self._snapshot(),
            self._events(),
            self._pushes(),
            self._alerts(),
            asyncio.to_thread(self._supervisor.states),
        )
        sites = _sites(snapshot, self.settings.failover_priority, trouble)
        facts = Facts(
            redis=snapshot is not None or (None if trouble.refused else False),
            sites_up=frozenset(site for site in sites if states.get(site_program(site)) in ("RUNNING", "STARTING")),
            heartbeat_age_s={name: site["heartbeat_age_s"] for name, site in sites.items()},
            push_age_s=None if pushed is None else {job: entry["age_s"] for job, entry in pushed.items()},
        )
        health = await asyncio.gather(*(self.healthy(part, facts) for part in self.parts))
        parts = {
            part.name: {"engine": ENGINE, "healthy": ok, "address": part.address}
            for part, ok in zip(self.parts, health, strict=True)
        }
        ordered = list(orders(snapshot, self.settings.failover_priority)) if snapshot is not None else []
        return Status(_leader(snapshot), sites, pushed, alerts, parts, ordered, events, trouble.why)

    async def healthy(self, part: Component, facts: Facts) -> bool | None:
        """Checks one component."""
        return await check(part, facts, self._http, self.settings, self.layout)

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.settings.port(name)}"

    async def _snapshot(self) -> tuple[Snapshot | None, _Trouble]:
        """What the store knows, or why it does not say."""
        try:
            return await self._store.snapshot(), _Trouble()
        except ConfigError as error:
            return None, _Trouble(str(error), refused=True)
        except (StoreUnavailable, RectbotError) as error:
            return None, _Trouble(str(error) if self._away or not self._own else "Redis does not answer")

    async def _pushes(self) -> dict[str, dict[str, float]] | None:
        times = None if self._away else await push_times(self._http, self._url("pushgateway"))
        if times is None:
            return None
        now = time.time()
        return {job: {"age_s": round(max(0.0, now - then), 3)} for job, then in sorted(times.items())}

    async def _events(self) -> list[Event]:
        try:
            return await self._store.events(EVENTS_SHOWN)
        except (StoreUnavailable, RectbotError):
            return []

    async def _alerts(self) -> list[dict[str, str]] | None:
        answer = None if self._away else await http_json(self._http, f"{self._url('prometheus')}/api/v1/alerts")
        if not isinstance(answer, dict):
            return None
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


def _sites(snapshot: Snapshot | None, priority: tuple[str, ...], trouble: _Trouble) -> dict[str, dict[str, Any]]:
    known = snapshot.sites if snapshot is not None else {}
    result = {}
    for rank, name in enumerate(priority):
        site = known.get(name)
        result[name] = {
            "heartbeat_age_s": site.heartbeat_age_s if site else None,
            "eligible": bool(site and site.eligible),
            "priority": rank,
            "state": site_state(snapshot, name) if snapshot is not None else f"unknown: {trouble.why}",
        }
    return result


async def look_once(settings: Settings, *, away: bool = False) -> Status:
    """A single look."""
    async with Observer(settings, away=away) as observer:
        return await observer.look()
