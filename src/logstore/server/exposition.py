"""The server's own metrics, for Prometheus."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from logstore.server.handlers import Handler, Handlers


class _Collector(Collector):
    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def collect(self) -> Iterator[Metric]:
        handlers, store = self.handlers, self.handlers.store
        counters = {
            "received_lines": ("Lines taken", handlers.ingest.lines),
            "received_bytes": ("Characters of lines taken", handlers.ingest.bytes),
            "rejected_lines": ("Lines not taken, because of a limit", handlers.ingest.rejected),
            "refused_pushes": ("Pushes answered with 429", handlers.refused),
            "queries": ("Queries run", handlers.queries),
            "killed_workers": ("Times that the process for queries had to be killed", handlers.workers.killed),
            "closed_connections": ("Connections closed because too much was open", handlers.connections.closed),
            "damaged_chunks": ("Chunks that could not be read", store.damaged_chunks + len(store.database.damage)),
        }
        gauges = {
            "streams": ("Streams", len(store.index)),
            "chunks": ("Chunks", store.index.chunks),
            "lines": ("Lines stored", store.index.lines),
            "stored_bytes": ("Compressed size of all chunks", store.index.stored),
            "running_queries": ("Queries that run or wait for their turn", handlers.waiting),
            "worker_resident_bytes": ("Resident memory of the process that answers queries", _resident(handlers)),
            "connections": ("Connections that are open", len(handlers.connections)),
            "answer_bytes": ("Size of answers that clients have not read yet", handlers.answered.held),
            "pending_push_bytes": ("Size of pushes being worked on", handlers.pushed.held),
        }
        for name, (text, count) in counters.items():
            yield CounterMetricFamily(f"rectbot_logs_{name}", text, value=count)
        # By Loki's name, which the alert rules watch.
        discarded = CounterMetricFamily("loki_discarded_samples", "Lines or pushes not taken", labels=["reason"])
        discarded.add_metric(["rate_limited"], handlers.refused)
        discarded.add_metric(["validation"], handlers.ingest.rejected)
        yield discarded
        for name, (text, count) in gauges.items():
            yield GaugeMetricFamily(f"rectbot_logs_{name}", text, value=count)


def _resident(handlers: Handlers) -> int:
    try:
        return int(Path(f"/proc/{handlers.workers.pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def metrics(handlers: Handlers) -> Handler:
    """Answers GET /metrics."""

    async def handler(_: web.Request) -> web.Response:
        registry = CollectorRegistry()
        registry.register(_Collector(handlers))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return handler
