"""Ends what runs under a lease when that is over, with no help from the process that renews it.

It is started as `python -I -S watchdog.py FD DEADLINE KIND`, with the standard library only, a socket at FD, and the
deadline in milliseconds of CLOCK_BOOTTIME, 0 for none: from its first moment it knows when to strike. Whoever started
it may be paused (SIGSTOP, a debugger, a machine that swaps) or killed; a lease is over all the same. KIND is

    namespace   It is the parent of the programs, and the first process of a PID namespace where that is allowed: what
                is in there ends with it, whatever it is.
    ties        It is the parent of the programs, and orphans become its children. When it is killed, the kernel kills
                its programs, and what they have started falls to the process that started it.
    PID         It runs no programs, and kills that process.

A message is one packet of words with a NUL between them. Received:

    deadline MS                         0: nothing may run
    spawn NAME [VARIABLE=VALUE...] -- COMMAND [ARGUMENT...]
    prepare NAME ...                    the same for a program that waits for the lease, and so needs no deadline
    signal NAME NUMBER                  to the program's process group

A descriptor that comes with a spawn is inherited by the program; RECTBOT_LEASE_FD in its environment says which it is.
Sent: `watches PID KIND`, once, and `ended NAME STATUS [WHY]`, with the status of waitpid(2), or why there was nothing
to wait for. `main` has ended when nothing at all is left: what it leaves behind is killed, but when it was told to
stop, the rest of its process group may first finish what it does.
"""

from __future__ import annotations

import _socket  # `socket` costs half a megabyte
import contextlib
import os
import select
import signal
import sys
import time

if __name__ == "__main__":  # `-I -S` leaves it out, and all that we do not need with it
    sys.path.append(os.path.abspath(__file__).rsplit(os.sep, 4)[0])

from rectbot.failover.clock import Alarm, boottime_ms
from rectbot.failover.process.containment import NAMESPACE, TIES, adopt_orphans, end_children, enter, prctl

MAIN = b"main"
LIMIT = 200_000  # bytes in a packet; the kernel's default for a socket is 208 KiB
NOT_STARTED = int(signal.SIGKILL)  # the wait status of what was not started
LEASE_FD = "RECTBOT_LEASE_FD"

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_NO_SUCH_COMMAND, _CANNOT_EXECUTE = 127, 126  # as shells have it
_HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # systemd sends them to every process of a service
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Programs:
    """The programs of a lease: this process is their parent, or becomes it, so nothing gets away."""

    def __init__(self, all_is_ours: bool) -> None:
        self._all_is_ours = all_is_ours  # in this PID namespace
        self._running: dict[bytes, int] = {}  # process id by name
        self._stopping = False  # main was told to
        self._ended: int | None = None  # main's status, while others of its group live on

    def signal(self, name: bytes, number: int) -> None:
        pid = self._running.get(name)
        if pid is None:
            return
        try:
            os.killpg(pid, number)
            if number == signal.SIGTERM:
                self._stopping = self._stopping or name == MAIN
                os.killpg(pid, signal.SIGCONT)  # what is stopped could not obey
        except (ProcessLookupError, PermissionError):
            pass

    def spawn(self, name: bytes, variables: list[bytes], command: list[bytes], inherited: int | None) -> None:
        """Raises OSError where the kernel refuses another process."""
        own = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(own, variables, command, inherited)
        with contextlib.suppress(OSError):  # it did so itself, and is past exec
            os.setpgid(pid, pid)
        self._running[name] = pid
        if name == MAIN:
            self._stopping = False

    def reap(self) -> list[tuple[bytes, int]]:
        """What has ended since, with its wait status."""
        ended = []
        while found := _reap_one():
            pid, status = found
            name = next((name for name, known in self._running.items() if known == pid), None)
            if name == MAIN:
                self._ended = status
            elif name:
                del self._running[name]
                ended.append((name, status))
        if self._ended is not None and not (self._stopping and _group_lives(self._running[MAIN])):
            ended += self.end(self._ended)
        return ended

    def end(self, status: int = NOT_STARTED) -> list[tuple[bytes, int]]:
        """Returns when nothing is left, with what that ended. The whole groups go first, then what has left them."""
        for pid in self._running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while not end_children(everything=self._all_is_ours):
            time.sleep(0.001)
        ended, self._running, self._ended = self._running, {}, None
        return [(name, status if name == MAIN else NOT_STARTED) for name in ended]


def _reap_one() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else
        pass
    return True


