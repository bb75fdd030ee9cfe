"""What the kernel tells under /proc (proc(5)). By hand: to load psutil takes longer than to measure."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def read(name: str) -> str:
    """A file's text; empty where it is not there or may not be read."""
    with suppress(OSError):
        return (ROOT / name).read_text(encoding="utf-8", errors="replace")
    return ""


def uptime() -> float:
    """Seconds since this host was started, in which it was suspended too: no clock that anybody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Cpu:
    """Seconds since the start, of all CPUs together: in use, and that there were; and how many CPUs there are."""

    busy: float
    total: float
    cpus: int


def cpu() -> Cpu | None:
    """The host's CPU time; None where it is not shown."""
    lines = [line.split() for line in read("stat").splitlines() if line.startswith("cpu")]
    with suppress(ValueError, IndexError):
        # user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in `user` and `nice`, too.
        times = [int(word) for word in lines[0][1:9]]
        if lines[0][0] == "cpu" and len(times) >= 4 and min(times) >= 0:
            total = sum(times)
            return Cpu((total - sum(times[3:5])) / _TICKS, total / _TICKS, max(1, len(lines) - 1))
    return None


def boot_time() -> float:
    """When this host was started, as Unix time."""
    for line in read("stat").splitlines():
        with suppress(ValueError, IndexError):
            if line.startswith("btime ") and (told := int(line.split()[1])) > 0:
                return float(told)
    return time.time() - uptime()


@dataclass(frozen=True)
class Process:
    """A process as it is now."""

    pid: int
    parent: int
    state: str
    cpu_seconds: float
    resident_bytes: int
    began: float  # on the clock of `uptime`

    @property
    def key(self) -> str:
        """Which process it is; the number alone is given to another one some day."""
        return f"{self.pid}@{self.began:.2f}"

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return max(0.0, uptime() - self.began)


def process(pid: int) -> Process | None:
    """The process of this number; None where there is none that can be seen."""
    words = read(f"{pid}/stat").rpartition(")")[2].split()  # from the third field of proc_pid_stat(5) on
    with suppress(ValueError, IndexError):
        used = (int(words[11]) + int(words[12])) / _TICKS
        return Process(pid, int(words[1]), words[0], used, int(words[21]) * _PAGE, int(words[19]) / _TICKS)
    return None


def exists(pid: int) -> bool:
    """Whether there is a process of this number, also where /proc hides it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def descendants(of: Process) -> list[Process]:
    """All that this process has started, and what they have."""
    seen = list(filter(None, map(process, _pids())))
    family, found = {of.pid}, list[Process]()
    while new := [each for each in seen if each.parent in family and each.pid not in family]:
        family |= {each.pid for each in new}
        found += new
    return found


def _pids() -> list[int]:
    with suppress(OSError):
        return [int(entry.name) for entry in ROOT.iterdir() if entry.name.isdecimal()]
    return []


def run() -> str:
    """Which run of this host it is, or of this container: another one after each start. Empty where nobody can tell."""
    boot = read("sys/kernel/random/boot_id").strip()
    first = process(1)
    return f"{boot} {first.began if first else 0:.2f}" if boot else ""
