"""How fast the lead moves, and what a site costs: ours on each store beside two locks of others, in one run.

    PYTHONPATH=tests .venv/bin/python bench/failover.py [--samples 50] [--ttl-ms 1000] [--check]

The stores are Redis, an etcd cluster of three and SeaweedFS, all on loopback. The workload is a shell that writes down
when it began. A takeover after a crash is counted from the moment at which the lock expires, one after a release from
the release; both by the one clock of this machine. `--check` fails when a target is missed.
The peers are written as their documentation shows: redis-py's Lock with acquire(blocking=True), which asks ten times a
second, and extend() every third of the TTL; python-redis-lock (installed for the run, if pip can) with auto_renewal,
which waits for a signal of whoever releases it. A run takes about ten minutes.
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

from lease_servers import ACCESS_KEY, CREDENTIALS, S3, SECRET_KEY, Etcd, etcd_cluster, s3_server
from rectbot.failover import FailoverConfig, LeaseStore, open_store
from rectbot.failover.agent import agent_command, plan
from rectbot.failover.clock import boottime_ms
from rectbot.failover.codec import decode
from rectbot.failover.config import ChildOptions
from rectbot.failover.record import Record
from rectbot.failover.wiring import libraries
from servers import redis_server

AT_ONCE = 2
POLL_MS, HURRY_MS = 1_000, 500  # of a bucket; the second is stores/bucket.py's, while a change is near
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
    etcd: Etcd
    s3: S3
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

    async def expires_ms(self) -> float:
        """When the lock ends, if nobody renews it."""
        raise NotImplementedError

    def began_ms(self) -> float | None:
        return int(self.began.read_text()) / 1e6 if self.began.exists() else None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def family(self) -> list[int]:
        """Process ids of the wrapper and of its guardian."""
        return [self.process.pid, *_children(self.process.pid)]

    def start(self, **changes: Any) -> None:
        raise NotImplementedError

    async def stands_by(self) -> bool:
        raise NotImplementedError

    async def released_ms(self) -> float | None:
        raise NotImplementedError


class Ours(Site):
    """On the Redis of the bench; a subclass says where else."""

    title = "ours on Redis"

    def config(self, **changes: Any) -> FailoverConfig:
        given = {"lock_ttl_ms": self.bench.ttl_ms, "failback_delay_sec": 3600} | changes
        return FailoverConfig(
            site=self.name, priority=("a", "b"), lock_key=self.key, hb_prefix=f"{self.key}:hb:", **given
        )

    @staticmethod
    def options(bench: Bench, port: int | None = None) -> dict[str, Any]:
        """Where the store is, for open_store(); with a `port`, as if it were there."""
        return {"port": port or bench.port, "password": bench.password}

    @classmethod
    def settings(cls, bench: Bench, port: int) -> dict[str, str]:
        """The same as settings, for a store that is not there."""
        del bench
        return {"REDIS_PORT": str(port)}

    def store(self) -> LeaseStore:
        return open_store(self.config(), **self.options(self.bench))

    def start(self, port: int | None = None, **changes: Any) -> None:
        memory = plan(self.config(**changes), self.options(self.bench, port), self.program, ChildOptions())
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(agent_command(memory), pass_fds=[memory], start_new_session=True, **quiet)
        os.close(memory)

    async def record(self) -> Record | None:
        store = self.store()
        try:
            text = (await store.register.read(boottime_ms() + 5_000)).record
        finally:
            await store.close()
        return decode(text) if text else None

    async def expires_ms(self) -> float:
        record = await self.record()
        assert record is not None
        assert record.lock is not None
        return record.lock.wall + record.lock.ttl

    async def stands_by(self) -> bool:
        record = await self.record()
        return record is not None and self.name in record.beats

    async def released_ms(self) -> float | None:
        record = await self.record()
        events = record.outbox if record else ()
        return next((event.time * 1000 for event in events if event.kind == "released"), None)


class OnEtcd(Ours):
    title = "ours on etcd"

    @staticmethod
    def options(bench: Bench, port: int | None = None) -> dict[str, Any]:
        hosts = f"127.0.0.1:{port}" if port else bench.etcd.hosts
        return {"url": f"etcd://{hosts}/bench"}

    @classmethod
    def settings(cls, bench: Bench, port: int) -> dict[str, str]:
        return {"LEASE_URL": cls.options(bench, port)["url"]}


class OnBucket(Ours):
    title = "ours on a bucket"

    @staticmethod
    def options(bench: Bench, port: int | None = None) -> dict[str, Any]:
        url = bench.s3.url.replace(str(bench.s3.port), str(port)) if port else bench.s3.url
        return {"url": url, "credentials": CREDENTIALS, "poll_ms": POLL_MS, "libraries": libraries()}

    @classmethod
    def settings(cls, bench: Bench, port: int) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
        return keys | {"LEASE_URL": cls.options(bench, port)["url"]}


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

    @property
    def lock_key(self) -> str:
        return self.key

    async def expires_ms(self) -> float:
        return float(self.bench.client.pexpiretime(self.lock_key))

    async def stands_by(self) -> bool:
        return os.path.exists(f"{self.released}.asks")  # noqa: ASYNC240, PTH110

    async def released_ms(self) -> float | None:
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
        while True:
            found, pause = met(), 0.01
            if asyncio.iscoroutine(found):
                found, pause = await found, 0.1  # it opens connections
            if found:
                return found
            await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def pair(bench: Bench, kind: type[Site], **changes: Any) -> Any:
    """A leader and a standby on a lock of their own."""
    key = f"bench-{secrets.token_hex(4)}"
    leader, standby = kind(bench, key, "a"), kind(bench, key, "b")
    if isinstance(leader, Ours):
        store = leader.store()
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
        expires: float = await leader.expires_ms()
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
        guarded = leader.family() if issubclass(kind, Ours) else leader.family()[:1]
        return {"cpu": cpu, "rss": sum(map(_rss_mib, guarded))}


def _cpu_ns(site: Site) -> int:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in site.family())


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss:")) / 1024


async def round_trips(bench: Bench, kind: type[Ours]) -> float:
    """Requests of a leader to its store for each renewal, polls and pings left out, as a relay between them counts."""
    asked = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool) -> None:
        nonlocal asked
        with contextlib.suppress(OSError):
            while block := await reader.read(262_144):
                asked += counts and block.startswith((b"PUT", b"POST /v3/kv", b"*")) and b"\r\nPING" not in block
                writer.write(block)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, there[1], counts=True), pump(there[0], writer, counts=False))

    target = {Ours: bench.port, OnEtcd: bench.etcd.ports[0], OnBucket: bench.s3.port}[kind]
    async with await asyncio.start_server(connected, "127.0.0.1", 0) as relay:
        port = relay.sockets[0].getsockname()[1]
        site = kind(bench, secrets.token_hex(4), "a")
        site.start(port, lock_ttl_ms=1_500)
        try:
            await until(site.began_ms)
            await asyncio.sleep(1)
            before, first = asked, await site.record()
            await asyncio.sleep(6)
            after, last = asked, await site.record()
        finally:
            _end(site)
    assert first is not None
    assert last is not None
    return float(after - before) / (last.seq - first.seq)


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
    assert issubclass(kind, Ours)
    settings = {"FAILOVER_ENABLED": "true", "SITE_ID": "oci", "RECTBOT_HOME": str(bench.folder)}
    settings |= kind.settings(bench, port)
    return subprocess.Popen(
        [sys.executable, "-m", "rectbot", "failover", "run", "--", "sleep", "900"],
        env={"PATH": os.environ["PATH"], **settings},
        stderr=subprocess.DEVNULL,
    )


def percentile(values: list[float], percent: float) -> float:
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def show(titles: list[str], rows: list[Row]) -> None:
    """A column for each contender."""
    print(f"\n{'':44}" + "".join(f"{title:>20}" for title in titles))
    for name, unit, values in rows:
        print(f"{name:44}" + "".join(f"{f'{value:.4g} {unit}':>20}" for value in values))


def missed(rows: list[Row]) -> Iterator[str]:
    """What of ours is over its target."""
    for name, unit, values in rows:
        for kind, value, limit in zip(OURS, values, TARGETS.get(name, ()), strict=False):
            if value > limit:
                yield f"{name}, {kind.title}: {value:.4g} {unit}, and at most {limit:g} is wanted"


OURS: tuple[type[Ours], ...] = (Ours, OnEtcd, OnBucket)
START, TRIPS, RESIDENT = "start to first attempt, median of 10", "round trips per renewal", "resident: leader, watchdog"
CRASH, RELEASE = "crash: takeover past the lock's expiry", "release: takeover past the release"
TARGETS: dict[str, tuple[float, float, float]] = {  # of Redis, etcd and a bucket
    START: (500, 500, 600),
    TRIPS: (1.01, 1.01, 1.01),
    RESIDENT: (36, 40, 52),
    f"{CRASH}, p99": (50, 50, POLL_MS + 50),
    f"{RELEASE}, p99": (30, 50, HURRY_MS + 50),
}


async def measure(bench: Bench, kinds: list[type[Site]], samples: int) -> list[Row]:
    rows: list[Row] = []

    async def add(name: str, act: Callable[[Bench, type[Site]], Awaitable[float]]) -> None:
        values = [await sample(partial(act, bench, kind), samples) for kind in kinds]
        rows.append((f"{name}, median", "ms", [statistics.median(each) for each in values]))
        rows.append((f"{name}, p99", "ms", [percentile(each, 99) for each in values]))

    starts = [start_times(kind, bench, 11) for kind in kinds]
    rows.append((START, "ms", [statistics.median(each) for each in starts]))
    rows.append((TRIPS, "", [await round_trips(bench, kind) for kind in OURS]))
    costs = await asyncio.gather(*(cost(bench, kind) for kind in kinds))
    rows.append(("idle standby, of a core", "%", [each["cpu"] for each in costs]))
    rows.append((RESIDENT, "MiB", [each["rss"] for each in costs]))
    await add(CRASH, after_crash)
    await add(RELEASE, after_release)
    pauses = [await sample(partial(overlap_when_paused, bench, kind), 3) for kind in kinds]
    rows.append(("leader paused for 3 TTL: two programs for", "ms", [each[-1] for each in pauses]))
    print(f"TTL {bench.ttl_ms} ms, {samples} samples of each takeover, {AT_ONCE} at once")
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}: on a busy machine the tails are the machine's"
    )
    show([kind.title for kind in kinds], rows)
    return rows


def install_peer(folder: Path) -> bool:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), PYTHON_REDIS_LOCK]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--ttl-ms", type=int, default=1_000)
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rectbot-bench-"))
    try:
        with (
            redis_server(folder / "redis", persistent=False) as redis,
            etcd_cluster(folder / "etcd") as etcd,
            s3_server(folder / "s3") as s3,
        ):
            kinds: list[type[Site]] = [*OURS, RedisPyLock]
            if install_peer(folder / "peers"):
                kinds.append(PythonRedisLock)
            bench = Bench(folder, redis.port, redis.password, given.ttl_ms, etcd, s3)
            found = list(missed(asyncio.run(measure(bench, kinds, given.samples))))
    finally:
        shutil.rmtree(folder)
    if given.check:
        print("\n".join(found) or "every target is met")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
