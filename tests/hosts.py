"""Hosts on one machine: network namespaces on a switch, each of which can lose its power, or its way to another.

It takes root. What runs on a host is started with `Host.prefix` before its command.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lease_servers import BUCKET, CREDENTIALS, S3, Etcd, Program
from rectbot.failover import FailoverConfig
from rectbot.failover.agent import agent_command, plan
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import ChildOptions
from rectbot.failover.wiring import libraries

_NOWHERE = "02:00:00:00:00:01"  # what is sent there is lost, and nobody says so
_BEAT_S = 0.01
# A bot that writes down that it lives, for a judge who is no part of the network.
_BOT = f"""
import os, time
file = os.open("beats", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    os.write(file, b"%d %b\\n" % (now, os.environb[b"RECTBOT_SITE"]))
    time.sleep({_BEAT_S})
"""


def _ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout


def may_have_hosts() -> bool:
    """Whether this user may make network namespaces."""
    name = f"{_tag()}t"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    _ip("netns", "del", name)
    return True


def _tag() -> str:
    """Begins the names of this process's namespaces: the machine's other tests have theirs."""
    return f"rb{os.getpid() % 100_000}"


@dataclass
class Host:
    """A namespace with one address, and everything that runs in it."""

    name: str
    space: str
    address: str
    switch: str

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.space}"]

    def _inside(self, *words: str) -> None:
        _ip("-n", self.space, *words)

    def lose_power(self) -> None:
        """Everything in it is gone at once, and nothing says so to the others."""
        _ip("-n", self.switch, "link", "set", self.space, "down")
        for pid in _ip("netns", "pids", self.space).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def lose(self, other: Host) -> None:
        """What either sends to the other is lost."""
        for one, another in ((self, other), (other, self)):
            one._inside("neigh", "replace", another.address, "lladdr", _NOWHERE, "dev", "eth0", "nud", "permanent")

    def find(self, other: Host) -> None:
        for one, another in ((self, other), (other, self)):
            one._inside("neigh", "del", another.address, "dev", "eth0")


@contextmanager
def hosts(*names: str) -> Iterator[list[Host]]:
    """So many hosts, on one switch; in the end nothing of them is left."""
    tag = _tag()
    switch = f"{tag}s"
    made: list[Host] = []
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names, 1):
            host = Host(name, f"{tag}h{number}", f"10.213.7.{number}", switch)
            _ip("netns", "add", host.space)
            made.append(host)
            _ip("-n", host.space, "link", "add", "eth0", "type", "veth", "peer", "name", host.space, "netns", switch)
            _ip("-n", switch, "link", "set", host.space, "master", "br0", "up")
            _ip("-n", host.space, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.space, "link", "set", "eth0", "up")
            _ip("-n", host.space, "link", "set", "lo", "up")
        yield made
    finally:
        for host in made:
            for pid in _ip("netns", "pids", host.space, check=False).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "del", host.space, check=False)
        _ip("netns", "del", switch, check=False)


@dataclass
class Played:
    """Two sites on hosts of their own, and a store somewhere."""

    folder: Path
    oci: Host
    xserver: Host
    third: Host  # of etcd's last member, or of the bucket
    store: dict[str, Any]  # the arguments of open_store()
    stop_store: Callable[[], None]
    start_store: Callable[[], None]
    ttl_ms: int
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, host: Host) -> None:
        """The site of a host begins."""
        config = FailoverConfig(
            site=host.name, priority=("xserver", "oci"), lock_ttl_ms=self.ttl_ms, failback_delay_sec=1, hb_ttl_sec=10
        )
        memory = plan(config, self.store, [sys.executable, "-I", "-S", "-c", _BOT], ChildOptions())
        with (self.folder / f"log-{host.name}").open("ab") as log:
            command = [*host.prefix, *agent_command(memory)]
            env = {"PATH": os.environ["PATH"]}
            self.agents.append(
                subprocess.Popen(command, pass_fds=[memory], cwd=self.folder, env=env, stdout=log, stderr=log)
            )
        os.close(memory)

    def beats(self) -> list[tuple[int, str]]:
        """When a bot was seen to live (CLOCK_BOOTTIME, ms), and at which site."""
        file = self.folder / "beats"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(when), site) for when, site in (line.split() for line in lines if line.count(" ") == 1)]

    def live(self) -> str:
        """The site whose bot lives; empty if none does."""
        beats = self.beats()
        return beats[-1][1] if beats and boottime_ms() - beats[-1][0] < 300 else ""

    def until_live(self, site: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.live() != site:
            assert time.monotonic() < deadline, (
                f"{self.live() or 'nobody'} lives, not {site or 'nobody'}\n{self.logs()}"
            )
            time.sleep(0.02)

    def stands_by(self, host: Host, seconds: float) -> None:
        """Returns when this site waits for the other to lose the lead, and has watched it for a TTL."""
        deadline = time.monotonic() + seconds
        while "(held)" not in self.logs(host.name):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)
        time.sleep(1.2 * self.ttl_ms / 1000)

    def logs(self, *names: str) -> str:
        return "\n".join(
            f"--- {name}\n{path.read_text()}"
            for name in names or ("xserver", "oci")
            if (path := self.folder / f"log-{name}").exists()
        )

    def silence(self, since: int) -> int:
        """The longest time without a bot from then until now, in milliseconds."""
        times = [since, *(when for when, _ in self.beats() if when >= since), boottime_ms()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def judge(self) -> None:
        """Fails if two bots ever lived at one moment: then their beats alternate."""
        beats = sorted(self.beats())
        spans: list[tuple[str, int, int]] = []
        for when, site in beats:
            if spans and spans[-1][0] == site:
                spans[-1] = (site, spans[-1][1], when)
            else:
                spans.append((site, when, when))
        assert len(spans) <= 6, f"two bots at one moment: {spans}\n{self.logs()}"


Make = Callable[[Path, Host, Host, Host, ExitStack], tuple[dict[str, Any], Callable[[], None], Callable[[], None]]]


def redis_on_oci(folder: Path, oci: Host, _xserver: Host, _third: Host, _stack: ExitStack) -> Any:
    config = folder / "redis.conf"
    config.write_text(
        f"port 6379\nbind {oci.address}\nprotected-mode no\nappendonly yes\nappendfsync always\ndir {folder}\n"
    )
    server = Program([*oci.prefix, "redis-server", str(config)], folder / "redis.log")
    server.start()
    _until(lambda: _answers(oci, ["redis-cli", "-h", oci.address, "ping"]), "redis")
    return {"host": oci.address, "port": 6379}, server.kill, server.start


def bucket_in_the_cloud(folder: Path, _oci: Host, _xserver: Host, third: Host, stack: ExitStack) -> Any:
    server = S3(folder, address=third.address, prefix=third.prefix)
    stack.callback(server.kill)
    server.start()
    store = {
        "url": f"s3://{BUCKET}/bots?endpoint={server.endpoint}",
        "credentials": CREDENTIALS,
        "poll_ms": 500,
        "libraries": libraries(),
    }
    return store, server.kill, server.start


def etcd_on_all_three(folder: Path, oci: Host, xserver: Host, third: Host, stack: ExitStack) -> Any:
    three = (oci, xserver, third)
    cluster = Etcd(folder, [host.address for host in three], [host.prefix for host in three])
    stack.callback(cluster.kill)
    cluster.start()

    def stop() -> None:
        for member in (cluster.members[0], cluster.members[2]):
            member.kill()

    return {"url": f"etcd://{cluster.hosts}/bots"}, stop, cluster.start


STORES: dict[str, Make] = {"redis": redis_on_oci, "bucket": bucket_in_the_cloud, "etcd": etcd_on_all_three}


def _answers(host: Host, command: Sequence[str]) -> bool:
    return subprocess.run([*host.prefix, *command], capture_output=True, check=False).returncode == 0


def _until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, f"{what} did not answer in time"
        time.sleep(0.05)


@contextmanager
def played(store: str, folder: Path, ttl_ms: int) -> Iterator[Played]:
    """A store of this kind, two sites that run, of which xserver leads and oci stands by."""
    with hosts("oci", "xserver", "third") as (oci, xserver, third), ExitStack() as stack:
        options, stop_store, start_store = STORES[store](folder, oci, xserver, third, stack)
        play = Played(folder, oci, xserver, third, options, stop_store, start_store, ttl_ms)
        try:
            play.start(xserver)
            play.until_live("xserver", 30 + 2 * ttl_ms / 1000)
            play.start(oci)
            play.stands_by(oci, 20)
            yield play
            play.judge()
        finally:
            for agent in play.agents:
                agent.kill()
                agent.wait()