def _become(parent: int, variables: list[bytes], command: list[bytes], inherited: int | None) -> None:
    """Turns this process, just forked, into the program. Never returns.

    It was born with the signals of a stop blocked, so none of them is lost, however early it comes: what has arrived
    so far takes effect when they are let through, as it would on any program without a handler.
    """
    status, reason = _CANNOT_EXECUTE, "its watchdog is gone"
    try:
        os.setpgid(0, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it has died before the line above
            for number in (*_HELD, signal.SIGCHLD, *_IGNORED_BY_PYTHON):
                signal.signal(number, signal.SIG_DFL)
            os.environb.update((name, value) for name, _, value in (word.partition(b"=") for word in variables))
            if inherited is not None:
                os.set_inheritable(inherited, True)
                os.environ[LEASE_FD] = str(inherited)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError as error:
        status, reason = _NO_SUCH_COMMAND, str(error.strerror)
    except OSError as error:
        reason = str(error.strerror)
    finally:
        _say(b"%b: %b\n" % (command[0], reason.encode()))
        os._exit(status)  # whatever happened: there must be no second watchdog


def _say(text: bytes) -> None:
    """To standard error, unless its reader has fallen asleep."""
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    try:
        if poll.poll(0):
            os.write(2, text[: select.PIPE_BUF])
    except OSError:
        pass


class Watchdog:
    """Serves the socket; at the deadline, and when the other end is gone, it strikes."""

    def __init__(self, link: _socket.socket, deadline: int, programs: Programs | None, target: int | None) -> None:
        self._link = link
        self._programs = programs
        self._target = target
        self._alarm = Alarm()
        self._set(deadline)

    def _set(self, deadline: int) -> None:
        self._deadline = deadline
        self._alarm.set(deadline or None)

    def run(self) -> None:
        """Serves until the other end of the socket is closed, whatever closed it."""
        child_died, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()  # select() knows no number above 1,023, and the socket has the one that its maker gave it
        for source in (self._link, self._alarm, child_died):
            poll.register(source, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll()}
            # Messages come first: if we were slow, a renewal may be among them. A spawn looks at the clock itself.
            if self._link.fileno() in ready and not self._receive_all():
                break
            if self._deadline and boottime_ms() >= self._deadline:
                self._strike()
                self._set(0)
            if child_died in ready and self._programs is not None:
                os.read(child_died, 4096)
                self._report(self._programs.reap())
            self._alarm.clear()
        if self._programs is not None or self._deadline:
            self._strike()

    def _strike(self) -> None:
        if self._programs is not None:
            self._report(self._programs.end())
        elif self._target is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._target, signal.SIGKILL)

    def _receive_all(self) -> bool:
        """Handles what has arrived; False when the other end is closed."""
        while True:
            try:
                packet, ancillary, _, _ = self._link.recvmsg(LIMIT, 64, _socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not packet:
                return False
            inherited = int.from_bytes(ancillary[0][2][:4], sys.byteorder) if ancillary else None
            self._handle(packet.split(b"\0"), inherited)
            if inherited is not None:
                os.close(inherited)

    def _handle(self, words: list[bytes], inherited: int | None) -> None:
        kind, name, *rest = words
        if kind == b"deadline":
            self._set(int(name))
        elif self._programs is None:
            raise AssertionError(words)
        elif kind == b"signal":
            self._programs.signal(name, int(rest[0]))
        elif kind == b"spawn" and boottime_ms() >= self._deadline:  # also when none is set
            self._report([(name, NOT_STARTED)], b"its time is over")
        else:
            split = rest.index(b"--")
            try:
                self._programs.spawn(name, rest[:split], rest[split + 1 :], inherited)
            except OSError as error:
                self._report([(name, NOT_STARTED)], str(error.strerror).encode())

    def _report(self, ended: list[tuple[bytes, int]], why: bytes = b"") -> None:
        try:
            for name, status in ended:
                self._link.send(b"\0".join((b"ended", name, b"%d" % status, *filter(None, [why]))))
        except ConnectionError:
            pass


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)  # held back for good, and from its programs until they are there
    fd, deadline, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.set_inheritable(fd, False)
    link = _socket.socket(fileno=fd)
    link.setblocking(False)
    if kind not in (NAMESPACE, TIES):
        with contextlib.suppress(ProcessLookupError):  # it is gone
            # The handle means this very process for ever, even when its number is given to another one.
            Watchdog(link, deadline, None, os.pidfd_open(int(kind))).run()
        return
    inside = enter() if kind == NAMESPACE else -1
    if inside:
        found = NAMESPACE if inside > 0 else TIES
        with contextlib.suppress(ConnectionError):  # who started us is gone: then so are we, at the next look
            link.send(b"watches\0%d\0%b" % (inside if inside > 0 else os.getpid(), found.encode()))
    if inside > 0:
        return
    if inside < 0:
        adopt_orphans()
    Watchdog(link, deadline, Programs(inside == 0), None).run()


if __name__ == "__main__":
    main()
