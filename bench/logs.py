#!/usr/bin/env python3
"""Speed of the log store: 500,000 JSON lines in 500 pushes over two connections, then Grafana's kinds of query.

    bench/logs.py [--lines N] [--runs N] [--check]

The same client measures our store, started for it in an empty folder, and the server at LOKI_URL, if that is set (it
should be empty, and allow the load). Without it the times that Grafana Loki 3.4.6 took on the reference machine stand
beside ours. The targets are shares of Loki's figures. With --check the exit code is 1 when one is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PUSH = "/loki/api/v1/push"
LINES_PER_PUSH = 1000
SHARDS = 8
NEEDLE = "needle-7f3a91c2"
WORDS = [
    "join",
    "guild",
    "modal",
    "member",
    "identify",
    "timeout",
    "create",
    "update",
    "recruit",
    "gateway",
    "shard",
    "resume",
    "button",
    "latency",
]
# What is asked, what Loki 3.4.6 took on the reference machine in ms, and how much of Loki's time we may take.
QUERIES = {
    "needle": (f'{{job="bench"}} |= "{NEEDLE}"', 365.0, 0.5),
    "regular expression": ('{job="bench"} |~ "needle-[0-9a-f]{8}"', 381.0, 0.5),
    "json filter, one eighth": ('{job="bench", shard="3"} | json | latency_ms > 499.9', 117.0, 1.0),
    "count_over_time of a filter": ('sum(count_over_time({job="bench"} |= "error" [1m]))', 391.0, 1.0),
    "sum by (level)(rate(json))": ('sum by (level)(rate({job="bench"} | json [1m]))', 574.0, 1.0),
}
INGEST = (210_000.0, 1.5)  # lines/s of Loki, and how many times that
MEMORY = (234.0, 0.35)  # MB
START = 1.0  # s


def lines(count: int, seed: int = 1) -> Iterator[str]:
    """Lines of about 190 bytes; one in all of them holds the needle."""
    source = random.Random(seed)
    for number in range(count):
        line = {
            "level": source.choices(("info", "debug", "warn", "error"), (70, 15, 10, 5))[0],
            "msg": " ".join(source.choices(WORDS, k=7)) + (f" {NEEDLE}" if number == count * 2 // 3 else ""),
            "latency_ms": round(source.random() * 500, 3),
            "guild": str(source.randrange(1000)),
            "request": f"{source.getrandbits(96):024x}",
            "shard_id": source.randrange(16),
            "bytes": source.randrange(100_000),
        }
        yield json.dumps(line)


def bodies(count: int, first: int) -> tuple[list[bytes], int, int]:
    """The pushes' bodies, the size of all lines, and the time of the last; 2 ms between lines."""
    made: list[bytes] = []
    batch: list[list[str]] = []
    size, time_ns = 0, first
    for number, line in enumerate(lines(count)):
        time_ns = first + number * 2_000_000
        batch.append([str(time_ns), line])
        size += len(line)
        if len(batch) == LINES_PER_PUSH:
            labels = {"job": "bench", "shard": str(len(made) % SHARDS)}
            made.append(json.dumps({"streams": [{"stream": labels, "values": batch}]}).encode())
            batch = []
    return made, size, time_ns


