from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rectbot.errors import ConfigError
from rectbot.logs.ship.spool import Spool
from rectbot.push import groups, proc
from rectbot.push.measure import (
    METRICS,
    PID_FILE_SLACK_SECONDS,
    Meter,
    find_bot,
    measure_bot,
    measure_host,
    measure_spool,
)
from servers_monitoring import until

CPU, HOST_CPU = "rectbot_bot_process_cpu_usage_ratio", "rectbot_host_cpu_usage_ratio"
DOWN = {"rectbot_bot_process_up": 0}


def measured(pid_file: Path) -> dict[str, float]:
    """What is told of the bot at once, without its CPU use."""
    bot = find_bot(pid_file)
    assert bot is not None
    return measure_bot(bot)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """The pid file of a process that uses all the CPU it gets."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    pid_file = tmp_path / "bot.pid"
    pid_file.write_text(f"{process.pid}\n")
    yield pid_file
    process.kill()
    process.wait()


def values_of(body: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(body.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Path]:
    """The spool of a bot that runs: one batch waits, and seven lines were lost."""
    spool = Spool(tmp_path / "spool", 10**6)
    spool.add(b"x" * 300, 2)
    spool.ledger.drop(7)
    spool.ledger.save()
    yield tmp_path / "spool"
    spool.close()


def test_a_push_has_every_metric_and_passes_the_linter_of_prometheus(busy: Path, spool: Path) -> None:
    meter = Meter(busy, spool)
    time.sleep(0.1)
    body = meter.read()
    values = values_of(body)
    assert set(values) == set(METRICS)
    assert values["rectbot_bot_process_up"] == 1
    assert values["rectbot_bot_log_waiting_bytes"] == 300
    assert values["rectbot_bot_log_dropped_lines"] == 7
    lint = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")


def test_without_a_pid_file_only_the_host_is_measured() -> None:
    meter = Meter(None)
    time.sleep(0.1)
    assert {name for name in METRICS if name.startswith("rectbot_host_")} == set(values_of(meter.read()))


def test_of_a_bot_that_ships_no_logs_no_spool_is_told(tmp_path: Path) -> None:
    assert measure_spool(tmp_path / "none") == {}
    Spool(tmp_path / "new", 10**6).close()
    assert measure_spool(tmp_path / "new") == {"rectbot_bot_log_waiting_bytes": 0, "rectbot_bot_log_dropped_lines": 0}


def test_the_host_is_measured_as_the_kernel_tells() -> None:
    kernel = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    host = measure_host()
    total = int(kernel["MemTotal"]) * 1024
    if not any(share.limit is not None and share.limit < total for share in groups.memory()):
        assert host["rectbot_host_memory_total_bytes"] == total
        used = total - int(kernel["MemAvailable"]) * 1024
        assert host["rectbot_host_memory_used_bytes"] == pytest.approx(used, rel=0.1, abs=2**27)
        assert host["rectbot_host_swap_total_bytes"] == int(kernel["SwapTotal"]) * 1024
    assert host["rectbot_host_cpus"] == min([os.cpu_count() or 0, *(quota.cpus for quota in groups.cpu())])
    root = os.statvfs("/")
    assert host["rectbot_host_disk_total_bytes"] == root.f_blocks * root.f_frsize
    assert 0 < host["rectbot_host_disk_available_bytes"] < host["rectbot_host_disk_total_bytes"]
    assert host["rectbot_host_boot_time_seconds"] == pytest.approx(
        time.time() - time.clock_gettime(time.CLOCK_BOOTTIME), abs=5
    )


def test_cpu_use_is_of_the_interval(busy: Path) -> None:
    """A busy process shows in the interval at its end, whatever the average since boot is."""
    meter = Meter(busy)

    def seen() -> bool:
        time.sleep(0.3)
        values = values_of(meter.read())
        return 0.1 < values[CPU] <= 1.2 and 0.05 < values[HOST_CPU] <= 1

    until(seen, "the busy process is seen")
    psutil.Process(int(busy.read_text())).suspend()
    meter.read()
    time.sleep(0.2)
    assert values_of(meter.read())[CPU] == 0


def test_a_new_process_has_no_cpu_interval_yet(busy: Path, tmp_path: Path) -> None:
    meter = Meter(tmp_path / "other.pid")
    assert values_of(meter.read()).items() >= DOWN.items()
    (tmp_path / "other.pid").write_text(busy.read_text())
    first = values_of(meter.read())
    assert first["rectbot_bot_process_up"] == 1
    assert CPU not in first
    assert CPU in values_of(meter.read())
    (tmp_path / "other.pid").write_text(str(os.getpid()))
    assert CPU not in values_of(meter.read())


def test_what_the_bot_has_started_since_counts_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "bot.pid").write_text(str(os.getpid()))
    meter = Meter(tmp_path / "bot.pid")
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        until(lambda: (found := proc.process(child.pid)) and found.cpu_seconds > 0.3, "it has used CPU time")
        began = meter.counters.at
        values = values_of(meter.read())
        assert values[CPU] * (meter.counters.at - began) >= 0.3
    finally:
        child.kill()
        child.wait()


def test_memory_and_uptime_are_of_that_process(busy: Path) -> None:
    process = psutil.Process(int(busy.read_text()))
    until(lambda: process.cpu_times().user > 0.2, "it has started")
    before = process.memory_info().rss  # the process may still be starting, and grow
    values = measured(busy)
    after = process.memory_info().rss
    smaller, larger = sorted((before, after))
    assert smaller / 2 <= values["rectbot_bot_process_resident_memory_bytes"] <= larger * 2
    assert 0 <= values["rectbot_bot_process_uptime_seconds"] < 60


@pytest.mark.parametrize("text", ["", "\n", "0", "4194305", "9" * 30])
def test_a_pid_file_without_a_process_means_down(text: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "bot.pid"
    pid_file.write_text(text)
    assert measured(pid_file) == DOWN


def test_a_missing_pid_file_means_down(tmp_path: Path) -> None:
    assert measured(tmp_path / "none") == DOWN


def test_a_zombie_is_down(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "the child has ended")
    (tmp_path / "bot.pid").write_text(str(process.pid))
    assert measured(tmp_path / "bot.pid") == DOWN
    process.wait()


def test_a_number_that_another_process_got_is_down(busy: Path) -> None:
    """As after a reboot: the pid file is old, and its number belongs to somebody who began later."""
    long_ago = time.time() - PID_FILE_SLACK_SECONDS - 60
    os.utime(busy, (long_ago, long_ago))
    assert measured(busy) == DOWN


@pytest.mark.parametrize("content", [b"abc", b"-1", b"1 2", b"1_0", b"+1", b"1.0", b"\xff\xfe"])
def test_a_file_that_is_no_pid_file_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    pid_file = tmp_path / "bot.pid"
    pid_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bot\.pid: holds no process id; correct BOT_PID_FILE"):
        find_bot(pid_file)


def test_a_folder_is_no_pid_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Meter(tmp_path)


def test_of_a_process_that_may_not_be_looked_at_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where /proc is mounted with hidepid: it runs, and is neither up nor down for us."""
    (tmp_path / "bot.pid").write_text(str(os.getppid()))
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(proc, "ROOT", tmp_path / "proc")
    assert find_bot(tmp_path / "bot.pid") is None
    assert not any("bot_process" in name for name in values_of(Meter(tmp_path / "bot.pid").read()))
