"""A Redis group on free ports: a master, replicas, and Sentinels that watch over them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from servers import PASSWORD, Process, free_port

SERVICE = "bots"
SENTINEL_PASSWORD = "sentinel-password"


class Server(Process):
    """A redis-server or a Sentinel."""

    def __init__(self, folder: Path, name: str, password: str, config: str, *, sentinel: bool = False) -> None:
        self.port = free_port()
        self.password = password
        self._file = folder / f"{name}.conf"
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {password}\n"
            f"dir {folder}\nlogfile {folder}/{name}.log\n{config}"
        )
        self._mode = ["--sentinel"] if sentinel else []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["redis-server", str(self._file), *self._mode])

    def ask(self, line: str) -> list[str]:
        """Sends one command by hand; returns the first lines of the reply, empty when nobody answers."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            link.sendall(f"AUTH {self.password}\r\n{line}\r\nPING\r\n".encode())
            text = b""
            while b"+PONG" not in text and (data := link.recv(65_536)):
                text += data
            return text.decode().splitlines()[1:]
        return []


class Group:
    """One master, two replicas, three Sentinels."""

    def __init__(self, folder: Path) -> None:
        data = f"masterauth {PASSWORD}\nsave ''\nappendonly no\nrepl-diskless-sync-delay 0\n"
        self.master = Server(folder, "master", PASSWORD, data)
        follow = f"{data}replicaof 127.0.0.1 {self.master.port}\n"
        self.replicas = [Server(folder, f"replica{i}", PASSWORD, follow) for i in range(2)]
        _wait_for(lambda: all("master_link_status:up" in each.ask("INFO replication") for each in self.replicas))
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} 400\n"
            f"sentinel failover-timeout {SERVICE} 4000\n"
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
        )
        self.sentinels = [Server(folder, f"sentinel{i}", SENTINEL_PASSWORD, watch, sentinel=True) for i in range(3)]

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def pause(self) -> None:
        for server in self.servers:
            server.pause()

    def resume(self) -> None:
        for server in self.servers:
            server.resume()

    @property
    def servers(self) -> list[Server]:
        return [self.master, *self.replicas, *self.sentinels]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}?sentinel_password={SENTINEL_PASSWORD}"

    def seen_by(self, sentinel: Server) -> dict[str, str]:
        """What a Sentinel says of the master."""
        words = [line for line in sentinel.ask(f"SENTINEL MASTER {SERVICE}") if not line.startswith(("$", "*", "+"))]
        return dict(zip(words[::2], words[1::2], strict=False))

    def watched(self) -> bool:
        """Whether the Sentinels have found each other and the replicas."""
        return all(
            (seen.get("num-slaves"), seen.get("num-other-sentinels"), seen.get("flags")) == ("2", "2", "master")
            for seen in map(self.seen_by, self.sentinels)
        )


def _wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, "the Redis group did not come together"
        time.sleep(0.05)


@contextlib.contextmanager
def redis_group(folder: Path) -> Iterator[Group]:
    group = Group(folder)
    try:
        _wait_for(group.watched)
        yield group
    finally:
        group.kill()
