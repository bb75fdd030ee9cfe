"""One running compose stack for all tests here: a real engine, stand-ins for the upstream images, our own image."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checkout import lay_out
from compose.engine import DISCORD, FRIEND, HOST, Engine, Network, Project, install_engine, run
from compose.images import ROOT, build_standins
from compose.stack import RECTBOT, Stack

CACHE = ROOT / "var" / "compose-test"
OVERRIDE = ROOT / "tests" / "compose" / "override.yml"
OPERATOR = 1000  # an operator who is not root: the containers must get at their secrets all the same
SETTINGS = {
    "DISCORD_BOT_TOKEN": "local-discord",
    "DISCORD_API_URL": f"http://{DISCORD}:9800/api/v10",
    "DISCORD_ALERT_WEBHOOK_URL": f"http://{DISCORD}:9800/api/webhooks/1/compose-test",
    "LOCK_TTL_MS": "6000",
    "FAILBACK_DELAY_SEC": "2",
    "COMPOSE_PROFILES": "redis-tls",
    "REDIS_BIND": HOST,
}
WITHOUT_NETWORK = ("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, started as an operator starts it; only what Debian does not have (Grafana, Loki, Alloy) stays away."""
    CACHE.mkdir(parents=True, exist_ok=True)
    home = _checkout(tmp_path_factory.mktemp("oci") / "home")
    engine = Engine(CACHE / "engine", install_engine(CACHE))
    project = Project(engine, home, OVERRIDE, {})
    with engine.running(options=WITHOUT_NETWORK):
        services = sorted(build_standins(engine, CACHE))
        project.compose("build", "bot", "hub", timeout=600)
        engine.docker("image", "prune", "--force")  # what the last run built
    with Network() as network, _discord(network), engine.running(network.engine):
        stack = Stack(engine, project, network, home)
        try:
            project.compose("up", "--detach", "--no-build", *services)
            yield stack
        finally:
            print(project.compose("ps", "--all"), project.compose("logs", "--no-color", "--tail", "30"))
            project.compose("down", "--volumes")


@contextmanager
def _discord(network: Network) -> Iterator[None]:
    """The local Discord, as far away as the real one: on the neighbour host."""
    command = [*network.outside, RECTBOT, "discord", "serve", "--host", DISCORD]
    process = subprocess.Popen([str(part) for part in command])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _checkout(home: Path) -> Path:
    """A copy of the committed and changed files, set up by `rectbot init` for an operator who is not root."""
    lay_out(home, ".", ":!tests")
    lines = (home / ".env.example").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in SETTINGS]
    (home / ".env").write_text("\n".join([*kept, *(f"{name}={value}" for name, value in SETTINGS.items())]) + "\n")
    environment = {**os.environ, "RECTBOT_HOME": str(home)}
    run([RECTBOT, "init", "--host", HOST, "--allow", FRIEND], cwd=home, env=environment)
    (home / "docker/monitoring/prometheus/targets/loki.yml").write_text("[]\n")
    for path in (home, *home.rglob("*")):
        os.chown(path, OPERATOR, OPERATOR)
    home.parent.chmod(0o755)
    return home
