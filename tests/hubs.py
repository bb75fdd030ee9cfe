"""A hub with its console, with nothing around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rectbot.settings import BASE_PORTS
from servers import free_port


@dataclass
class Hub:
    process: subprocess.Popen[bytes]
    metrics: int
    console: int
    log: Path

    def get(self, path: str, port: int | None = None) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.console}{path}") as answer:
            return str(answer.read().decode())


@contextmanager
def hub(folder: Path, **settings: str) -> Iterator[Hub]:
    """A hub whose Redis, Prometheus, Alertmanager and Loki are not there."""
    offset, console = free_port() - BASE_PORTS["hub"], int(settings.get("CONSOLE_PORT") or free_port())
    environment = {
        "PATH": os.environ["PATH"],
        "RECTBOT_HOME": str(folder),
        "RECTBOT_PORT_OFFSET": str(offset),
        "REDIS_PORT": str(free_port()),
        "CONSOLE_PORT": str(console),
        **{f"CONSOLE_{name}_URL": f"http://127.0.0.1:{free_port()}" for name in ("PROMETHEUS", "ALERTMANAGER", "LOKI")},
    } | settings
    log = folder / "log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "rectbot", "hub", "serve"]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=file, stderr=file)
    found = Hub(process, BASE_PORTS["hub"] + offset, console, log)
    try:
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
    assert "Traceback" not in log.read_text()


def wait(hub: Hub, word: str) -> None:
    deadline = time.monotonic() + 90
    while word not in hub.log.read_text():
        assert hub.process.poll() is None, hub.log.read_text()
        assert time.monotonic() < deadline, hub.log.read_text()
        time.sleep(0.05)