def _client(url: str, work: list[bytes], failures: list[str]) -> None:
    host = urllib.parse.urlsplit(url)
    link = http.client.HTTPConnection(host.hostname or "127.0.0.1", host.port or 80, timeout=60)
    for body in work:
        for _ in range(50):
            link.request("POST", PUSH, body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read()
            if answer.status != 429:
                break
            time.sleep(0.05)
        if answer.status != 204:
            failures.append(f"{answer.status} {text[:200]!r}")
            return


def ingest(url: str, work: list[bytes]) -> float:
    """Seconds for all pushes over two connections."""
    failures: list[str] = []
    clients = [threading.Thread(target=_client, args=(url, work[part::2], failures)) for part in range(2)]
    begin = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - begin
    if failures:
        sys.exit(f"push failed: {failures[0]}")
    return seconds


def ask(url: str, query: str, first: int, last: int) -> tuple[float, int]:
    """Milliseconds for a query over everything, and how much it found."""
    params = {"query": query, "start": first, "end": last + 1, "limit": 100, "step": "60s"}
    begin = time.perf_counter()
    with urllib.request.urlopen(f"{url}/loki/api/v1/query_range?{urllib.parse.urlencode(params)}") as answer:
        result = json.loads(answer.read())["data"]["result"]
    return (time.perf_counter() - begin) * 1000, sum(len(item["values"]) for item in result)


@contextmanager
def our_server(folder: str) -> Iterator[tuple[str, float]]:
    """Our store in a folder: its address, and how many seconds it took to be ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    begin = time.perf_counter()
    command = [sys.executable, "-m", "rectbot", "logs", "serve", "--data", folder, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/ready", timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - begin > 20:
                    sys.exit("the server does not start")
                time.sleep(0.01)
        yield url, time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait()


def measure(url: str, work: list[bytes], first: int, last: int, runs: int) -> dict[str, float]:
    """All measurements on one server."""
    found = {"ingest": len(work) * LINES_PER_PUSH / ingest(url, work), "resident after ingest": resident(url)}
    for name, (query, _, _) in QUERIES.items():
        times = []
        for _ in range(runs):
            milliseconds, results = ask(url, query, first, last)
            times.append(milliseconds)
            if not results:
                sys.exit(f"{name}: nothing was found")
        found[name] = statistics.median(times)
    found["resident"] = resident(url)
    return found


def resident(url: str) -> float:
    """MB, as the server itself tells: its own, and those of the process that answers its queries."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        text = answer.read().decode()
    names = ("process_resident_memory_bytes", "rectbot_logs_worker_resident_bytes")
    found = [re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in names]
    return sum(float(one[1]) for one in found if one) / 1e6 if found[0] else math.nan


@dataclass(frozen=True)
class Row:
    """A figure of both servers, and what share of Loki's is our target."""

    name: str
    unit: str
    loki: float
    share: float
    more_is_better: bool = False

    def show(self, ours: float) -> bool:
        """Prints it; says whether the target is reached."""
        target = self.loki * self.share
        good = ours >= target if self.more_is_better else ours <= target
        shares = f"{ours / self.loki:.2f} (target {self.share:g})"
        print(f"{self.name:30}{ours:>12,.0f}{self.loki:>12,.0f} {self.unit:8}{shares}{'' if good else '  MISSED'}")
        return good


def rows(theirs: dict[str, float]) -> list[Row]:
    """What is compared: with what was measured in this run, or else on the reference machine."""

    def row(name: str, unit: str, reference: float, share: float, *, more: bool = False) -> Row:
        measured = theirs.get(name, math.nan)
        return Row(name, unit, reference if math.isnan(measured) else measured, share, more)

    queries = [row(name, "ms", loki, share) for name, (_, loki, share) in QUERIES.items()]
    memory = [row(name, "MB", *MEMORY) for name in ("resident", "resident after ingest")]
    return [row("ingest", "lines/s", *INGEST, more=True), *queries, *memory]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    first = (time.time_ns() // 10**9 - 3600) * 10**9
    work, size, last = bodies(args.lines, first)
    peer = os.environ.get("LOKI_URL", "").rstrip("/")
    print(f"{args.lines} lines, {size / args.lines:.0f} bytes each, {len(work)} pushes, {os.cpu_count()} cores")
    theirs = measure(peer, work, first, last, args.runs) if peer else {}
    starts = {}
    with tempfile.TemporaryDirectory() as folder:
        with our_server(folder) as (url, starts["empty"]):
            ours = measure(url, work, first, last, args.runs)
        disk = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        with our_server(folder) as (_, starts["full"]):
            pass
    print(f"{'':30}{'ours':>12}{'Loki' if peer else 'Loki, ref.':>12}")
    good = [row.show(ours[row.name]) for row in rows(theirs)]
    for kind, seconds in starts.items():
        good.append(seconds <= START)
        print(f"{'start, ' + kind:30}{seconds:>12.2f}{'':13}s{'' if good[-1] else '  MISSED'}")
    print(f"{'on disk':30}{disk:>12,.0f}{'':13}MB      {size / disk / 1e6:.1f}:1")
    return 1 if args.check and not all(good) else 0


if __name__ == "__main__":
    sys.exit(main())
