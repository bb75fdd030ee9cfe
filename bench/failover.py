"""How fast the lead moves, and what a site costs: ours beside two locks of others, on one Redis, in one run.

    .venv/bin/python bench/failover.py [--samples 50] [--ttl-ms 1000]

The workload is a shell that writes down when it began. A takeover after a crash is counted from the moment at which
Redis lets the lock expire (PEXPIRETIME), one after a release from the release; both by the one clock of this machine.
The peers are written as their documentation shows: redis-py's Lock with acquire(blocking=True), which asks ten times a
second, and extend() every third of the TTL; python-redis-lock (installed for the run, if pip can) with auto_renewal,
which waits for a signal of whoever releases it. A run takes about five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis as redis_py

from rectbot.failover import FailoverConfig, open_store
from rectbot.failover.agent import agent_command, plan
from rectbot.failover.config import ChildOptions

AT_ONCE = 2
Row = tuple[str, str, list[float]]  # name, unit, a value for each contender
IDLE_S = 35.0  # longer than one heartbeat interval of the default settings
PEER = """
import signal, subprocess, sys, time
import redis
port, password, key, ttl, released = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5]
client = redis.Redis(port=port, password=password)
{lock}
program = None
def stop(*_):
    if program is not None:
        program.terminate()
        program.wait()
        lock.release()
        open(released, "w").write(str(time.time() * 1000))
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(released + ".asks", "w")
lock.acquire(blocking=True)
program = subprocess.Popen(sys.argv[6:])
while True:
    time.sleep(ttl / 3)
    {renew}
"""
PYTHON_REDIS_LOCK = "python-redis-lock==4.0.1"


@dataclass
class Bench:
    folder: Path
    port: int
    password: str
    ttl_ms: int
    client: Any = field(init=False)  # redis-py's types are not precise enough to help here

    def __post_init__(self) -> None:
        self.client = redis_py.Redis(port=self.port, password=self.password)


class Site:
    """One process of a contender, and what its program wrote."""

    title = ""

    def __init__(self, bench: Bench, key: str, name: str) -> None:
        self.bench, self.key, self.name = bench, key, name
        self.began = bench.folder / f"{key}.{name}.began"
        self.program = [
            "sh",
            "-c",
            f"date +%s%N > {self.began}.new && mv {self.began}.new {self.began}; exec sleep 900",
        ]
        self.process: subprocess.Popen[bytes]

    @property
    def lock_key(self) -> str:
        return self.key

    def began_ms(self) -> float | None:
        return int(self.began.read_text()) / 1e6 if self.began.exists() else None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def family(self) -> list[int]:
        """Process ids of the wrapper and of its guardian."""
        return [self.process.pid, *_children(self.process.pid)]

    def start(self, **changes: Any) -> None:
        raise NotImplementedError

    def stands_by(self) -> bool:
        raise NotImplementedError

    def released_ms(self) -> float | None:
        raise NotImplementedError


class Ours(Site):
    title = "rectbot failover run"

    def config(self, **changes: Any) -> FailoverConfig:
        given = {"lock_ttl_ms": self.bench.ttl_ms, "failback_delay_sec": 3600} | changes
        return FailoverConfig(
            site=self.name, priority=("a", "b"), lock_key=self.key, hb_prefix=f"{self.key}:hb:", **given
        )

    def start(self, **changes: Any) -> None:
        address = {"port": self.bench.port, "password": self.bench.password}
        memory = plan(self.config(**changes), address, self.program, ChildOptions())
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(agent_command(memory), pass_fds=[memory], start_new_session=True, **quiet)
        os.close(memory)

    def stands_by(self) -> bool:
        return bool(self.bench.client.exists(f"{self.key}:hb:{self.name}"))

    def released_ms(self) -> float | None:
        events = self.bench.client.xrevrange(f"{self.key}:events")
        return next((float(event[b"ms"]) for _, event in events if event[b"kind"] == b"released"), None)


class Peer(Site):
    lock = ""  # makes the lock
    renew = ""

    @classmethod
    def code(cls) -> str:
        return PEER.format(lock=cls.lock, renew=cls.renew)

    def start(self, **changes: Any) -> None:
        ttl = changes.get("lock_ttl_ms", self.bench.ttl_ms) / 1000
        words = [self.bench.port, self.bench.password, self.key, ttl, self.released]
        self.process = self.launch(self.bench, *map(str, words), *self.program)

    @classmethod
    def launch(cls, bench: Bench, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", cls.code(), *words],
            env={**os.environ, "PYTHONPATH": str(bench.folder / "peers")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def released(self) -> Path:
        return self.bench.folder / f"{self.key}.{self.name}.released"

    def stands_by(self) -> bool:
        return Path(f"{self.released}.asks").exists()

    def released_ms(self) -> float | None:
        text = self.released.read_text() if self.released.exists() else ""
        return float(text) if text else None


class RedisPyLock(Peer):
    title = "redis-py Lock"
    lock = "lock = client.lock(key, timeout=ttl)"
    renew = "lock.extend(ttl, replace_ttl=True)"


class PythonRedisLock(Peer):
    title = "python-redis-lock"
    lock = "import redis_lock; lock = redis_lock.Lock(client, key, expire=int(ttl), auto_renewal=True)"
    renew = "pass"

    @property
    def lock_key(self) -> str:
        return f"lock:{self.key}"


async def until(met: Callable[[], Any], seconds: float = 30) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := met()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def pair(bench: Bench, kind: type[Site], **changes: Any) -> Any:
    """A leader and a standby on a lock of their own."""
    key = f"bench-{secrets.token_hex(4)}"
    leader, standby = kind(bench, key, "a"), kind(bench, key, "b")
    if isinstance(leader, Ours):
        store = open_store(leader.config(), port=bench.port, password=bench.password)
        await store.initialise()
        await store.close()
    started: list[Site] = []
    try:
        for site in (leader, standby):
            site.start(**changes)
            started.append(site)
            await until(site.began_ms if site is leader else site.stands_by)
        await asyncio.sleep(0.3)  # the standby has asked at least once
        yield leader, standby
    finally:
        for site in started:
            _end(site)


def _end(site: Site) -> None:
    """Kills a site, and what a peer's program leaves behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(site.process.pid, signal.SIGKILL)
    site.process.wait()


