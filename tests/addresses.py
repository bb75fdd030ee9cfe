"""Names and addresses that misbehave, by the kernel's own means: no mock, and no root where user namespaces are."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import free_port

_SHELL = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
_NAMESPACE = () if os.geteuid() == 0 else ("--user", "--map-root-user")
_ENTER = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")


@contextmanager
def swallowing(host: str, port: int = 0) -> Iterator[int]:
    """A port to which connections are neither made nor refused: Linux drops a SYN while the backlog is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as first:
        listener.bind((host, port))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield int(listener.getsockname()[1])


def free_port_of(*hosts: str) -> int:
    """A port that is free at all of these addresses."""
    while True:
        port = free_port()
        try:
            for host in hosts:
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                    probe.bind((host, port))
        except OSError:
            continue
        return port


def with_hosts(file: Path) -> tuple[str, ...]:
    """What to put before a command so that it, and nobody else, has `file` in the place of /etc/hosts.

    With a FIFO its resolver hangs.
    """
    return ("unshare", *_NAMESPACE, "--mount", "sh", "-c", _SHELL, "sh", str(file))


def give_hosts(pid: int, file: Path) -> None:
    """Puts another file there, for a process that was started `with_hosts`."""
    command = ["nsenter", f"--target={pid}", *_ENTER, "--mount", "mount", "--bind", str(file), "/etc/hosts"]
    subprocess.run(command, check=True)


def hanging_resolver(folder: Path) -> Path:
    """A file for `with_hosts` that no look-up ever gets to the end of."""
    path = folder / "no-answer"
    if not path.exists():
        os.mkfifo(path)
    return path
