"""What a push says in a real control group with limits, where this machine lets one be made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rectbot.push import groups

MEMORY, CPUS = 256 * 2**20, 0.2
LIMITS = {
    ("cpu", 1): {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": str(int(CPUS * 100_000))},
    ("cpuacct", 1): {},
    ("memory", 1): {"memory.limit_in_bytes": str(MEMORY)},
    ("cpu", 2): {"cpu.max": f"{int(CPUS * 100_000)} 100000"},
    ("memory", 2): {"memory.max": str(MEMORY)},
}
PROGRAM = """
import subprocess, sys, time
from rectbot.push.measure import Meter
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    meter = Meter(None)
    time.sleep(3)
    sys.stdout.buffer.write(meter.read())
finally:
    busy.kill()
"""


@contextmanager
def limited() -> Iterator[list[Path]]:
    """Groups of our own with the limits. Skips where the machine lets none be made."""
    made: list[Path] = []
    with ExitStack() as stack:
        for controller in ("cpu", "cpuacct", "memory"):
            for group in list(groups._groups(controller))[:1]:
                folder = group.mount / group.inside / f"rectbot-test-{os.getpid()}"
                if folder in made:
                    continue
                with suppress(OSError):
                    folder.mkdir()
                    stack.callback(_remove, folder)
                    for name, value in LIMITS.get((controller, group.version), {}).items():
                        (folder / name).write_text(value)
                    made.append(folder)
        if not any((folder / "cpu.cfs_quota_us").exists() or (folder / "cpu.max").exists() for folder in made):
            pytest.skip("no control group with a quota of CPU time can be made here")
        yield made


def _remove(folder: Path) -> None:
    for _ in range(100):
        try:
            folder.rmdir()
        except OSError:  # its last process is about to end
            time.sleep(0.1)
        else:
            return


def test_in_a_group_with_limits_they_are_the_host() -> None:
    with limited() as folders:
        joins = "".join(f"echo $$ >'{folder}/cgroup.procs' && " for folder in folders)
        command = ["sh", "-c", f'{joins} exec "$0" -c "$1"', sys.executable, PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    families = text_string_to_metric_families(done.stdout)
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["rectbot_host_cpus"] == CPUS
    # A busy process has all of the quota, which is a tenth of two CPUs; half of it on a machine that starves.
    assert 0.5 <= values["rectbot_host_cpu_usage_ratio"] <= 1
    if any("memory" in str(folder) or (folder / "memory.max").exists() for folder in folders):
        assert values["rectbot_host_memory_total_bytes"] == MEMORY
        assert 0 < values["rectbot_host_memory_used_bytes"] <= MEMORY
