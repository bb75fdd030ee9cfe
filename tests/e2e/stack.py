"""A real stack for the end-to-end tests: a home and ports of its own, and the command line as a person uses it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from checkout import lay_out
from localdiscord.journal import Entry, fetch
from rectbot.settings import BASE_PORTS
from servers import free_offset

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
TTL_SECONDS = 6.0  # of the local demo
POLL_SECONDS = 0.05


def until(condition: Callable[[], T | None], timeout: float, what: str) -> T:
    """Waits for a condition to hold and returns what it returned.

    The time is what an idle machine needs, in seconds; twice that is given. Looking takes at most half of it, as most
    conditions start a program, and the stack is to get on meanwhile.
    """
    deadline = time.monotonic() + 2 * timeout
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"{what}: not within {2 * timeout:.0f} s")
        time.sleep(max(POLL_SECONDS, now - began))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Stack:
    """One stack under test."""

    home: Path
    offset: int = field(default_factory=free_offset)

    @classmethod
    def prepare(cls, home: Path) -> Stack:
        """A home with what git holds, and nothing else."""
        lay_out(home)
        return cls(home)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a person's shell, without settings of whoever runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return kept | {"RECTBOT_HOME": str(self.home), "RECTBOT_PORT_OFFSET": str(self.offset)}

    @property
    def var(self) -> Path:
        return self.home / "var" / f"offset-{self.offset}"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{BASE_PORTS[name] + self.offset}"

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 240, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `rectbot ARGUMENTS` to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment | extra,
            cwd=self.home,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"rectbot {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Starts `rectbot ARGUMENTS` as a shell would, with its output in a pipe."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment | extra,
            cwd=self.home,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "rectbot", *arguments]

    def status(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.run("status", "--json", check=False).stdout)
        return report

    def leader(self) -> str | None:
        leader = self.status()["leader"]
        return leader["site"] if leader else None

    def journal(self) -> list[Entry]:
        return fetch(self.url("discord"))

    def leftovers(self) -> list[int]:
        """Process ids of this stack, found by looking at every process there is."""
        mark = f"RECTBOT_STACK={self.var}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
                except OSError:
                    continue
        return found

    def open_ports(self) -> list[str]:
        """The parts whose port somebody listens on."""
        return [name for name, port in BASE_PORTS.items() if _listens(port + self.offset)]

    def destroy(self) -> None:
        """Stops the stack whatever state it is in, without the code under test."""
        for _ in range(3):
            for pid in self.leftovers():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
