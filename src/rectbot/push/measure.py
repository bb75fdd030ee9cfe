"""What a push says of a host and of the bot that runs on it.

Names follow the Prometheus conventions (https://prometheus.io/docs/practices/naming/): base units, ratios from 0 to 1.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from rectbot.errors import ConfigError
from rectbot.logs.ship.spool import look
from rectbot.push.memory import alert_bytes, memory, swap

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
    "rectbot_bot_process_cpu_usage_ratio": "CPU use of the bot and its agent since the last push; 1 is one core.",
    "rectbot_bot_process_resident_memory_bytes": "Memory of the bot and its agent, each process by itself.",
    "rectbot_bot_process_uptime_seconds": "Time since the bot's process began.",
    "rectbot_bot_log_waiting_bytes": "Log lines of the bot that wait for Loki, compressed.",
    "rectbot_bot_log_dropped_lines": "Log lines of the bot that were dropped since its spool was made: it was full.",
}

# Sent only where the operator has set it; XserverHighMemory takes it in place of its own limit.
ALERT_METRIC = ("rectbot_host_memory_alert_bytes", "Memory in use of which the operator wants to be told.")

# A process that began this long after the pid file was written is not the bot but got the number of a dead one: after
# a reboot the numbers start again. The slack is for clocks that are set after boot.
PID_FILE_SLACK_SECONDS = 600


class Meter:
    """Measures this host, the process whose number is in `pid_file`, and the spool of its log in the folder `spool`.

    CPU use is the average since the last `read`, or since the meter was made; let at least 0.1 seconds pass.
    `memory_alert` is MEMORY_ALERT: a size or a share of the memory, sent along for the alert XserverHighMemory.
    """

    def __init__(self, pid_file: Path | None, spool: Path | None = None, memory_alert: str | None = None) -> None:
        self._bot = None if pid_file is None else BotMeter(pid_file)
        self._spool = spool
        self._memory_alert = memory_alert
        _cpu_usage()  # the first call only starts the interval

    def read(self) -> bytes:
        """All measurements in the Prometheus text format; what this host does not tell is left out.

        Raises ConfigError when the pid file is there but unusable, or MEMORY_ALERT is wrong.
        """
        values = measure_host()
        if self._memory_alert is not None:
            limit = alert_bytes(self._memory_alert, values.get("rectbot_host_memory_total_bytes"))
            values |= {} if limit is None else {ALERT_METRIC[0]: limit}
        if self._bot is not None:
            values |= self._bot.read()
        if self._spool is not None:
            values |= measure_spool(self._spool)
        registry = CollectorRegistry()
        help_texts = dict([*METRICS.items(), ALERT_METRIC])
        for name, value in values.items():
            Gauge(name, help_texts[name], registry=registry).set(value)
        return generate_latest(registry)


def measure_host() -> dict[str, float]:
    """The host's measurements by name, without what it does not tell; CPU use is the average since the last call."""
    values: dict[str, float] = {"rectbot_host_cpus": psutil.cpu_count() or 1}
    if (cpu := _cpu_usage()) is not None:
        values["rectbot_host_cpu_usage_ratio"] = cpu
    with suppress(OSError):
        values |= zip(("rectbot_host_load1", "rectbot_host_load5", "rectbot_host_load15"), os.getloadavg(), strict=True)
    for kind, amount in (("memory", memory()), ("swap", swap())):
        if amount is not None:
            values[f"rectbot_host_{kind}_total_bytes"] = amount.total
            values[f"rectbot_host_{kind}_used_bytes"] = amount.used
    with suppress(OSError):
        disk = psutil.disk_usage("/")
        values["rectbot_host_disk_total_bytes"] = disk.total
        values["rectbot_host_disk_available_bytes"] = disk.free
    values["rectbot_host_boot_time_seconds"] = _boot_time()
    return values


def _cpu_usage() -> float | None:
    with suppress(Exception):  # without /proc/stat psutil raises whatever its parser stumbles over
        return min(max(psutil.cpu_percent() / 100, 0.0), 1.0)
    return None


def _boot_time() -> float:
    with suppress(Exception):  # as above; a container may have a time of its own there
        if (told := psutil.boot_time()) > 0:
            return told
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def measure_spool(folder: Path) -> dict[str, float]:
    """The measurements of a log spool by name; none while nothing is shipped from here, or it may not be read."""
    try:
        waiting, dropped = look(folder)
    except OSError:
        return {}
    return {"rectbot_bot_log_waiting_bytes": waiting, "rectbot_bot_log_dropped_lines": dropped}


class BotMeter:
    """Measures the process whose number is in `pid_file`, and all that it has started: the bot is one of them.

    The file, or the processes, may come and go.
    """

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file
        self._process: psutil.Process | None = None
        self._family: list[psutil.Process] = []
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
            started = _descendants(self._process)
            # The ones that we have seen before know how much CPU time they had used then.
            self._family = [self._process, *(known for known in self._family if known in started)]
            self._family += [new for new in started if new not in self._family]
            measured = [(self._process.memory_info().rss, self._process.cpu_percent())]
            for each in self._family[1:]:
                with suppress(psutil.Error, OSError):  # it ended while we looked
                    measured.append((each.memory_info().rss, each.cpu_percent()))
            values = {
                "rectbot_bot_process_up": 1,
                "rectbot_bot_process_resident_memory_bytes": sum(memory for memory, _ in measured),
                "rectbot_bot_process_uptime_seconds": _age(self._process),
            }
            cpu = sum(percent for _, percent in measured) / 100
        except (psutil.Error, OSError):  # it ended while we looked
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
        if process.status() == psutil.STATUS_ZOMBIE or time.time() - _age(process) > written + PID_FILE_SLACK_SECONDS:
            return None
    except ValueError:
        raise ConfigError(f"{pid_file}: holds no process id; correct BOT_PID_FILE") from None
    except (psutil.Error, OSError):
        return None
    return process


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    """Not by psutil's children(), which wants /proc/stat."""
    parents: dict[int, int] = {}
    for pid in psutil.pids():
        with suppress(OSError, ValueError, IndexError):  # it has ended
            parents[pid] = int(_stat(pid)[1])
    family, found = {process.pid}, []
    while new := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= new
        for pid in sorted(new):
            with suppress(psutil.Error, OSError):
                found.append(psutil.Process(pid))
    return found


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third, the state, on. Raises OSError."""
    return (Path(psutil.PROCFS_PATH) / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _age(process: psutil.Process) -> float:
    """Seconds since a process began. Not from psutil's create_time, which wants /proc/stat. Raises OSError."""
    ticks = int(_stat(process.pid)[19])  # starttime
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
