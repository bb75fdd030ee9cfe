"""Is a component doing its work? Each check asks the component itself, not its supervisor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from rectbot.errors import RectbotError
from rectbot.push import ages
from rectbot.push.trial import trial_of
from rectbot.settings import Settings
from rectbot.stack.components import LOOPBACK, Component, site_settings
from rectbot.stack.layout import Layout
from rectbot.stack.link import split_address

TIMEOUT_SECONDS = 2.0
_READY_PATHS = {
    "grafana": "/api/health",
    "pushgateway": "/-/ready",
    "prometheus": "/-/ready",
    "alertmanager": "/-/ready",
    "hub": "/healthz",
    "console": "/healthz",
    "loki": "/ready",
    "discord": "/healthz",
}


@dataclass(frozen=True)
class Facts:
    """What one look at the stack found, for the checks that need more than the component itself."""

    redis: bool | None  # None: it answers, but does not tell us (a wrong password)
    sites_up: frozenset[str]
    heartbeat_age_s: dict[str, float | None]
    push_age_s: dict[str, float] | None  # None: the Pushgateway does not answer


async def check(
    component: Component, facts: Facts, http: aiohttp.ClientSession, settings: Settings, layout: Layout
) -> bool | None:
    """True when the component does what it is there for, None when that cannot be asked. Never raises."""
    kind = component.name.partition("-")[0]
    if component.site is not None:
        if component.site not in facts.sites_up:
            return False
        return _site_program_works(kind, component.site, facts, settings, layout)
    if kind == "redis":
        return await _redis_answers(component.address) if facts.redis is None else facts.redis
    if kind == "link":
        return await _redis_answers(component.address)
    if kind == "nginx":
        return await _takes_pushes(settings)
    return await http_ok(http, component.address + _READY_PATHS[kind])


def _site_program_works(kind: str, site: str, facts: Facts, settings: Settings, layout: Layout) -> bool | None:
    """A bot works while its heartbeat is fresher than its lease is long; the push agent while its pushes are fresh."""
    if kind == "push":
        if facts.push_age_s is None:
            return None
        jobs = set(settings.jobs.get(site, ())) if settings.pushgateway_url is None else facts.push_age_s.keys()
        found = [facts.push_age_s.get(job) for job in jobs]
        return any(age is not None and age <= ages.STALE_SECONDS for age in found)
    if not facts.redis:
        return None
    limit = site_settings(settings, layout, site).lock_ttl_ms / 1000
    age = facts.heartbeat_age_s.get(site)
    return age is not None and age <= limit


async def http_ok(http: aiohttp.ClientSession, url: str) -> bool:
    """True when a GET is answered with 200."""
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def http_json(http: aiohttp.ClientSession, url: str) -> Any:
    """The JSON that a GET brings, or None."""
    try:
        async with http.get(url) as answer:
            return await answer.json() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


async def push_times(http: aiohttp.ClientSession, pushgateway: str) -> dict[str, float] | None:
    """Unix time of the last push of each job, as the Pushgateway tells it; None when it does not."""
    try:
        async with http.get(f"{pushgateway}/metrics") as answer:
            text = await answer.text()
            if answer.status != HTTPStatus.OK:
                return None
        return ages.push_times(text)
    except (aiohttp.ClientError, TimeoutError, OSError, RectbotError):
        return None


async def _redis_answers(address: str) -> bool:
    """True when something speaks Redis there; without the password it says NOAUTH, and that is answer enough."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(*split_address(address))
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline())[:1] in (b"-", b"+")
            finally:
                writer.transport.abort()
    except (TimeoutError, OSError):
        return False


async def _takes_pushes(settings: Settings) -> bool:
    """True when the proxy lets a push with our password through; whether the Pushgateway takes it is its own affair."""
    trial = trial_of(settings)
    status = None if trial is None else await trial.push(LOOPBACK, settings.port("push-proxy"))
    return status == HTTPStatus.OK or (status is not None and status >= HTTPStatus.BAD_GATEWAY)
