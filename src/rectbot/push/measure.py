"""What a push says of a host and of the bot that runs on it.

Names follow the Prometheus conventions (https://prometheus.io/docs/practices/naming/): base units, ratios from 0 to 1.
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from rectbot.errors import ConfigError
from rectbot.logs.ship.spool import look

METRICS = {
    "rectbot_host_cpu_usage_ratio": "CPU use of all cores since the last push, from 0 to 1.",
    "rectbot_host_cpus": "Logical CPUs.",
    "rectbot_host_load1": "Load average over 1 minute.",
    "rectbot_host_load5": "Load average over 5 minutes.",
    "rectbot_host_load15": "Load average over 15 minutes.",
    "rectbot_host_memory_total_bytes": "Memory.",
    "rectbot_host_memory_used_bytes": "Memory that cannot be had without swapping.",
    "rectbot_host_swap_total_bytes": "Swap space.",
    "rectbot_host_swap_used_bytes": "Swap space in use.",
    "rectbot_host_disk_total_bytes": "Size of the root file system.",
    "rectbot_host_disk_available_bytes": "Room for users' files on the root file system.",
    "rectbot_host_boot_time_seconds": "When the host was started, as Unix time.",
    "rectbot_bot_process_up": "1 when the bot's process runs, else 0.",
    "rectbot_bot_process_cpu_usage_ratio": "CPU use of the bot's process since the last push; 1 is one core.",
    "rectbot_bot_process_resident_memory_bytes": "Memory of the bot's process.",
    "rectbot_bot_process_uptime_seconds": "Time since the bot's process began.",
    "rectbot_bot_log_waiting_bytes": "Log lines of the bot that wait for Loki, compressed.",
    "rectbot_bot_log_dropped_lines": "Log lines of the bot that were dropped since its spool was made: it was full.",
}

# A process that began this long after the pid file was written is not the bot but got the number of a dead one: after
# a reboot the numbers start again. The slack is for clocks that are set after boot.
PID_FILE_SLACK_SECONDS = 600


class Meter:
    """Measures this host, the process whose number is in `pid_file`, and the spool of its log in the folder `spool`.

    CPU use is the average since the last `read`, or since the meter was made; let at least 0.1 seconds pass.
    """

    def __init__(self, pid_file: Path | None, spool: Path | None = None) -> None:
        self._bot = None if pid_file is None else BotMeter(pid_file)
        self._spool = spool
        psutil.cpu_percent()  # the first call only starts the interval

    def read(self) -> bytes:
        """All measurements in the Prometheus text format.

        Raises ConfigError when the pid file is there but unusable.
        """
        values = measure_host()
        if self._bot is not None:
            values |= self._bot.read()
        if self._spool is not None:
            values |= measure_spool(self._spool)
        registry = CollectorRegistry()
        for name, value in values.items():
            Gauge(name, METRICS[name], registry=registry).set(value)
        return generate_latest(registry)


def measure_host() -> dict[str, float]:
    """The host's measurements by name; CPU use is the average since the last call."""
    memory = psutil.virtual_memory()
    swap = psutil.swap_memory()
    disk = psutil.disk_usage("/")
    load1, load5, load15 = psutil.getloadavg()
    return {
        "rectbot_host_cpu_usage_ratio": psutil.cpu_percent() / 100,
        "rectbot_host_cpus": psutil.cpu_count() or 1,
        "rectbot_host_load1": load1,
        "rectbot_host_load5": load5,
        "rectbot_host_load15": load15,
        "rectbot_host_memory_total_bytes": memory.total,
        "rectbot_host_memory_used_bytes": memory.total - memory.available,
        "rectbot_host_swap_total_bytes": swap.total,
        "rectbot_host_swap_used_bytes": swap.used,
        "rectbot_host_disk_total_bytes": disk.total,
        "rectbot_host_disk_available_bytes": disk.free,
        "rectbot_host_boot_time_seconds": psutil.boot_time(),
    }


def measure_spool(folder: Path) -> dict[str, float]:
    """The measurements of a log spool by name; none while nothing is shipped from here, or it may not be read."""
    try:
        waiting, dropped = look(folder)
    except OSError:
        return {}
    return {"rectbot_bot_log_waiting_bytes": waiting, "rectbot_bot_log_dropped_lines": dropped}


class BotMeter:
    """Measures the process whose number is in `pid_file`; that file, or the process, may come and go."""

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file
        self._process: psutil.Process | None = None
        self.read()

    def read(self) -> dict[str, float]:
        """The process's measurements by name. CPU use is missing for a process that was not there last time."""
        found = _process_of(self._pid_file)
        seen_before = found is not None and found == self._process
        if not seen_before:
            self._process = found
        if self._process is None:
            return {"rectbot_bot_process_up": 0}
        try:
            with self._process.oneshot():
                values = {
                    "rectbot_bot_process_up": 1,
                    "rectbot_bot_process_resident_memory_bytes": self._process.memory_info().rss,
                    "rectbot_bot_process_uptime_seconds": max(0.0, time.time() - self._process.create_time()),
                }
                cpu = self._process.cpu_percent() / 100
        except psutil.Error:  # it ended while we looked
            return {"rectbot_bot_process_up": 0}
        return values | ({"rectbot_bot_process_cpu_usage_ratio": cpu} if seen_before else {})


def _process_of(pid_file: Path) -> psutil.Process | None:
    try:
        text = pid_file.read_text(encoding="ascii")
        written = pid_file.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{pid_file}: cannot be read ({error.strerror}); correct BOT_PID_FILE") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{pid_file}: holds no process id; correct BOT_PID_FILE") from None
    if not text.strip():
        return None  # the bot is about to write it
    try:
        process = psutil.Process(int(text))
        if process.status() == psutil.STATUS_ZOMBIE or process.create_time() > written + PID_FILE_SLACK_SECONDS:
            return None
    except ValueError:
        raise ConfigError(f"{pid_file}: holds no process id; correct BOT_PID_FILE") from None
    except psutil.Error:
        return None
    return process
