"""Two clean hosts, with only Debian and the wheel: a person sets them up, and then either of them dies.

What is typed is what docs/production.md says, and it is counted: less than 25 commands and answers. How long it took is
printed; ten minutes beside the downloads are plenty, unless the machine has other things to do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hosts
import wheels
from clean_hosts import Machine, machines
from e2e.stack import until
from lease_servers import Etcd

TOKEN = "two-hosts"
TYPED = 25
TTL_S = 20

pytestmark = [
    pytest.mark.skipif(not hosts.may_have_hosts(), reason="hosts are network namespaces here, which takes root"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.index(tmp_path_factory.mktemp("wheels"))


@dataclass
class Scene:
    """The monitoring host, the other one, and the world beside, in which Discord is."""

    monitoring: Machine
    other: Machine
    wires: list[hosts.Host]
    say: Callable[[str], None]
    installed: dict[str, Path]

    @property
    def world(self) -> hosts.Host:
        return self.wires[-1]

    def lease(self, seen_from: Machine) -> dict[str, Any]:
        """What the store knows of the lease, as a host sees it; nobody leads where it cannot tell."""
        told = seen_from.ask("rectbot failover status --json").stdout
        return json.loads(told) if told.startswith("{") else {"leader": None, "sites": {}}

    def leader(self, seen_from: Machine) -> str:
        """The site that leads, as a host sees it; empty: none, or it cannot tell."""
        leader = self.lease(seen_from)["leader"]
        return str(leader["site"]) if leader else ""

    def is_alive(self, machine: Machine) -> bool:
        """Whether the other host's bot hears of this one's."""
        site = self.lease(self.other)["sites"].get(machine.wire.name)
        return site is not None and float(site["heartbeat_age_s"]) < TTL_S / 3

    def until_leads(self, machine: Machine, seconds: float, why: str) -> None:
        """Until the site of this host leads, as it sees it itself."""
        try:
            until(lambda: self.leader(machine) == machine.wire.name, seconds, why)
        except AssertionError as error:
            words = "rectbot failover status; rectbot doctor; tail -n 20 var/*.log var/main/log/bot-*.log"
            raise AssertionError(f"{error}\n{machine.ask(words).stdout}") from None


@pytest.fixture(scope="module")
def installed() -> dict[str, Path]:
    """Where the virtual environments of extras are."""
    return {}


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    index: Path,
    installed: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Scene]:
    """Hosts of these two names, the monitoring one first."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    with machines(tmp_path, index, *request.param) as (rented, wires):
        world = wires[-1]
        words = ["discord", "serve", "--host", world.address, "--port", "9800", "--token", TOKEN]
        with (tmp_path / "discord.log").open("ab") as log:
            serving = subprocess.Popen(
                [*world.prefix, sys.executable, "-m", "rectbot", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=tmp_path,
            )
        yield Scene(rented[0], rented[1], wires, say, installed)
        serving.kill()
        serving.wait()


def _install(machine: Machine, extras: str, done: dict[str, Path]) -> None:
    """As a person does; what is installed once is taken again by the tests after it."""
    commands = ("python3 -m venv ~/rectbot", ". ~/rectbot/bin/activate", f"pip install --quiet 'rectbot[{extras}]'")
    if (there := done.get(extras)) is not None:
        (machine.disk / "rectbot").symlink_to(there)
        machine.booked.commands += [f"{machine.wire.name}$ {command}" for command in commands]
        return
    for command in commands:
        machine.types(command)
    done[extras] = machine.disk / "rectbot"


def _set_up(at: Scene, **settings: str) -> None:
    """Both hosts, from nothing to all that doctor asks for."""
    here, there, discord = at.monitoring, at.other, f"http://{at.world.address}:9800/api"
    _install(here, "stack,s3", at.installed)
    here.types(f"rectbot init --host {here.address} --allow {there.address} --ttl 20s")
    here.types("scripts/debian.sh servers")
    here.writes(
        DISCORD_BOT_TOKEN=TOKEN,
        DISCORD_ALERT_WEBHOOK_URL=f"{discord}/webhooks/1/token",
        PUSH_PROXY_BIND=here.address,
        **settings,
    )
    with (here.folder / ".env").open("a") as env:  # what nobody has to say in production
        env.write(f"DISCORD_API_URL={discord}/v10\n")
    if "FAILOVER_PRIORITY" in settings:
        here.types("rectbot init")
    here.types(f"rectbot up --detach --site {here.wire.name}")
    start = f"{here.disk}/rectbot/bin/rectbot up --detach --site {here.wire.name}"
    here.types(f"echo '@reboot cd {here.folder} && {start} >/dev/null 2>&1' | crontab -")

    _install(there, "bot,s3", at.installed)
    line = here.types(f"rectbot invite {there.wire.name} --plain").strip()
    joined = there.types(f"rectbot join {line} --no-install")
    assert "FAIL" not in joined
    assert "WARN" not in joined, joined
    there.types(f"rectbot install --site {there.wire.name} --cron | crontab -")
    there.cron()
    at.until_leads(there, 60, "the bot of the preferred site leads")
    for machine in (here, there):
        try:
            until(partial(_is_well, machine, there), 60, f"all is well on {machine.wire.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{machine.ask('rectbot doctor').stdout}") from None
        machine.types("rectbot doctor")
    at.say(f"{at.monitoring.wire.name} and {at.other.wire.name}: {here.booked}")
    assert here.booked.typed < TYPED


def _is_well(machine: Machine, pushes: Machine) -> bool:
    """Whether doctor says PASS to all; what contains a bot the kernel under us decides."""
    pushes.cron()
    lines = machine.ask("rectbot doctor").stdout.splitlines()
    broken = {line.split()[1] for line in lines if line.startswith(("WARN", "FAIL"))}
    return broken <= {"containment"} and any(line.startswith("PASS") for line in lines)


def _either_dies(at: Scene, back: Callable[[], None]) -> None:
    """First the one that stands by, and watches; then the one that leads. `back`: the first has power again."""
    before = at.lease(at.other)["leader"]
    at.monitoring.lose_power()
    began = time.monotonic()
    while time.monotonic() - began < 1.5 * TTL_S:
        leader = at.lease(at.other)["leader"]
        assert (leader["site"], leader["epoch"]) == (before["site"], before["epoch"]), "the bot goes on"
    back()
    at.monitoring.boot()
    until(lambda: at.is_alive(at.monitoring), 60, "the monitoring host starts again, and its bot stands by")
    at.other.lose_power()
    at.until_leads(at.monitoring, 3 * TTL_S, "the monitoring host's bot takes over")


@pytest.mark.parametrize("scene", [("oci", "xserver")], indirect=True)
def test_either_host_may_die_with_the_lease_in_a_bucket(scene: Scene, tmp_path: Path) -> None:
    with ExitStack() as stack:
        oci, xserver, world = scene.wires
        store, *_ = hosts.bucket_in_the_cloud(tmp_path / "bucket", oci, xserver, world, stack)
        key = store["credentials"]
        _set_up(
            scene,
            LEASE_URL=store["url"],
            AWS_ACCESS_KEY_ID=key["access_key_id"],
            AWS_SECRET_ACCESS_KEY=key["secret_access_key"],
            AWS_REGION=key["region"],
        )
        _either_dies(scene, lambda: None)


@pytest.mark.parametrize("scene", [("oci", "xserver")], indirect=True)
def test_either_host_may_die_with_the_lease_in_etcd(scene: Scene, tmp_path: Path) -> None:
    cluster = Etcd(tmp_path / "etcd", [wire.address for wire in scene.wires], [wire.prefix for wire in scene.wires])
    member = cluster.members[0]

    def starts_again() -> None:
        member.kill()
        member.start()

    cluster.start()
    try:
        _set_up(scene, LEASE_URL=f"etcd://{cluster.hosts}/bots")
        _either_dies(scene, starts_again)
    finally:
        cluster.kill()


@pytest.mark.parametrize("scene", [("beta", "alpha")], indirect=True)
def test_with_redis_and_wholly_other_names_the_monitoring_host_takes_over(scene: Scene) -> None:
    """With Redis on it that host must live; its bot's site and the other one hand the lead to each other."""
    beta, alpha = scene.monitoring, scene.other
    _set_up(scene, REDIS_BIND=beta.address, FAILOVER_PRIORITY="alpha,beta,gamma", PUSH_JOBS="alpha:mybot")
    alpha.lose_power()
    scene.until_leads(beta, 3 * TTL_S, "the other host takes over from a dead one")
    alpha.boot()
    alpha.cron()
    scene.until_leads(alpha, 60, "and hands back when that one is there again")
    beta.ask("rectbot site kill beta")
    assert scene.leader(beta) == "alpha"
    beta.ask("rectbot down")
