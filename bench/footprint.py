"""What rectbot takes of a small host: memory of each process, CPU while nothing happens, and the time to start.

    PYTHONPATH=tests .venv/bin/python bench/footprint.py [--seconds 60] [--settle 20] [--json FILE] [--check]

A stack is started as `make up` does, with the local Discord, in a home of its own. Memory is PSS (proc_pid_smaps(5)):
what several processes share is counted once, a part with each. The side of `xserver` is what runs on that host in
production: agent, watchdog, bot and push, and not the supervisor that stands for the host. With --check the exit code
is 1 when something is over the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from e2e.stack import Stack

MIB = 2**20
BUDGET = {"xserver_mib": 85.0, "stack_mib": 300.0, "idle_cpu_percent": 1.0, "up_seconds": 6.0}
BEFORE = {"xserver_mib": 115.0, "stack_mib": 411.0, "idle_cpu_percent": 1.8}  # of the release before this table
WHAT = {
    "xserver_mib": "the xserver side: bot, watchdog, push (MiB PSS)",
    "stack_mib": "the native stack, both sites (MiB PSS)",
    "idle_cpu_percent": "CPU of all of it while nothing happens (% of one core)",
    "up_seconds": "'rectbot up' to all healthy (s)",
}
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process of the stack."""

    pid: int
    name: str
    pss: int
    cpu_seconds: float
    of_xserver: bool


def look(stack: Stack) -> dict[int, Process]:
    """Every process of the stack by its number."""
    found = {}
    for pid in stack.leftovers():
        folder = Path("/proc") / str(pid)
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environ = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            pss = _PSS.search((folder / "smaps_rollup").read_text())
        except OSError:  # it has ended
            continue
        if pss is not None:
            cpu = (int(words[11]) + int(words[12])) / _TICKS
            found[pid] = Process(pid, _name(command), int(pss[1]) * 1024, cpu, b"SITE_ID=xserver" in environ)
    return found


def _name(command: list[str]) -> str:
    """What it is, in a few words: without the interpreter, and without paths."""
    words = [Path(word).name if "/" in word else word for word in command if word]
    known = [word for word in words if not word.startswith(("-", "python"))]
    return " ".join(known)[:48] or words[0]


@contextmanager
def running(home: Path) -> Iterator[tuple[Stack, float]]:
    """A stack, and how many seconds `up` took until all was healthy."""
    stack = Stack.prepare(home)
    try:
        stack.run("init")
        began = time.monotonic()
        stack.run("up", "--detach")
        took = time.monotonic() - began
        yield stack, took
    finally:
        stack.destroy()


def measure(seconds: float, settle: float) -> tuple[dict[str, float], list[tuple[Process, float]]]:
    """The figures of the budget, and each process with its share of a core."""
    with tempfile.TemporaryDirectory(prefix="rectbot-footprint-") as folder, running(Path(folder) / "home") as at:
        stack, took = at
        time.sleep(settle)
        before, began = look(stack), time.monotonic()
        time.sleep(seconds)
        after, passed = look(stack), time.monotonic() - began
    shares = {
        pid: max(0.0, each.cpu_seconds - before[pid].cpu_seconds) / passed
        for pid, each in after.items()
        if pid in before
    }
    figures = {
        "xserver_mib": sum(each.pss for each in after.values() if each.of_xserver) / MIB,
        "stack_mib": sum(each.pss for each in after.values()) / MIB,
        "idle_cpu_percent": 100 * sum(shares.values()),
        "up_seconds": took,
    }
    return figures, [(each, shares.get(pid, 0.0)) for pid, each in after.items()]


def main() -> None:
    """Measures, prints and checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for how long the CPU is watched")
    parser.add_argument("--settle", type=float, default=20, help="how long the stack is left alone before that")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--check", action="store_true", help="fail when something is over the budget")
    wanted = parser.parse_args()
    figures, processes = measure(wanted.seconds, wanted.settle)
    for each, share in sorted(processes, key=lambda pair: -pair[0].pss):
        print(f"{each.pss / MIB:7.1f} MiB  {100 * share:5.2f} %  {'xserver' if each.of_xserver else '':8}{each.name}")
    print()
    over = []
    for key, value in figures.items():
        mark = "" if value <= BUDGET[key] else "  OVER"
        over += [key] if mark else []
        was = f"  (was {BEFORE[key]:g})" if key in BEFORE else ""
        print(f"{WHAT[key]:58}{value:8.1f} of {BUDGET[key]:g}{was}{mark}")
    if wanted.json is not None:
        found = {"figures": figures, "processes": [asdict(each) for each, _ in processes]}
        wanted.json.write_text(json.dumps(found, indent=1))
    sys.exit(1 if wanted.check and over else 0)


if __name__ == "__main__":
    main()