async def after_crash(bench: Bench, kind: type[Site]) -> float:
    async with pair(bench, kind) as (leader, standby):
        leader.process.kill()
        expires: int = bench.client.pexpiretime(leader.lock_key)
        return float(await until(standby.began_ms)) - expires


async def after_release(bench: Bench, kind: type[Site]) -> float:
    async with pair(bench, kind) as (leader, standby):
        leader.send(signal.SIGTERM)
        began = await until(standby.began_ms)
        return float(began) - float(await until(leader.released_ms))


async def overlap_when_paused(bench: Bench, kind: type[Site]) -> float:
    """For how long the programs of both sites live when the leader is paused for three TTLs, in ms."""
    async with pair(bench, kind) as (leader, standby):
        program = ([pid for guardian in leader.family()[1:] for pid in _children(guardian)] or leader.family()[1:])[0]
        leader.send(signal.SIGSTOP)
        over, gone = time.time() * 1000 + 3 * bench.ttl_ms, 0.0
        while (now := time.time() * 1000) < over and not (gone and standby.began_ms()):
            gone = gone or (0.0 if _lives(program) else now)
            await asyncio.sleep(0.002)
        return max(0.0, (gone or now) - (standby.began_ms() or now))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def sample(measure: Callable[[], Awaitable[float]], count: int) -> list[float]:
    turn = asyncio.Semaphore(AT_ONCE)

    async def one() -> float:
        async with turn:
            return await measure()

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


async def cost(bench: Bench, kind: type[Site]) -> dict[str, float]:
    """What a site costs with the default settings of 90 s: CPU of a standby, in % of a core, and memory, in MiB."""
    async with pair(bench, kind, lock_ttl_ms=90_000) as (leader, standby):
        before = _cpu_ns(standby)
        began = time.monotonic()
        await asyncio.sleep(IDLE_S)
        cpu = (_cpu_ns(standby) - before) / (time.monotonic() - began) / 1e7
        guarded = leader.family() if kind is Ours else leader.family()[:1]
        return {"cpu": cpu, "rss": sum(map(_rss_mib, guarded))}


def _cpu_ns(site: Site) -> int:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in site.family())


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:")) / 1024


async def round_trips(bench: Bench) -> float:
    """Requests of a leader to Redis for each renewal, on the connection of the lease."""
    async with pair(bench, Ours, lock_ttl_ms=1_500) as (_, standby):
        standby.process.kill()
        await asyncio.sleep(2)
        before = bench.client.info("all")
        await asyncio.sleep(5)
        after = bench.client.info("all")
        reads = after["total_reads_processed"] - before["total_reads_processed"] - 1  # the second INFO
        pings = _calls(after, "ping") - _calls(before, "ping")  # of the connection that listens
        return float(reads - pings) / (_calls(after, "evalsha") - _calls(before, "evalsha"))


