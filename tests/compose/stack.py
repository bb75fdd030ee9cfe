"""The running compose stack under test, and the two hosts that a test looks from."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values

from compose.engine import DISCORD, Engine, Network, Project, run
from compose.images import ROOT
from localdiscord.journal import Entry

T = TypeVar("T")
RECTBOT = ROOT / ".venv" / "bin" / "rectbot"


def until(condition: Callable[[], T | None], what: str, timeout: float = 60) -> T:
    """Waits for a condition to hold, and returns what it returned."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.2)
    return value


@dataclass(frozen=True)
class Stack:
    """The running stack and the two hosts that a test looks from."""

    engine: Engine
    project: Project
    network: Network
    home: Path

    def inside(self, *command: str | Path) -> str:
        """Runs a command on the engine's host and returns its output."""
        return run([*self.network.engine, *command])

    def outside(self, *command: str | Path) -> str:
        """Runs a command on the neighbour host and returns its output."""
        return run([*self.network.outside, *command])

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers."""
        url = "http://127.0.0.1:9090/api/v1/query"
        answer = json.loads(self.inside("curl", "-sSf", "--data-urlencode", f"query={expression}", url))
        return list(answer["data"]["result"])

    def journal(self) -> list[Entry]:
        """What the local Discord saw."""
        return [
            json.loads(line) for line in self.outside("curl", "-sSf", f"http://{DISCORD}:9800/journal").splitlines()
        ]

    def secrets(self) -> dict[str, str]:
        """The secrets in .env by name."""
        names = ("REDIS_PASSWORD", "REDIS_PASSWORDS", "PUSHGATEWAY_PASSWORD", "DASHBOARD_ADMIN_PASSWORD")
        return {name: dotenv_values(self.home / ".env")[name] or "" for name in names}

    def elsewhere(self, **settings: str) -> dict[str, str]:
        """The environment of a rectbot on the neighbour host, which has a copy of the certificate and the passwords."""
        home = self.home.parent / "xserver"
        home.mkdir(exist_ok=True)
        shutil.copy(self.home / "docker/monitoring/tls/tls.crt", home / "tls.crt")
        return {**os.environ, "RECTBOT_HOME": str(home), **settings}
