"""Everything that the console's pages share: its way to Redis, and to the servers that it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rectbot.console.alerts import Alerts
from rectbot.console.live import Live
from rectbot.console.messages import Messages
from rectbot.console.panels.ask import Asker
from rectbot.console.panels.draw import Artist
from rectbot.console.past import Past
from rectbot.console.reach import Part, Reach
from rectbot.console.shelf import Shelf
from rectbot.console.tails import Tails
from rectbot.console.upstream import SILENT_SECONDS, TIMEOUT_SECONDS, Shared, Upstream, open_http
from rectbot.failover.config import FailoverConfig
from rectbot.failover.store import LeaseStore
from rectbot.failover.wiring import failover_config, open_store_from_settings
from rectbot.logs.client.target import Target
from rectbot.settings import Settings


@dataclass(frozen=True)
class Desk:
    """One for the process."""

    settings: Settings
    config: FailoverConfig
    store: LeaseStore  # a connection of its own: the exporter's must not wait for ours
    asker: Asker
    artist: Artist
    alerts: Alerts
    tails: Tails
    messages: Messages
    past: Past
    live: Live
    reach: Reach
    dashboards: Shelf

    @property
    def store_name(self) -> str:
        """What the lease's store is called, as "Redis"."""
        return self.store.register.where.partition(" at ")[0]

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Desk]:
        """With all connections; they are made when something is asked."""
        config = failover_config(settings, observer=True)
        store = open_store_from_settings(settings, config)
        reach, shared = Reach(), Shared()
        http, looking = open_http(), open_http()

        def upstream(name: Part, url: str | None, *, now: bool = False) -> Upstream:
            """`now`: for the state, which does not wait for what panels ask, nor long for an answer."""
            url = url or f"http://127.0.0.1:{settings.port(name)}"
            patience = SILENT_SECONDS if now else TIMEOUT_SECONDS
            return Upstream(name, url, looking if now else http, Shared() if now else shared, reach, patience=patience)

        prometheus = upstream("prometheus", settings.console_prometheus_url)
        loki = upstream("loki", settings.console_loki_url)
        manager = upstream("alertmanager", settings.console_alertmanager_url, now=True)
        alerts, messages = Alerts(manager), Messages(manager, prometheus)
        watched = upstream("prometheus", settings.console_prometheus_url, now=True)
        live = Live(store, watched, alerts, loki=loki, reach=reach)
        tails = Tails(Target(loki.url))
        asker, past = Asker(prometheus, loki), Past(settings)
        shelf = Shelf(settings.rectbot_home / "docker" / "monitoring" / "grafana" / "dashboards")
        try:
            yield cls(settings, config, store, asker, Artist(asker), alerts, tails, messages, past, live, reach, shelf)
        finally:
            await live.close()
            await past.close()
            await tails.close()
            await store.close()
            await http.close()
            await looking.close()
