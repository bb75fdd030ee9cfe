"""The history at its size: a year of events with a failover every hour.

    python bench/history.py [--check]

Measures the report as a person calls it, the console's page, a pass of the recorder with four new events, and what the
console holds. `--check` fails when a report or a page takes a second, or the recorder more than 1 % of a core at a
failover an hour.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rectbot.history import record
from rectbot.history.database import opened, writing
from rectbot.history.story import Told
from rectbot.settings import load_settings

BEGIN = 1_735_689_600_000  # 2025-01-01
HOUR = 3_600_000
HOURS = 365 * 24
RUNS = 7
PASSES_AN_HOUR = 3  # of the recorder: a failover's events come within seconds, and now and then one comes late


def year() -> list[Told]:
    events = []
    for hour in range(HOURS):
        now = BEGIN + hour * HOUR
        site = ("xserver", "oci")[hour % 2]
        who, epoch = (site, f"{site}:host:{hour}:abcdef01"), hour + 1
        if hour:
            last = ("oci", "xserver")[hour % 2]
            events.append(
                Told(now, "expired", last, f"{last}:host:{hour - 1}:abcdef01", hour, "not renewed since", now - 20_000)
            )
        events.append(Told(now, "acquired", *who, epoch, ""))
        events.append(Told(now + 2_000, "ready", *who, epoch, ""))
    return events


def fill(home: Path) -> None:
    began = time.perf_counter()
    with opened(load_settings(rectbot_home=home)) as engine, writing(engine) as connection:
        added = record.add_events(connection, year())
    print(f"{added:,} events brought in: {time.perf_counter() - began:.2f} s")


def timed(what: str, act: Callable[[], object]) -> float:
    """The median."""
    took = []
    for _ in range(RUNS):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    print(f"{what}: {statistics.median(took):.2f} s (from {min(took):.2f} to {max(took):.2f})")
    return statistics.median(took)


def command(home: Path, *arguments: str) -> None:
    environment = os.environ | {"RECTBOT_HOME": str(home)}
    subprocess.run(
        [sys.executable, "-m", "rectbot", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL
    )


def one_more_hour(home: Path) -> None:
    """What a pass of the recorder does beside asking the store; measured with its start as a program."""
    code = (
        "from rectbot.history import bring, record\n"
        "from rectbot.history.database import opened, writing\n"
        "from rectbot.history.story import Told\n"
        "from rectbot.settings import load_settings\n"
        "import time\n"
        "now = time.time_ns() // 1_000_000\n"
        "new = [Told(now, kind, 'oci', str(now), now, '') for kind in ('acquired', 'ready', 'switch', 'handed-over')]\n"
        "with opened(load_settings()) as engine, writing(engine) as connection:\n"
        "    assert record.add_events(connection, new) == 4\n"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"RECTBOT_HOME": str(home)}, check=True)


@contextmanager
def console(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The console alone, on this history; no other part is there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"RECTBOT_HOME": str(home), "CONSOLE_PORT": str(port), "REDIS_PORT": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "rectbot", "hub", "console"], env=os.environ | settings, stdin=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                fetch(f"{url}/healthz")
                break
            except OSError:
                time.sleep(0.1)
        yield process, url
    finally:
        process.terminate()
        process.wait()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def pages(home: Path) -> float:
    """The slowest: the first visitor's data, for whom the database is read, and what the next ones get."""
    with console(home) as (process, url):
        began = time.perf_counter()
        rows = fetch(f"{url}/history.csv?period=2025-06").count("\n")
        first = time.perf_counter() - began
        print(f"what the first visitor sees of a month ({rows:,} rows): {first:.2f} s")
        month = timed("the page of a month", lambda: fetch(f"{url}/history?period=2025-06"))
        whole = timed("the page of the year", lambda: fetch(f"{url}/history?period=2025"))
        held = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        print(f"the console holds {int(held.partition('VmRSS:')[2].split()[0]) / 1024:.0f} MB")
    return max(first, month, whole)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        fill(home)
        period = ("--since", "2025-01-01", "--until", "2026-01-01")
        slowest = max(
            timed(f"report of the year, {form}", partial(command, home, "report", *period, "--format", form))
            for form in ("json", "text", "html")
        )
        slowest = max(slowest, pages(home))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        timed("a pass of the recorder with four new events", lambda: one_more_hour(home))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / RUNS
        share = PASSES_AN_HOUR * spent / 3600
        print(f"the recorder at a failover an hour: {spent:.2f} s a pass, {share:.2%} of a core")
        print(f"the largest of these programs held {after.ru_maxrss / 1024:.0f} MB")
    if "--check" in sys.argv and (slowest >= 1 or share >= 0.01):
        print("a target is missed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