def _calls(info: dict[str, Any], command: str) -> int:
    return int(info.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def start_times(kind: type[Site], bench: Bench, count: int) -> list[float]:
    """From the start of the command to its first connection, in ms."""
    found = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for _ in range(count):
            began = time.monotonic()
            process = _command(kind, bench, port)
            connection, _ = server.accept()
            found.append((time.monotonic() - began) * 1000)
            process.kill()
            process.wait()
            connection.close()
            server.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # it may have opened a second connection
                while True:
                    server.accept()[0].close()
            server.setblocking(True)
    return sorted(found[1:])  # the first one may have had to compile


def _command(kind: type[Site], bench: Bench, port: int) -> subprocess.Popen[bytes]:
    if issubclass(kind, Peer):
        return kind.launch(bench, str(port), "x", "bench", "1", f"{bench.folder}/start", "true")
    settings = {
        "FAILOVER_ENABLED": "true",
        "SITE_ID": "oci",
        "REDIS_PORT": str(port),
        "RECTBOT_HOME": str(bench.folder),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "rectbot", "failover", "run", "--", "sleep", "900"],
        env={"PATH": os.environ["PATH"], **settings},
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[tuple[int, str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    password = secrets.token_hex(8)
    config = folder / "redis.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ''\ndir {folder}\nlogfile redis.log\n"
    )
    process = subprocess.Popen(["redis-server", str(config)])
    client: Any = redis_py.Redis(port=port, password=password)
    try:
        for _ in range(500):
            with contextlib.suppress(redis_py.ConnectionError):
                client.ping()
                break
            time.sleep(0.01)
        yield port, password
    finally:
        process.kill()
        process.wait()


def percentile(values: list[float], percent: float) -> float:
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def show(titles: list[str], rows: list[Row]) -> None:
    """A column for each contender; in brackets how many times ours that is."""
    print(f"\n{'':44}{titles[0]:>22}" + "".join(f"{title:>26}" for title in titles[1:]))
    for name, unit, values in rows:
        ours = values[0]
        others = [f"{value:.4g} {unit}" + (f" ({value / ours:.1f}x)" if ours else "") for value in values[1:]]
        print(f"{name:44}{f'{ours:.4g} {unit}':>22}" + "".join(f"{other:>26}" for other in others))


async def measure(bench: Bench, kinds: list[type[Site]], samples: int) -> None:
    rows: list[Row] = []

    async def add(name: str, act: Callable[[Bench, type[Site]], Awaitable[float]]) -> None:
        values = [await sample(partial(act, bench, kind), samples) for kind in kinds]
        rows.append((f"{name}, median", "ms", [statistics.median(each) for each in values]))
        rows.append((f"{name}, p99", "ms", [percentile(each, 99) for each in values]))

    starts = [start_times(kind, bench, 11) for kind in kinds]
    rows.append(("start to first attempt, median of 10", "ms", [statistics.median(each) for each in starts]))
    rows.append(("round trips per renewal", "", [await round_trips(bench)]))
    costs = await asyncio.gather(*(cost(bench, kind) for kind in kinds))
    rows.append(("idle standby, of a core", "%", [each["cpu"] for each in costs]))
    rows.append(("resident: leader, with its guardian", "MiB", [each["rss"] for each in costs]))
    await add("crash: takeover past the lock's expiry", after_crash)
    await add("release: takeover past the release", after_release)
    pauses = [await sample(partial(overlap_when_paused, bench, kind), 3) for kind in kinds]
    rows.append(("leader paused for 3 TTL: two programs for", "ms", [each[-1] for each in pauses]))
    print(f"TTL {bench.ttl_ms} ms, {samples} samples of each takeover, {AT_ONCE} at once")
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}: on a busy machine the tails are the machine's"
    )
    show([kind.title for kind in kinds], rows)


def install_peer(folder: Path) -> bool:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), PYTHON_REDIS_LOCK]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--ttl-ms", type=int, default=1_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rectbot-bench-"))
    try:
        with redis_server(folder) as (port, password):
            kinds: list[type[Site]] = [Ours, RedisPyLock]
            if install_peer(folder / "peers"):
                kinds.append(PythonRedisLock)
            asyncio.run(measure(Bench(folder, port, password, given.ttl_ms), kinds, given.samples))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
