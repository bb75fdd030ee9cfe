"""What a browser sees of the console: how soon, for how many bytes, and what it costs to look on."""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
from playwright.sync_api import Browser, CDPSession, Page

from consoles import Visitor, visit
from e2e.stack import Stack

SIZE = {"width": 1280, "height": 900}
DRAWN = """() => document.querySelector('#content') && [...document.querySelectorAll('[data-panel]')].every(panel =>
    !panel.classList.contains('waiting') && panel.querySelector('canvas, .stat, td, .line, .prose, .note:not(:empty)'))
    && performance.now()"""
LINES = "() => document.querySelector('.logs .line') && performance.now()"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
LAG = "Date.now() - Number(/at=(\\d+)/.exec(document.querySelector('.logs .line .text')?.innerText)?.[1])"
COUNTED = "Number(/[\\d,]+/.exec(document.querySelector('.status-row .problem')?.innerText ?? '0')?.[0])"
A_MINUTE, PUSH_SECONDS = 100_000, 0.1


@dataclass
class Seen:
    """Of one page: seconds from the request on, and bytes over the wire; medians."""

    paint: float
    data: float
    cold: int
    warm: int


@dataclass
class Wire:
    """Counts what a page is sent: answers as they come, heads included, and messages of its socket."""

    received: int = 0
    _session: CDPSession | None = field(default=None, repr=False)

    def count(self, page: Page) -> None:
        session = self._session = page.context.new_cdp_session(page)
        session.on("Network.loadingFinished", lambda event: self._add(event["encodedDataLength"]))
        session.on("Network.webSocketFrameReceived", lambda event: self._add(len(event["response"]["payloadData"])))
        session.send("Network.enable")

    def _add(self, size: float) -> None:
        self.received += round(size)


def _drawn(visitor: Visitor, condition: str = DRAWN) -> float:
    """Seconds from the request until the condition holds, by the browser's own clock."""
    return float(visitor.page.wait_for_function(condition, polling="raf").json_value()) / 1000


def see(chromium: Browser, url: str, visits: int, condition: str = DRAWN) -> Seen:
    """A page, each time in a new profile, and then once more in the same."""
    found: list[tuple[float, float, int, int]] = []
    for _ in range(visits):
        with visit(chromium, viewport=SIZE) as visitor:
            wire = Wire()
            wire.count(visitor.page)
            visitor.page.goto(url)
            data, paint = _drawn(visitor, condition), visitor.page.evaluate(PAINT) / 1000
            cold, wire.received = wire.received, 0
            visitor.page.reload()
            _drawn(visitor, condition)
            found.append((paint, data, cold, wire.received))
    paint, data, cold, warm = (statistics.median(values) for values in zip(*found, strict=True))
    return Seen(paint, data, round(cold), round(warm))


def idle(chromium: Browser, url: str, server: Callable[[], float], seconds: float) -> tuple[float, float]:
    """Shares of a core that an open page takes while nothing happens: the browser's and the server's."""
    before = _share(server, seconds)
    with visit(chromium, viewport=SIZE) as visitor:
        visitor.page.goto(url)
        _drawn(visitor)
        time.sleep(5)
        browser, began = _browser_cpu(), server()
        time.sleep(seconds)
        return (_browser_cpu() - browser) / seconds, (server() - began) / seconds - before


def _share(clock: Callable[[], float], seconds: float) -> float:
    began = clock()
    time.sleep(seconds)
    return (clock() - began) / seconds


def _browser_cpu() -> float:
    """Seconds of all processes of the browsers that this process has started."""
    own = psutil.Process().children(recursive=True)
    return sum(sum(each.cpu_times()[:2]) for each in own if "chrom" in each.name())


@dataclass
class Tailed:
    """`busy`: share of a core, of all of the browser's processes; `lag`: seconds, the worst but for one in twenty."""

    busy: float
    lag: float
    sent: int
    left_out: int


def tail(chromium: Browser, stack: Stack, seconds: float) -> Tailed:
    """A live tail into which 100,000 lines a minute come."""
    with visit(chromium, viewport=SIZE) as visitor:
        page = visitor.page
        page.goto(stack.url("console") + "/logs?job=bench-tail&from=now-5m&to=now")
        page.get_by_text("No line in this time").wait_for()
        time.sleep(1)
        with _lines_coming(stack.url("loki")) as sent:
            page.wait_for_function(LINES)
            time.sleep(2)
            busy, began, lags = _browser_cpu(), time.monotonic(), []
            while time.monotonic() - began < seconds:
                lags.append(float(page.evaluate(LAG)) / 1000)
                time.sleep(0.5)
            share = (_browser_cpu() - busy) / (time.monotonic() - began)
            left_out = int(page.evaluate(COUNTED))
        return Tailed(share, statistics.quantiles(lags, n=20)[-1], sent[0], left_out)


@contextmanager
def _lines_coming(loki: str) -> Iterator[list[int]]:
    """Pushes lines with their time in them; how many, is in the list."""
    ended, sent = threading.Event(), [0]
    count = round(A_MINUTE / 60 * PUSH_SECONDS)

    def push() -> None:
        due = time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            due += PUSH_SECONDS
            now = time.time_ns()
            values = [
                [str(now + n), f"at={now // 10**6} a line of the flood, number {sent[0] + n}"] for n in range(count)
            ]
            stream = {"stream": {"job": "bench-tail", "site": "xserver", "level": "info"}, "values": values}
            body = json.dumps({"streams": [stream]}).encode()
            request = urllib.request.Request(f"{loki}/loki/api/v1/push", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request).close()
            sent[0] += count

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        yield sent
    finally:
        ended.set()
        pusher.join()


def fill(loki: str, lines: Iterator[str], count: int, hours: float = 24) -> None:
    """Lines of two sites, spread over the time until now."""
    last = time.time_ns() - 10**9
    first, batch = last - round(hours * 3600 * 10**9), 1000
    for start in range(0, count, batch):
        streams: dict[tuple[str, str], list[list[str]]] = {}
        for number in range(start, min(count, start + batch)):
            text = next(lines)
            site, level = ("xserver", "oci")[number % 2], str(json.loads(text)["level"])
            moment = first + (last - first) * number // count
            streams.setdefault((site, level), []).append([str(moment), text])
        made = [
            {"stream": {"job": "bot", "site": site, "level": level}, "values": values}
            for (site, level), values in streams.items()
        ]
        body = json.dumps({"streams": made}).encode()
        request = urllib.request.Request(f"{loki}/loki/api/v1/push", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()
