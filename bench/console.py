"""What the console costs, and how soon it is there: the budgets of docs/console.md, on one stack, in one run.

    PYTHONPATH=tests .venv/bin/python bench/console.py [--consoles 30] [--seconds 25] [--lines 350000] [--check]

A stack is started as `make up` does, with a lease of 1.5 s, so that a renewal is due twice a second. First a browser
looks at each page, in a profile of its own and once more; then the log is filled, and what is slow with much of it is
asked for. At last there are many consoles at once: clients that load a page and keep its WebSocket open, as a browser
does, without drawing, since a browser's own work would stand in the way of what is measured. A third of them are on
the live page, the others on the dashboards, which they refresh every 10 s, and on the log search, which follows the
log. With --check the exit code is 1 when a budget is missed.

Nothing else should run: with other work on the machine run it under `nice -n -15`. Do not give it a real-time priority:
servers in Go, which the stack then has in it, spin under one.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import socketio
from playwright.sync_api import Browser

from console_browser import LINES, Tailed, fill, idle, see, tail
from consoles import DASHBOARDS, PATHS, browser
from e2e.stack import Stack
from logs import lines as log_lines

LEASE_MS = 1_500
SCRAPE_EVERY_S = 0.1
LIMIT_BYTES = 125 * 10**6
VISITS = 3
DAY = "?from=now-24h&to=now"
PAGES = ("/", *(f"/d/rectbot-{name}?refresh=10s" for name in ("overview", "hosts", "failover", "logs")), "/logs")
_QUERY = re.compile(r"^\s+query: (\{.*\}),$", re.MULTILINE)
_RENEWAL = "rectbot_failover_renewal_duration_seconds"
_BUCKET = re.compile(_RENEWAL + r'_bucket\{le="([^"]+)",site="xserver"\} (\S+)')
_SUM = re.compile(_RENEWAL + r'_sum\{site="xserver"\} (\S+)')
_ASKED = re.compile(r'prometheus_http_requests_total\{code="200",handler="/api/v1/query(?:_range)?"\} (\S+)')


@dataclass(frozen=True)
class Found:
    """Of one window: seconds, but where the name says otherwise."""

    renewals: int
    renewal_mean: float
    renewal_p95: float
    scrape_p50: float
    scrape_p95: float
    hub_cpu_share: float
    hub_pss: int
    questions_a_second: float


class Console:
    """One open page."""

    def __init__(self, url: str, path: str) -> None:
        self._url, self._path = url, path
        self._socket = socketio.AsyncClient(reconnection=False)
        self.messages = 0

    async def open(self, http: aiohttp.ClientSession) -> None:
        async with http.get(self._url + self._path) as answer:
            text = await answer.text()
        found = _QUERY.search(text)
        assert found is not None, text[:300]
        query = ast.literal_eval(found[1])
        tab = f"tab-{id(self)}"
        fields = query | {"document_id": tab, "tab_id": tab, "implicit_handshake": "true"}
        words = "&".join(f"{name}={value}" for name, value in fields.items())
        self._socket.on("*", self._count)
        await self._socket.connect(
            f"{self._url}?{words}",
            socketio_path="/_nicegui_ws/socket.io",
            transports=["websocket"],
            headers={"Origin": self._url},
        )

    def _count(self, *_: object) -> None:
        self.messages += 1

    async def close(self) -> None:
        await self._socket.disconnect()


async def measure(stack: Stack, hub: psutil.Process, seconds: float) -> Found:
    """Scrapes the hub ten times a second, and reads at both ends what the leader has measured of its renewals."""
    took: list[float] = []
    async with aiohttp.ClientSession() as http:

        async def read(name: str) -> str:
            async with http.get(stack.url(name) + "/metrics") as answer:
                return await answer.text()

        before, asked, cpu = await read("hub"), _asked(await read("prometheus")), _cpu(hub)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            await read("hub")
            took.append(time.monotonic() - began)
            await asyncio.sleep(SCRAPE_EVERY_S)
        after, asked = await read("hub"), _asked(await read("prometheus")) - asked
    counts = _renewals(before, after)
    total = float(_SUM.findall(after)[0]) - float(_SUM.findall(before)[0])
    return Found(
        renewals=round(counts[-1][1]),
        renewal_mean=total / counts[-1][1],
        renewal_p95=next(bound for bound, count in counts if count >= 0.95 * counts[-1][1]),
        scrape_p50=statistics.median(took),
        scrape_p95=statistics.quantiles(took, n=20)[-1],
        hub_cpu_share=(_cpu(hub) - cpu) / seconds,
        hub_pss=sum(each.memory_full_info().pss for each in _all(hub)),
        questions_a_second=asked / seconds,
    )


def _all(hub: psutil.Process) -> list[psutil.Process]:
    """The hub and the console beside it."""
    return [hub, *hub.children()]


def _cpu(hub: psutil.Process) -> float:
    return sum(sum(each.cpu_times()[:2]) for each in _all(hub))


def _renewals(before: str, after: str) -> list[tuple[float, float]]:
    """Upper bounds, and how many renewals of the window were not above."""
    earlier = dict(_BUCKET.findall(before))
    return [(float(le), float(count) - float(earlier.get(le, 0))) for le, count in _BUCKET.findall(after)]


def _asked(text: str) -> float:
    return sum(map(float, _ASKED.findall(text)))


@contextmanager
def running() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack.prepare(Path(folder))
        try:
            stack.run("init")
            stack.run("up", "--detach", LOCK_TTL_MS=str(LEASE_MS))
            yield stack
        finally:
            stack.run("down", check=False)
            stack.destroy()


def hub_of(stack: Stack) -> psutil.Process:
    processes = (psutil.Process(pid) for pid in stack.leftovers())
    return next(process for process in processes if process.cmdline()[-2:] == ["hub", "serve"])


async def run(stack: Stack, number: int, seconds: float) -> tuple[Found, Found, int]:
    hub = hub_of(stack)
    without = await measure(stack, hub, seconds)
    consoles = [Console(stack.url("console"), PAGES[index % len(PAGES)]) for index in range(number)]
    for index in range(0, number, 3):
        consoles[index] = Console(stack.url("console"), "/")
    async with aiohttp.ClientSession() as http:
        for console in consoles:
            await console.open(http)
    beside = await measure(stack, hub, seconds)
    messages = min(console.messages for console in consoles)
    for console in consoles:
        await console.close()
    return without, beside, messages


def report(without: Found, beside: Found, number: int) -> bool:
    """Prints both, and whether the second is as good."""
    print(f"{'':<34}{'without':>10}{f'{number} open':>10}{'ratio':>8}")
    for name, unit, factor in (
        ("renewal_mean", "ms", 1e3),
        ("renewal_p95", "ms, at most", 1e3),
        ("scrape_p50", "ms", 1e3),
        ("scrape_p95", "ms", 1e3),
        ("hub_cpu_share", "% of a core", 100),
        ("questions_a_second", "to Prometheus", 1),
        ("hub_pss", "MB", 1e-6),
    ):
        first, second = getattr(without, name) * factor, getattr(beside, name) * factor
        ratio = f"{second / first:.2f}" if first else "-"
        print(f"{name.replace('_', ' ') + ', ' + unit:<34}{first:>10.2f}{second:>10.2f}{ratio:>8}")
    print(f"renewals in each window: {without.renewals}, {beside.renewals}")
    slower = [
        name
        for name in ("renewal_mean", "scrape_p50")
        if getattr(beside, name) > max(1.5 * getattr(without, name), getattr(without, name) + 0.001)
    ]
    print(f"disturbed: {', '.join(slower) or 'nothing'}")
    return not slower and beside.hub_pss < LIMIT_BYTES


Row = tuple[str, float, float, str]  # what, how much, of how much at most, the unit


def _pages(chromium: Browser, stack: Stack) -> Iterator[Row]:
    """Each page at its default range, with the log as small as it is just after the start."""
    for path in PATHS:
        seen = see(chromium, stack.url("console") + path, VISITS)
        yield f"{path}: first paint", seen.paint, 0.5, "s"
        yield f"{path}: data", seen.data, 1, "s"
        yield f"{path}: cold", seen.cold / 1e3, 1000, "kB"
        yield f"{path}: warm", seen.warm / 1e3, 40, "kB"


def _looking_on(chromium: Browser, stack: Stack, hub: psutil.Process, seconds: float) -> Iterator[Row]:
    browsers, server = idle(chromium, stack.url("console"), lambda: _cpu(hub), seconds)
    yield "an idle page, browser", browsers * 100, 1, "% of a core"
    yield "an idle page, server", server * 100, 1, "% of a core"
    found: Tailed = tail(chromium, stack, seconds)
    yield "100,000 lines a minute, browser", found.busy * 100, 40, "% of a core"
    yield "100,000 lines a minute, lag (95 %)", found.lag, 1, "s"
    print(f"of {found.sent} lines the page says that it left out {found.left_out}")


def _much(chromium: Browser, stack: Stack, count: int) -> Iterator[Row]:
    """What a day of the log costs to look at."""
    fill(stack.url("loki"), log_lines(count), count)
    for uid in DASHBOARDS:
        seen = see(chromium, f"{stack.url('console')}/d/{uid}{DAY}", VISITS)
        yield f"{uid}, 24 h, {count:,} lines", seen.data, 3, "s"
    for text in ("", "&text=needle", "&text=guild", "&text=latency&level=error"):
        seen = see(chromium, f"{stack.url('console')}/logs{DAY}{text}", VISITS, LINES)
        yield f"first lines of a search{text}", seen.data, 1, "s"


def told(rows: Iterator[Row]) -> bool:
    """Prints each as it comes; whether all are within their budgets."""
    good = True
    for what, much, most, unit in rows:
        good = good and much < most
        print(f"{what:<48}{much:>10.2f} of {most:g} {unit}{'' if much < most else '  MISSED'}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--consoles", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--lines", type=int, default=350_000)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with running() as stack:
        hub = hub_of(stack)
        with browser() as chromium:
            good = told(_pages(chromium, stack))
            good = told(_looking_on(chromium, stack, hub, arguments.seconds)) and good
        without, beside, messages = asyncio.run(run(stack, arguments.consoles, arguments.seconds))
        with browser() as chromium:
            good = told(_much(chromium, stack, arguments.lines)) and good
    assert messages > 0, "a console was never told anything"
    good = report(without, beside, arguments.consoles) and good
    return 1 if arguments.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
