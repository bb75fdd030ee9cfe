"""Runs the programs of one workload, and ends them, and whatever they have started, when the lease ends.

`rectbot failover run` starts it as `python -I -S keeper.py FD`, with the standard library only and a socket at FD. It
is the parent of all that runs under the lease, so nothing gets away from it: not while the process that set the
deadline is paused, nor by that process's death, nor by leaving the process group, since orphans become its children.
When it is killed itself, the kernel kills its programs, and what they have started falls to the process that started
it.

A message is one packet of words with a NUL between them. Received:

    deadline MS                         of CLOCK_BOOTTIME; 0: nothing may run
    spawn NAME [VARIABLE=VALUE...] -- COMMAND [ARGUMENT...]
    signal NAME NUMBER                  to the program's process group

Sent: `ended NAME STATUS`, with the status of waitpid(2). `main` has ended when nothing at all is left: what it leaves
behind is killed, but when it was told to stop, the rest of its process group may first finish what it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

MAIN, CHECK = "main", "check"
_MAIN = MAIN.encode()
LIMIT = 200_000  # bytes in a packet; the kernel's default for a socket is 208 KiB
NOT_STARTED = signal.SIGKILL  # the wait status of a program for which there was no time left

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <sys/prctl.h>
_NO_SUCH_COMMAND, _CANNOT_EXECUTE = 127, 126  # as shells have it
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # systemd sends them to every process of a service


def adopt_orphans() -> None:
    """From now on a process whose parent dies becomes a child of this one, if it descends from it.

    Raises OSError where the kernel does not tell who our children are (it does on all common distributions).
    """
    Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> bool:
    """Kills all children of this process and reaps those that are dead; True when none is left.

    Their own children become ours: repeat it until it returns True. Only we reap them, so no number can be another's.
    """
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile, a child that we may not kill
            for pid in (task / "children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
        return False
    return True


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


class _Keeper:
    def __init__(self, fd: int) -> None:
        sys.path.append(str(Path(__file__).parent))  # not the package: that would load all of it
        from clock import Alarm, boottime_ms  # type: ignore[import-not-found]  # noqa: PLC0415

        self._fd = fd
        self._now = boottime_ms
        self._alarm = Alarm()
        self._deadline = 0
        self._programs: dict[bytes, int] = {}  # process id by name
        self._stopping = False  # main was told to
        self._ended: int | None = None  # main's status, while others of its group live on

    def run(self) -> None:
        """Serves until the other end of the socket is closed, whatever closed it."""
        child_died, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._fd, self._alarm, child_died], [], [])
            # Messages come first: if we were slow, a renewal may be among them. A spawn looks at the clock itself.
            if self._fd in ready and not self._receive_all():
                break
            if self._deadline and self._now() >= self._deadline:
                self._end_all()
                self._deadline = 0
            if child_died in ready:
                os.read(child_died, 4096)
                self._reap()
            self._alarm.clear()
        self._end_all()

    def _receive_all(self) -> bool:
        """Handles what has arrived; False when the other end is closed."""
        with contextlib.suppress(BlockingIOError):
            while packet := self._read():
                kind, name, *words = packet.split(b"\0")
                if kind == b"deadline":
                    self._deadline = int(name)
                    self._alarm.set(self._deadline or None)
                elif kind == b"spawn":
                    split = words.index(b"--")
                    self._spawn(name, words[:split], words[split + 1 :])
                elif kind == b"signal":
                    self._signal(name, int(words[0]))
            return False
        return True

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, LIMIT)
        except ConnectionError:
            return b""

    def _signal(self, name: bytes, number: int) -> None:
        if pid := self._programs.get(name):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
                if number == signal.SIGTERM:
                    self._stopping = True
                    os.killpg(pid, signal.SIGCONT)  # what is stopped could not obey

    def _spawn(self, name: bytes, variables: list[bytes], command: list[bytes]) -> None:
        if self._now() >= self._deadline:  # also when none is set
            self._report(name, NOT_STARTED)
            return
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(own, variables, command)
        with contextlib.suppress(OSError):  # it did so itself, and is past exec
            os.setpgid(pid, pid)
        self._programs[name] = pid
        if name == _MAIN:
            self._stopping = False

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = found
                name = next((name for name, known in self._programs.items() if known == pid), None)
                if name == _MAIN:
                    self._ended = status
                elif name:
                    del self._programs[name]
                    self._report(name, status)
        if self._ended is not None and not (self._stopping and _group_lives(self._programs[_MAIN])):
            self._end_all(self._ended)

    def _end_all(self, status: int = signal.SIGKILL) -> None:
        """Returns when nothing is left. The whole groups go first, then what has left them."""
        for pid in self._programs.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while not end_children():
            time.sleep(0.001)
        ended, self._programs, self._ended = self._programs, {}, None
        for name in ended:
            self._report(name, status if name == _MAIN else signal.SIGKILL)

    def _report(self, name: bytes, status: int) -> None:
        with contextlib.suppress(ConnectionError):
            os.write(self._fd, b"ended\0%b\0%d" % (name, status))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else
        pass
    return True


def _become(keeper: int, variables: list[bytes], command: list[bytes]) -> None:
    """Turns this process, just forked, into the program. Never returns."""
    status, reason = _CANNOT_EXECUTE, "its keeper is gone"
    try:
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:  # else it has died before the line above
            for number in (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores the last two
                signal.signal(number, signal.SIG_DFL)
            os.environb.update((name, value) for name, _, value in (word.partition(b"=") for word in variables))
            os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError as error:
        status, reason = _NO_SUCH_COMMAND, str(error.strerror)
    except OSError as error:
        reason = str(error.strerror)
    finally:
        with contextlib.suppress(OSError):
            os.write(2, b"%b: %b\n" % (command[0], reason.encode()))
        os._exit(status)  # whatever happened: there must be no second keeper


def main() -> None:
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    _Keeper(fd).run()


if __name__ == "__main__":
    main()
