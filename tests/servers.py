"""Real servers for tests: on a free port of 127.0.0.1, data in a folder of the test, stopped by their own pid."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rectbot.settings import BASE_PORTS

PASSWORD = "test-password"


async def until(met: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for a condition that nothing announces. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class _Claims:
    """The ports that the tests of this machine have in use or in mind, so that no two of them take the same.

    A claim is a lock on one byte of a file that all test processes share; the kernel lets go of it with its process.
    """

    _KEPT = 300  # whoever asked for that many later ones has long started what listens on the first

    def __init__(self) -> None:
        self._file = (Path(tempfile.gettempdir()) / f"rectbot-test-ports-{os.getuid()}").open("wb")
        self._ours: set[int] = set()  # a lock does not keep out its own process
        self._single: deque[int] = deque()

    def claim(self, port: int) -> bool:
        """Whether the port is free, and nobody else's from now on."""
        if port in self._ours:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        self._ours.add(port)
        if _is_free(port):
            return True
        self.release(port)
        return False

    def release(self, port: int) -> None:
        self._ours.remove(port)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, port)

    def one(self) -> int:
        while not self.claim(port := random.randrange(*_PORTS)):
            pass
        self._single.append(port)
        if len(self._single) > self._KEPT:
            self.release(self._single.popleft())
        return port

    def all(self, ports: Sequence[int]) -> bool:
        """Claims all of them, for good, or none."""
        claimed = [port for port in ports if self.claim(port)]
        if len(claimed) == len(ports):
            return True
        for port in claimed:
            self.release(port)
        return False


_PORTS = (23_000, 32_000)  # below those that the kernel gives to clients
_claims = _Claims()


def free_port() -> int:
    """A port that nobody listens on, and that no other test gets."""
    return _claims.one()


def free_offset() -> int:
    """A port offset at which every port of a stack is free."""
    while True:
        offset = random.randrange(11_000, 22_000, 20)
        if _claims.all([port + offset for port in (*BASE_PORTS.values(), BASE_PORTS["link"] + 1)]):
            return offset


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def stop(pid: int) -> None:
    """SIGSTOP, and waits until all threads stand still."""
    os.kill(pid, signal.SIGSTOP)
    while any(_state(task) != "T" for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(") ")[2][0]


class Process:
    """What can happen to a server's process."""

    process: subprocess.Popen[bytes] | None = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def pause(self) -> None:
        assert self.process is not None
        stop(self.process.pid)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class RedisServer(Process):
    """A redis-server with a password, that can be killed, paused and started again on the same data."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = PASSWORD
    persistent: bool = True
    host: str = "127.0.0.1"
    program: str = "redis-server"
    more: str = ""  # further lines of redis.conf
    process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Starts it, and does not wait for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        config.write_text(
            f"port {self.port}\nbind {self.host}\nrequirepass {self.password}\ndir {self.folder}\nsave ''\n"
            f"appendonly {'yes' if self.persistent else 'no'}\nappendfsync always\nlogfile {self.log}\n"
            f"{self.more}"
        )
        self.process = subprocess.Popen([self.program, str(config)])

    def start(self) -> None:
        self.launch()
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, AssertionError):
                assert self.command("PING") == b"+PONG\r\n"
                return
            assert self.process is not None
            assert self.process.poll() is None, f"redis-server ended: {self.log.read_text()[-500:]}"
            assert time.monotonic() < deadline, "redis-server did not answer within 10 s"
            time.sleep(0.01)

    def command(self, line: str) -> bytes:
        """Sends one command by hand, past any client of ours; returns the raw reply, if it is short."""
        with socket.create_connection((self.host, self.port), timeout=5) as link:
            link.sendall(f"AUTH {self.password}\r\n{line}\r\n".encode())
            answers = link.makefile("rb")
            assert answers.readline() == b"+OK\r\n"
            return answers.readline()

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.host}:{self.port}/0"


@contextlib.contextmanager
def redis_server(
    folder: Path,
    *,
    persistent: bool = True,
    program: str = "redis-server",
    host: str = "127.0.0.1",
    more: str = "",
) -> Iterator[RedisServer]:
    server = RedisServer(folder, persistent=persistent, program=program, host=host, more=more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
