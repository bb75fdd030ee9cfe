"""Hosts that do not tell everything, or tell nonsense: fake /proc folders and control groups."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rectbot.errors import ConfigError
from rectbot.push import proc as proc_of
from rectbot.push.measure import METRICS, Meter, measure_host
from rectbot.push.memory import alert_bytes, memory, swap

GIB = 2**30
TOTAL, USED = "rectbot_host_memory_total_bytes", "rectbot_host_memory_used_bytes"
MEMINFO = "MemTotal: 4194304 kB\nMemFree: 1048576 kB\nMemAvailable: 3145728 kB\nBuffers: 0 kB\nCached: 0 kB\n"
NO_SWAP = "SwapTotal: 0 kB\nSwapFree: 0 kB\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own: what the kernel has, until a test takes it away or writes it anew."""
    folder = tmp_path / "proc"
    folder.mkdir()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() and entry.name != "self":
            (folder / entry.name).symlink_to(entry)
    (folder / "self").mkdir()
    (folder / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(proc_of, "ROOT", folder)
    rewrite(folder, "meminfo", MEMINFO + NO_SWAP)
    return folder


def rewrite(proc: Path, name: str, text: str | None) -> None:
    """Another content for a file of /proc; None: it is not there."""
    (proc / name).unlink(missing_ok=True)
    if text is not None:
        (proc / name).write_text(text)


WITHOUT = {  # a file that is not there (or empty, or nonsense), and what can then not be told
    "stat": {"rectbot_host_cpu_usage_ratio"},
    "vmstat": set(),
    "meminfo": {TOTAL, USED, "rectbot_host_swap_total_bytes", "rectbot_host_swap_used_bytes"},
    "cpuinfo": set(),
    "loadavg": set(),
    "uptime": set(),
    "zoneinfo": set(),
}


@pytest.mark.parametrize(
    "content", [None, "", "nonsense 1 2 3\n", "cpu\n"], ids=["absent", "empty", "nonsense", "short"]
)
@pytest.mark.parametrize("name", WITHOUT)
@pytest.mark.filterwarnings("error")
def test_what_a_host_does_not_tell_is_left_out_and_the_rest_is_sent(name: str, content: str | None, proc: Path) -> None:
    rewrite(proc, name, content)
    expected = {each for each in METRICS if each.startswith("rectbot_host_")}
    if name == "meminfo":
        found = told()
        assert expected - WITHOUT[name] <= found
    else:
        assert expected - WITHOUT[name] == told() - WITHOUT[name]
    meter = Meter(_pid_file(proc), None)
    assert b"rectbot_bot_process_up 1.0" in meter.read()


def told() -> set[str]:
    """The names of all that is told of this host."""
    meter = Meter(None)
    time.sleep(0.05)
    families = text_string_to_metric_families(meter.read().decode())
    return {sample.name for family in families for sample in family.samples}


def _pid_file(proc: Path) -> Path:
    path = proc.parent / "bot.pid"
    path.write_text(str(os.getpid()))
    return path


def test_everything_missing_at_once_is_no_traceback(proc: Path) -> None:
    for name in WITHOUT:
        rewrite(proc, name, None)
    found = measure_host()
    assert {"rectbot_host_cpus", "rectbot_host_disk_total_bytes", "rectbot_host_boot_time_seconds"} <= set(found)
    assert found["rectbot_host_boot_time_seconds"] > 1e9


@pytest.mark.parametrize(
    "told",
    [
        "SwapTotal: 0 kB\nSwapFree: 18446744073709551612 kB\n",  # lxcfs, where a limit is less than what is in use
        "SwapTotal: 1048576 kB\nSwapFree: 4194304 kB\n",
        "SwapTotal: 18446744073709551612 kB\nSwapFree: 0 kB\n",
        "SwapTotal: 1048576 kB\nSwapFree: -4 kB\n",
    ],
)
def test_swap_numbers_that_cannot_be_are_left_out(told: str, proc: Path) -> None:
    rewrite(proc, "meminfo", MEMINFO + told)
    assert swap() is None
    assert not any("swap" in name for name in measure_host())
    assert measure_host()[TOTAL] == 4 * GIB


@pytest.mark.parametrize("told", ["MemTotal: 4 kB\nMemFree: 8 kB\nMemAvailable: 8 kB\nBuffers: 0 kB\nCached: 0 kB\n"])
def test_memory_numbers_that_cannot_be_are_left_out(told: str, proc: Path) -> None:
    rewrite(proc, "meminfo", told + NO_SWAP)
    found = memory()
    assert found is None or 0 <= found.used <= found.total


V2, V1 = (
    "30 23 0:26 {root} {mount} rw - cgroup2 cgroup2 rw\n",
    "31 23 0:27 {root} {mount} rw - cgroup cgroup rw,memory\n",
)
NONE_V1 = str(2**63 - 4096)


def groups(
    proc: Path,
    version: int,
    own: str,
    root: str,
    limits: dict[str, tuple[str, int, int]],
    more: dict[str, dict[str, object]] | None = None,
) -> None:
    """Control groups as this process sees them; of each folder its limit, its use, the cache in it, and more files."""
    mount = proc.parent / "cgroup mount"
    for name, (limit, used, cache) in limits.items():
        folder = mount / name
        folder.mkdir(parents=True, exist_ok=True)
        files = ("memory.max", "memory.current", "inactive_file")
        if version == 1:
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        (folder / files[0]).write_text(f"{limit}\n")
        (folder / files[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\n{files[2]} {cache}\nother 2\n")
        for file, number in (more or {}).get(name, {}).items():
            (folder / file).write_text(f"{number}\n")
    line = V2 if version == 2 else V1
    escaped = str(mount).replace(" ", "\\040")
    (proc / "self/mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n" + line.format(root=root, mount=escaped))
    cpu = "4:cpu,cpuacct:/x\n"
    (proc / "self/cgroup").write_text(f"{cpu}0::{own}\n" if version == 2 else f"{cpu}3:memory,hugetlb:{own}\n0::/y\n")


HALF = str(GIB // 2)
GROUPS = {  # version, this process's group, the mount's root, limits by folder; total and use that are right
    "v2, a container": (2, "/", "/", {"": (HALF, 300, 100)}, (GIB // 2, 200)),
    "v2, a service": (2, "/system.slice/bot", "/", {"": ("max", 9, 0), "system.slice/bot": (HALF, 300, 100)},
                      (GIB // 2, 200)),
    "v2, the parent is stricter": (2, "/a/b", "/", {"a": (HALF, 900, 100), "a/b": (str(GIB), 300, 100)},
                                   (GIB // 2, 800)),
    "v2, seen from outside": (2, "/../../docker/1", "/", {"": (HALF, 300, 100)}, (GIB // 2, 200)),
    "v2, no limit": (2, "/a", "/", {"a": ("max", 300, 100)}, (4 * GIB, GIB)),
    "v2, a limit beyond the host": (2, "/a", "/", {"a": (str(64 * GIB), 300, 100)}, (4 * GIB, GIB)),
    "v2, more cache than use": (2, "/", "/", {"": (HALF, 100, 300)}, (GIB // 2, 0)),
    "v2, more use than the limit": (2, "/", "/", {"": (HALF, GIB, 0)}, (GIB // 2, GIB // 2)),
    "v1, a container": (1, "/docker/1", "/docker/1", {"": (HALF, 300, 100)}, (GIB // 2, 200)),
    "v1, from the host": (1, "/docker/1", "/", {"docker/1": (HALF, 300, 100), "": (NONE_V1, 9, 0)}, (GIB // 2, 200)),
    "v1, no limit": (1, "/", "/", {"": (NONE_V1, 300, 100)}, (4 * GIB, GIB)),
    "v1, nonsense": (1, "/", "/", {"": ("", 300, 100)}, (4 * GIB, GIB)),
}  # fmt: skip


@pytest.mark.parametrize(("version", "own", "root", "limits", "right"), GROUPS.values(), ids=GROUPS)
def test_in_a_container_the_memory_is_the_container_s(
    version: int, own: str, root: str, limits: dict[str, tuple[str, int, int]], right: tuple[int, int], proc: Path
) -> None:
    groups(proc, version, own, root, limits)
    host = measure_host()
    assert (host[TOTAL], host[USED]) == right


def test_a_container_that_hides_meminfo_still_has_its_limit(proc: Path) -> None:
    groups(proc, 2, "/", "/", {"": (HALF, 300, 100)})
    rewrite(proc, "meminfo", None)
    assert measure_host()[TOTAL] == GIB // 2


SWAP_HOST = "SwapTotal: 2048 kB\nSwapFree: 1024 kB\n"
SWAPS = {  # version, further files of the group, what /proc says; swap space and use that are right
    "v2": (2, {"memory.swap.max": 1000, "memory.swap.current": 300}, SWAP_HOST, (1000, 300)),
    "v2, none": (2, {"memory.swap.max": 0, "memory.swap.current": 0}, SWAP_HOST, (0, 0)),
    "v2, no limit": (2, {"memory.swap.max": "max", "memory.swap.current": 300}, SWAP_HOST, (2048 * 1024, 1024 * 1024)),
    "v2, not accounted for": (2, {}, SWAP_HOST, (2048 * 1024, 1024 * 1024)),
    "v2, and the host hides it": (2, {"memory.swap.max": 1000, "memory.swap.current": 300}, "", (1000, 300)),
    "v2, and the host's is nonsense": (
        2,
        {"memory.swap.max": 1000, "memory.swap.current": 300},
        "SwapTotal: 0 kB\nSwapFree: 18446744073709551612 kB\n",
        (1000, 300),
    ),
    "v1": (1, {"memory.memsw.limit_in_bytes": GIB // 2 + 1000, "memory.memsw.usage_in_bytes": 500}, SWAP_HOST,
           (1000, 200)),
    "v1, no limit": (1, {"memory.memsw.limit_in_bytes": NONE_V1, "memory.memsw.usage_in_bytes": 500}, SWAP_HOST,
                     (2048 * 1024, 1024 * 1024)),
    "v1, less than the memory's": (1, {"memory.memsw.limit_in_bytes": 7, "memory.memsw.usage_in_bytes": 5}, SWAP_HOST,
                                   (0, 0)),
    "nothing is told": (2, {}, "", None),
}  # fmt: skip


@pytest.mark.parametrize(("version", "files", "told_by_proc", "right"), SWAPS.values(), ids=SWAPS)
def test_in_a_container_the_swap_is_the_container_s(
    version: int, files: dict[str, object], told_by_proc: str, right: tuple[int, int] | None, proc: Path
) -> None:
    groups(proc, version, "/", "/", {"": (HALF, 300, 100)}, {"": files})
    rewrite(proc, "meminfo", MEMINFO + told_by_proc)
    found = swap()
    assert (None if found is None else (found.total, found.used)) == right


@pytest.mark.parametrize(
    ("text", "total", "right"),
    [
        ("6GiB", None, 6 * GIB),
        ("1.5 GiB", None, 1.5 * GIB),
        ("800MB", None, 8e8),
        ("85%", 1000, 850),
        ("85 %", None, None),
        ("100%", 4, 4),
    ],
)
def test_the_alert_s_limit_is_a_size_or_a_share(text: str, total: float | None, right: float | None) -> None:
    assert alert_bytes(text, total) == right


@pytest.mark.parametrize(
    "text", ["", "6", "6GB/s", "-1GiB", "0%", "101%", "0GiB", "1e9B", "nan%", "²GiB", "9" * 40 + "B"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"MEMORY_ALERT.* is wrong: write a size like 6GiB, or a share like 85%"):
        alert_bytes(text, 1000)


def test_the_limit_goes_along_with_the_push(proc: Path) -> None:
    groups(proc, 2, "/", "/", {"": (HALF, 300, 100)})
    families = text_string_to_metric_families(Meter(None, None, "50%").read().decode())
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["rectbot_host_memory_alert_bytes"] == GIB // 4
    assert b"alert" not in Meter(None).read()


class _Pushgateway(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("missing", ["stat", "vmstat", "meminfo", "stat vmstat meminfo loadavg"])
def test_the_command_pushes_what_there_is_and_says_nothing(missing: str, proc: Path, tmp_path: Path) -> None:
    for name in missing.split():
        rewrite(proc, name, None)
    server = HTTPServer(("127.0.0.1", 0), _Pushgateway)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = "from pathlib import Path; from rectbot.push import agent, proc\n"
    program += f"proc.ROOT = Path({str(proc)!r}); agent.SHORTEST_INTERVAL_SECONDS = 0.1\n"
    program += "from rectbot.cli import main; main()"
    url = f"http://127.0.0.1:{server.server_port}/metrics/job/x"
    environment = {**os.environ, "RECTBOT_HOME": str(tmp_path), "PUSHGATEWAY_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", program, "push"], env=environment, capture_output=True, text=True, check=False
    )
    server.shutdown()
    server.server_close()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert b"rectbot_host_disk_total_bytes" in server.bodies[0]  # type: ignore[attr-defined]
