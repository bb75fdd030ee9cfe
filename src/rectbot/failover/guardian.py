"""Kills a process at a deadline, with no help from that process.

A paused leader (SIGSTOP, a debugger, a machine that swaps) cannot end its own session in time; this process can. It is
started as `python -I -S guardian.py PID`, with the standard library only, and reads deadlines of CLOCK_BOOTTIME in
milliseconds from its standard input, one a line; 0 means that nothing runs. When the deadline passes, or the pipe
closes while one is set, the process gets SIGKILL. When the pipe closes it ends itself: it never outlives the process
that started it. (Programs of their own have keeper.py.)
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path


class Guardian:
    """The guardian, seen from the process that starts it. Its target is this process, unless another is named."""

    def __init__(self, target: int | None = None) -> None:
        self._target = target or os.getpid()
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self._target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C, or a signal to our group, is not for it
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def set(self, deadline: int | None) -> None:
        """Sets the deadline; None: nothing runs any more. A guardian that was killed is replaced."""
        for _ in range(2):
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(b"%d\n" % (deadline or 0))
            except BrokenPipeError:
                self.close()
                self._process = self._spawn()
            else:
                return
        raise RuntimeError("the guardian process does not stay alive")

    def close(self) -> None:
        """Ends the guardian; the target lives on unless a deadline is set."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    # The handle means this very process for ever, even when its number is given to another one.
    target = os.pidfd_open(int(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # systemd sends them to all of a service
        signal.signal(number, signal.SIG_IGN)
    sys.path.append(str(Path(__file__).parent))  # not the package: that would load all of it
    from clock import Alarm, boottime_ms  # type: ignore[import-not-found]  # noqa: PLC0415

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(target, signal.SIGKILL)

    alarm = Alarm()
    deadline, rest = 0, b""
    while True:
        ready, _, _ = select.select([0, alarm], [], [])
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                deadline = int(lines[-1])
                alarm.set(deadline or None)
        if deadline and boottime_ms() >= deadline:
            kill()
            deadline = 0
            alarm.set(None)
        alarm.clear()
    if deadline:
        kill()


if __name__ == "__main__":
    main()
