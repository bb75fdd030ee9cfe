"""What keeps a program's processes together, so that all of them end with their watchdog.

Where the kernel allows it, the watchdog is the first process of a PID namespace: when it ends, however it does, the
kernel ends whatever is in there: daemons, and what has changed its user. That takes root, or user namespaces; the rules
for containers and the hardening of systemd's units often forbid both. Everywhere else the programs are tied to the
watchdog by their death signal, and orphans become its children; docs/failover.md says what that leaves open.

Stdlib only, and importable by itself: the watchdog runs without the rest of the package.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys

NAMESPACE, TIES = "namespace", "ties"
_WORDS = {
    NAMESPACE: "a PID namespace: nothing that the program starts survives its watchdog",
    TIES: "death signals: the kernel allows no PID namespace here, so a daemon of the program would survive if agent"
    " and watchdog were killed at one moment",
}
_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000  # <sched.h>
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 0x4000, 1 << 19  # <sys/mount.h>
_CAP_SYS_ADMIN = 21  # <linux/capability.h>
_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


def describe() -> str:
    """Which containment is in force for programs that this user starts here, in words."""
    return words(find())


def find() -> str:
    """The same as NAMESPACE or TIES, found by trying it."""
    import subprocess  # noqa: PLC0415 (the watchdog does without)

    trial = subprocess.run([sys.executable, "-I", "-S", __file__], capture_output=True, check=False)
    return TIES if trial.returncode else NAMESPACE


def words(kind: str) -> str:
    """For people: what a watchdog's kind of containment means."""
    return _WORDS[kind]


def enter() -> int:
    """Goes on in a new process that is the first of a PID namespace, with a /proc that shows just that.

    Returns 0 in that process, and its process id, as it is known outside, in the one that has called: which should
    end, so that its parent, a subreaper, becomes the parent of the new one. Returns -1 when the kernel does not allow
    it. Call it in a process without threads.
    """
    result, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(result)
        inside = False
        try:
            inside = _enter_by(tell)
        finally:
            if not inside:  # whatever happened: there must be no second caller
                os._exit(0)
        return 0
    os.close(tell)
    with open(result, "rb") as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return int(found or -1)


def _enter_by(tell: int) -> bool:
    """Only a child of a process that has left its namespace is in the new one: True in that child."""
    settled, says = os.pipe()
    try:
        _leave()
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        try:
            _own_proc()
        except OSError:
            os._exit(1)
        os.write(says, b"1")
        for fd in (settled, says, tell):
            os.close(fd)
        return True
    os.close(says)
    if os.read(settled, 1):
        os.write(tell, b"%d" % pid)
    return False


def _leave() -> None:
    """Raises OSError where that is not allowed, or would take rights away that the program may need."""
    rights = _capabilities()
    if rights >> _CAP_SYS_ADMIN & 1:
        _call("unshare", ctypes.c_int(_NEWNS | _NEWPID))
        return
    if rights or os.geteuid() == 0:
        raise OSError(errno.EPERM, "the rights of this process end at a user namespace")
    user, group = os.geteuid(), os.getegid()
    _call("unshare", ctypes.c_int(_NEWUSER | _NEWNS | _NEWPID))
    maps = (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"))
    for name, line in maps:
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, line.encode())
        os.close(fd)


def _capabilities() -> int:
    with open("/proc/self/status", "rb") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith(b"CapEff:"))


def _own_proc() -> None:
    _call("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)  # ours stay here, the host's come
    _call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC), None)


def adopt_orphans() -> None:
    """From now on a process whose parent dies becomes a child of this one, if it descends from it.

    Raises OSError where the kernel does not tell who our children are (it does on all common distributions).
    """
    os.stat("/proc/thread-self/children")
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(*, everything: bool = False) -> bool:
    """Kills all children of this process and reaps those that are dead; True when none is left.

    Their own children become ours: repeat it until it returns True. Only we reap them, so no number can be another's.
    With `everything` this is the first process of a PID namespace, and kills whatever is in there.
    """
    if everything:
        assert os.getpid() == 1
        _kill(-1)
    else:
        for task in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                    children = file.read().split()
            except OSError:  # a thread that ended meanwhile
                continue
            for pid in children:
                _kill(int(pid))
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # somebody else's: we may not
        os.kill(pid, signal.SIGKILL)


def prctl(option: int, value: int) -> None:
    _call("prctl", ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that returns 0, or sets errno."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(enter() < 0)
