"""A Docker engine for one test: Debian's dockerd, in a network of its own with a neighbour host beside it.

The engine's bridges, its NAT and the ports it publishes stay inside a network namespace, so that nothing of this
machine changes. Only building an image uses this machine's network, for packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# RFC 5737: addresses for documentation. The neighbour host has all but the first.
HOST, FRIEND, STRANGER, DISCORD = "203.0.113.1", "203.0.113.5", "203.0.113.6", "203.0.113.9"
_ENGINE_PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap", "ip": "iproute2"}
_TRIXIE_KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MIRROR = "http://deb.debian.org/debian"


def run(command: Sequence[str | Path], *, timeout: float = 120, **options: Any) -> str:
    """Runs a command to its end and returns its output; fails with what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        **options,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout[-4000:]}"
    return str(done.stdout)


def install_engine(cache: Path) -> Path:
    """Debian's engine where it is missing, and Compose v2, which Debian 12 does not have, from Debian 13; its path."""
    assert os.geteuid() == 0, "the compose test starts a Docker engine: run it as root"
    missing = [package for program, package in _ENGINE_PACKAGES.items() if not shutil.which(program)]
    if missing:
        _install_quietly(missing)
    plugin = cache / "plugins" / "docker-compose"
    if not plugin.exists():
        _unpack_trixie_package("docker-compose", cache / "compose")
        plugin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cache / "compose" / "usr/libexec/docker/cli-plugins/docker-compose", plugin)
    return plugin


def _install_quietly(packages: Sequence[str]) -> None:
    """Installs without starting the services that come along (Debian's policy-rc.d forbids it meanwhile)."""
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], timeout=300, env=environment)
    finally:
        if ours:
            policy.unlink()


def _unpack_trixie_package(package: str, folder: Path) -> None:
    """Fetches and unpacks one package of Debian 13 with apt, without a trace in this machine's own package lists."""
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_TRIXIE_KEY}] {_MIRROR} trixie main\n")
    options = [
        f"Dir::Etc::SourceList={sources}",
        "Dir::Etc::SourceParts=/dev/null",
        f"Dir::State::Lists={folder}/lists",
    ]
    apt = ["apt-get", "-qq", *(part for option in (*options, f"Dir::Cache={folder}/cache") for part in ("-o", option))]
    run([*apt, "update"])
    run([*apt, "download", package], cwd=folder)
    run(["dpkg", "-x", next(folder.glob("*.deb")), folder])


class Network:
    """Two hosts: the engine's, and a neighbour that has the addresses of a friend, of a stranger and of Discord."""

    def __init__(self) -> None:
        self._names = [f"rectbot-{os.getpid()}-{role}" for role in ("engine", "outside")]
        self.engine, self.outside = (self._inside(name) for name in self._names)

    @staticmethod
    def _inside(name: str) -> list[str]:
        """A command's prefix. `ip netns exec` would hide the control groups, which the engine needs."""
        return ["nsenter", f"--net=/run/netns/{name}"]

    def __enter__(self) -> Network:
        engine, outside = self._names
        for name in self._names:
            run(["ip", "netns", "add", name])
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        run(["ip", "-n", engine, "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", outside])
        for name, addresses in {engine: [HOST], outside: [FRIEND, STRANGER, DISCORD]}.items():
            for address in addresses:
                run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "wan"])
            run(["ip", "-n", name, "link", "set", "wan", "up"])
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


class Engine:
    """dockerd with its data in `folder`."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = f"unix://{folder}/docker.sock"
        self._client = folder / "client"
        (self._client / "cli-plugins").mkdir(parents=True, exist_ok=True)
        shutil.copy(plugin, self._client / "cli-plugins" / "docker-compose")

    @property
    def environment(self) -> dict[str, str]:
        """For commands that are to talk to this engine."""
        ours = {"DOCKER_HOST": self.socket, "DOCKER_CONFIG": str(self._client), "DOCKER_BUILDKIT": "0"}
        return {**os.environ, **ours}

    @contextmanager
    def running(self, prefix: Sequence[str] = (), options: Sequence[str] = ()) -> Iterator[None]:
        """The engine, started with `prefix` (a network namespace) and further options, until the block ends."""
        command = [*prefix, "dockerd", "--data-root", self.data, "--exec-root", self.folder / "exec"]
        command += ["--pidfile", self.folder / "pid", "--host", self.socket, "--shutdown-timeout", "30", *options]
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            self._wait(process)
            yield
        finally:
            process.terminate()
            process.wait(60)
            # It leaves its own network namespace mounted, which would keep the test's from going away.
            subprocess.run(["umount", self.folder / "exec/netns/default"], capture_output=True, check=False)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "info"], env=self.environment, capture_output=True, check=False).returncode:
            log = (self.folder / "dockerd.log").read_text()[-3000:]
            assert process.poll() is None, f"dockerd ended at once: {log}"
            assert time.monotonic() < deadline, f"dockerd does not answer: {log}"
            time.sleep(0.1)

    def docker(self, *arguments: str | Path, timeout: float = 600) -> str:
        """Runs `docker ...` and returns its output."""
        return run(["docker", *arguments], timeout=timeout, env=self.environment)


class Project:
    """The compose project in `home`, as an operator would run it there."""

    def __init__(self, engine: Engine, home: Path, override: Path, environment: Mapping[str, str]) -> None:
        self._engine, self._home = engine, home
        self._environment = {**engine.environment, **environment}
        self._files = ["-f", str(home / "docker-compose.monitoring.yml"), "-f", str(override)]

    def compose(self, *arguments: str, timeout: float = 600) -> str:
        """Runs `docker compose ...` in the project's folder."""
        command = ["docker", "compose", *self._files, *arguments]
        return run(command, timeout=timeout, cwd=self._home, env=self._environment)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What `docker inspect` says of each service's container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        found = json.loads(self._engine.docker("inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}
