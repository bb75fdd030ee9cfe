"""The supervisor's control socket: where it is, and that it is ours who answers there.

Whoever answers there tells which processes are ours, to be stopped or killed. So it lies in a folder that only its
owner may enter, and before anything is asked the kernel must say that the process at the other end has the same owner.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
import struct
import tempfile
import xmlrpc.client
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from rectbot.errors import RectbotError

_MAX_PATH = 107  # unix(7): sun_path has 108 bytes with the closing NUL
_NAME = "supervisor.sock"
_LINK = "socket-folder"  # in `var`: points to the folder, where the checkout lies too deep for a socket


def path(var: Path) -> Path:
    """Where the socket is, or would be; in `var` or, where that is too long, in the private folder that `var` names."""
    if _fits(var):
        return var / _NAME
    folder = _remembered(var)
    return (folder or var) / _NAME


def prepare(var: Path) -> None:
    """Makes the private folder where one is needed. Raises RectbotError when there is no place for a short path."""
    if _fits(var) or _remembered(var) is not None:
        return
    for base in _short_places():
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix="rectbot-", dir=base))  # 0700, with a name that nobody guesses
            if _fits(folder):
                (var / _LINK).unlink(missing_ok=True)
                (var / _LINK).symlink_to(folder)
                return
            folder.rmdir()
    raise RectbotError(f"{var}: is too long a path for a socket, and so is {tempfile.gettempdir()}; set TMPDIR")


def remove(var: Path) -> None:
    """Takes away the socket, and the folder made for it."""
    path(var).unlink(missing_ok=True)
    folder = _remembered(var)
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.rmdir()
    (var / _LINK).unlink(missing_ok=True)


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _NAME)) < _MAX_PATH - 12  # supervisord first makes it as NAME.PID


def _short_places() -> Iterator[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _private(Path(runtime), os.geteuid()):
        yield runtime
    yield tempfile.gettempdir()


def _remembered(var: Path) -> Path | None:
    """The folder that was made for the socket, if it still is the owner's alone."""
    try:
        folder = (var / _LINK).readlink()
    except OSError:
        return None
    return folder if _private(folder, owner(var)) else None


def _private(folder: Path, user: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not stat.S_IMODE(found.st_mode) & 0o077


def owner(var: Path) -> int:
    """Whose stack it is: the user id of the folder's owner; ours while there is none."""
    try:
        return var.stat().st_uid
    except FileNotFoundError:
        return os.geteuid()


def name_of(user: int) -> str:
    """A user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


class _Connection(HTTPConnection):
    def __init__(self, where: Path, user: int) -> None:
        super().__init__("localhost")
        self._where, self._user = where, user

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.fsencode(self._where))
        if (peer := peer_of(self.sock)) != self._user:
            self.close()
            raise RectbotError(
                f"{self._where}: is answered by a process of {name_of(peer)}, and the stack is {name_of(self._user)}'s;"
                " nothing was asked or stopped: find out who put that socket there"
            )


def peer_of(connection: socket.socket) -> int:
    """The user id of the process at the other end of a unix socket, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


class Transport(xmlrpc.client.Transport):
    """XML-RPC over the socket, after a look at who is there. Raises OSError, HTTPException, RectbotError."""

    def __init__(self, var: Path) -> None:
        super().__init__()
        self._where, self._user = path(var), owner(var)

    def make_connection(self, host: Any) -> HTTPConnection:
        """One for each proxy, which keeps it until it is closed."""
        connection = self._connection[1] or _Connection(self._where, self._user)
        self._connection = host, connection
        return connection
