"""Every client of ours against a name that has a dead address first, and against a resolver that does not answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from addresses import free_port_of, give_hosts, hanging_resolver, swallowing, with_hosts
from loki_stand_in import stand_in
from servers import RedisServer
from servers_monitoring import PASSWORD, local_discord, make_certificate, push_proxy, pushgateway, until

NAME = "oci-host"  # without a dot, as a container's: the local Discord knows no other
TTL_S = 2.0
BUSY_S = 6  # to start two small processes; packets that are dropped cost minutes
DEAD = {"IPv6 that is dropped": "::1", "a first address that is dead": "127.83.1.1"}


@dataclass
class Host:
    """Where commands see NAME as the test wants it."""

    folder: Path
    hosts: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        return [*with_hosts(self.hosts), sys.executable, "-m", "rectbot", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self._environment(), cwd=self.folder,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*words), env=self._environment(), cwd=self.folder, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "RECTBOT_HOME": str(self.folder), **self.environment}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, tmp_path / "hosts")


@contextmanager
def dead_first(host: Host, dead: str, port: int) -> Iterator[None]:
    """NAME is `dead`, which swallows what comes to the port, and 127.0.0.1."""
    host.hosts.write_text(f"{dead} {NAME}\n127.0.0.1 {NAME}\n127.0.0.1 localhost\n")
    with swallowing(dead, port):
        yield


@contextmanager
def under_the_lease(host: Host, redis: RedisServer, name: str = NAME) -> Iterator[subprocess.Popen[bytes]]:
    """A program that writes down its epoch when it begins."""
    host.environment = {
        "FAILOVER_ENABLED": "true",
        "SITE_ID": "oci",
        "REDIS_URL": f"redis://:{redis.password}@{name}:{redis.port}",
        "LOCK_TTL_MS": str(int(TTL_S * 1000)),
    }
    script = 'echo "$RECTBOT_EPOCH" >>ran; exec sleep 60'
    with host.started("failover", "run", "--", "sh", "-c", script) as process:
        yield process


def started(host: Host) -> int:
    """How often the program was started."""
    ran = host.folder / "ran"
    return len(ran.read_text().split()) if ran.exists() else 0


@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
def test_a_site_leads_within_its_ttl_and_two_seconds(dead: str, host: Host, tmp_path: Path) -> None:
    """Its Redis is new, so one TTL passes first."""
    redis = RedisServer(tmp_path / "redis", port=free_port_of("127.0.0.1", dead))
    redis.start()
    try:
        with dead_first(host, dead, redis.port), under_the_lease(host, redis) as process:
            until(lambda: _is_agent(process.pid), "the settings are read", 60)
            began = time.monotonic()
            until(lambda: started(host) == 1, "it leads", 60)
            assert time.monotonic() - began < TTL_S + 2 + BUSY_S
    finally:
        redis.kill()


def _is_agent(pid: int) -> bool:
    """Whether the command line, which takes its time on a busy machine, has become what speaks to Redis."""
    return b"-I" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
def test_pushes_logs_alerts_and_the_doctor_get_through(dead: str, host: Host, tmp_path: Path) -> None:
    make_certificate(tmp_path, (NAME,))
    (tmp_path / "nginx").mkdir()
    for file in ("tls.crt", "tls.key"):
        (tmp_path / file).rename(tmp_path / "nginx" / file)
    log = tmp_path / "bot.log"
    log.write_text("one line\n")
    with ExitStack() as stack:
        loki = stack.enter_context(stand_in())
        behind = stack.enter_context(pushgateway(tmp_path))
        proxy = stack.enter_context(push_proxy(tmp_path / "nginx", behind, loki_port=loki.port))
        discord = stack.enter_context(local_discord(tmp_path))
        stack.enter_context(dead_first(host, dead, proxy.port))
        stack.enter_context(swallowing(dead, discord.port))
        host.environment = {
            "PUSHGATEWAY_URL": proxy.url(host=NAME),
            "PUSHGATEWAY_PASSWORD": PASSWORD,
            "PUSHGATEWAY_CACERT": str(proxy.certificate),
            "LOKI_URL": f"https://{NAME}:{proxy.port}",
            "DISCORD_ALERT_WEBHOOK_URL": discord.webhook_url.replace("127.0.0.1", NAME),
            "SITE_ID": "xserver",
        }
        for words in (("push",), ("logs", "ship", "--once", str(log)), ("alert", "hello")):
            done = host.run(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
        report = json.loads(host.run("doctor", "--json").stdout)
        found = {check["name"]: check["result"] for check in report["checks"]}
        assert (found["push"], found["webhook"]) == ("PASS", "PASS"), report


def test_an_alert_says_that_it_waits_for_a_resolver_and_gives_up_within_seconds(host: Host) -> None:
    host.hosts = hanging_resolver(host.folder)
    host.environment = {"DISCORD_ALERT_WEBHOOK_URL": f"https://{NAME}/api/webhooks/1/secret-token"}
    began = time.monotonic()
    done = host.run("alert", "hello")
    assert time.monotonic() - began < 11 + BUSY_S, "it once took a minute"
    assert done.returncode == 1
    told = done.stderr.splitlines()
    assert [f"the name {NAME} is not found" in line for line in told] == [True, True]
    assert "trying again for" in told[0]
    assert "not delivered" in told[1]
    assert "secret-token" not in done.stderr


def test_sigterm_does_not_wait_for_a_resolver_that_hangs(host: Host, redis: RedisServer) -> None:
    host.hosts = hanging_resolver(host.folder)
    with under_the_lease(host, redis) as process:
        until(lambda: "cannot be looked up" in (host.folder / "log").read_text(), "it says why", 30)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 10, "a resolver takes 20 s and more, and this one for ever"
    assert started(host) == 0


def test_a_lost_connection_is_mended_though_the_resolver_hangs(host: Host, redis: RedisServer) -> None:
    host.hosts.write_text(f"127.0.0.1 {NAME}\n")
    with under_the_lease(host, redis) as process:
        until(lambda: started(host) == 1, "it leads", 20)
        give_hosts(process.pid, hanging_resolver(host.folder))
        for _ in range(3):
            redis.command("CLIENT KILL TYPE normal")
            time.sleep(TTL_S / 3)
        time.sleep(TTL_S)
        assert started(host) == 1, "the lead was kept"
        assert redis.command("EXISTS rectbot:leader") == b":1\r\n"


def test_a_leader_follows_a_name_that_moved_when_its_redis_was_made_a_replica(host: Host, tmp_path: Path) -> None:
    """It answers READONLY, and goes on answering: nothing but that answer tells that it is no longer the one."""
    old = RedisServer(tmp_path / "old", port=free_port_of("127.0.0.1", "127.83.1.2"))
    new = RedisServer(tmp_path / "new", port=old.port, host="127.83.1.2")
    new.more = f"replicaof 127.0.0.1 {old.port}\nmasterauth {old.password}\n"
    host.hosts.write_text(f"127.0.0.1 {NAME}\n")
    old.start()
    try:
        new.start()
        with under_the_lease(host, old):
            until(lambda: started(host) == 1, "it leads", 20)
            until(lambda: new.command("EXISTS rectbot:leader") == b":1\r\n", "it is replicated", 20)
            new.command("REPLICAOF NO ONE")
            old.command(f"CONFIG SET masterauth {new.password}")
            old.command(f"REPLICAOF 127.83.1.2 {new.port}")
            host.hosts.write_text(f"127.83.1.2 {NAME}\n")
            moved = _expiry(new)
            until(lambda: _expiry(new) > moved + TTL_S * 1000, "it renews there", 20)
    finally:
        old.kill()
        new.kill()


def _expiry(redis: RedisServer) -> int:
    """Unix time in milliseconds; less than 0 where there is no lock."""
    return int(redis.command("PEXPIRETIME rectbot:leader")[1:])
