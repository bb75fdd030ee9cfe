"""What a push says of a host and of the bot that runs on it.

Names follow the Prometheus conventions (https://prometheus.io/docs/practices/naming/): base units, ratios from 0 to 1.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from rectbot.errors import ConfigError
from rectbot.logs.ship.spool import look
from rectbot.push import counters, proc
from rectbot.push.counters import Counters
from rectbot.push.memory import alert_bytes, memory, swap

METRICS = {
    "rectbot_host_cpu_usage_ratio": "CPU use since the last push, of all cores or a container's quota, from 0 to 1.",
    "rectbot_host_cpus": "Logical CPUs; in a container its quota.",
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

    CPU use is the average since the last `read`; of the first one since `before`, if that is of the same run of this
    host, else since the meter was made. `memory_alert` is MEMORY_ALERT: a size or a share of the memory, sent along for
    the alert XserverHighMemory.

    Raises ConfigError when the pid file is there but unusable, as `read` does.
    """

    def __init__(
        self,
        pid_file: Path | None,
        spool: Path | None = None,
        memory_alert: str | None = None,
        before: Counters | None = None,
    ) -> None:
        self._pid_file = pid_file
        self._spool = spool
        self._memory_alert = memory_alert
        self.counters = counters.now(self._bot() or [])
        if before is not None and counters.comparable(before, self.counters):
            self.counters = before

    @property
    def seconds(self) -> float:
        """How long ago the average begins that the next `read` gives."""
        return proc.uptime() - self.counters.at

    def read(self) -> bytes:
        """All measurements in the Prometheus text format; what this host does not tell is left out.

        Raises ConfigError when the pid file is there but unusable, or MEMORY_ALERT is wrong.
        """
        bot = self._bot()
        before, self.counters = self.counters, counters.now(bot or [])
        values = measure_host()
        if self._memory_alert is not None:
            limit = alert_bytes(self._memory_alert, values.get("rectbot_host_memory_total_bytes"))
            values |= {} if limit is None else {ALERT_METRIC[0]: limit}
        if bot is not None:
            values |= measure_bot(bot)
        if self._spool is not None:
            values |= measure_spool(self._spool)
        use = {
            "rectbot_host_cpu_usage_ratio": counters.host_use(before, self.counters),
            "rectbot_bot_process_cpu_usage_ratio": counters.bot_use(before, self.counters),
        }
        return exposition(values | {name: value for name, value in use.items() if value is not None})

    def _bot(self) -> list[proc.Process] | None:
        """The bot's processes, the one of the pid file first; None when it is not known whether there are any."""
        return None if self._pid_file is None else find_bot(self._pid_file)


def exposition(values: dict[str, float]) -> bytes:
    """In the text format: https://prometheus.io/docs/instrumenting/exposition_formats/."""
    help_texts = dict([*METRICS.items(), ALERT_METRIC])
    return "".join(
        f"# HELP {name} {help_texts[name]}\n# TYPE {name} gauge\n{name} {float(value)!r}\n"
        for name, value in values.items()
    ).encode()


def measure_host() -> dict[str, float]:
    """The host's measurements by name, without what it does not tell, and without CPU use, which takes two readings."""
    values: dict[str, float] = {"rectbot_host_cpus": counters.cpus()}
    with suppress(OSError):
        values |= zip(("rectbot_host_load1", "rectbot_host_load5", "rectbot_host_load15"), os.getloadavg(), strict=True)
    for kind, amount in (("memory", memory()), ("swap", swap())):
        if amount is not None:
            values[f"rectbot_host_{kind}_total_bytes"] = amount.total
            values[f"rectbot_host_{kind}_used_bytes"] = amount.used
    with suppress(OSError):
        disk = os.statvfs("/")
        values["rectbot_host_disk_total_bytes"] = disk.f_blocks * disk.f_frsize
        values["rectbot_host_disk_available_bytes"] = disk.f_bavail * disk.f_frsize
    values["rectbot_host_boot_time_seconds"] = proc.boot_time()
    return values


def measure_spool(folder: Path) -> dict[str, float]:
    """The measurements of a log spool by name; none while nothing is shipped from here, or it may not be read."""
    try:
        waiting, dropped = look(folder)
    except OSError:
        return {}
    return {"rectbot_bot_log_waiting_bytes": waiting, "rectbot_bot_log_dropped_lines": dropped}


def measure_bot(bot: list[proc.Process]) -> dict[str, float]:
    """The measurements of the bot's processes by name, but their CPU use."""
    if not bot:
        return {"rectbot_bot_process_up": 0}
    return {
        "rectbot_bot_process_up": 1,
        "rectbot_bot_process_resident_memory_bytes": sum(each.resident_bytes for each in bot),
        "rectbot_bot_process_uptime_seconds": bot[0].age,
    }


def find_bot(pid_file: Path) -> list[proc.Process] | None:
    """The process whose number is in `pid_file`, and all that it has started: the bot is one of them.

    Empty when it does not run; None when there is one of this number that may not be looked at. Raises ConfigError
    when the file is there but unusable.
    """
    try:
        text = pid_file.read_text(encoding="ascii").strip()
        written = pid_file.stat().st_mtime
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{pid_file}: cannot be read ({error.strerror}); correct BOT_PID_FILE") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{pid_file}: holds no process id; correct BOT_PID_FILE") from None
    if not text:
        return []  # the bot is about to write it
    if not text.isdecimal():
        raise ConfigError(f"{pid_file}: holds no process id; correct BOT_PID_FILE")
    pid = int(text[:20])
    process = proc.process(pid)
    if process is None:
        return None if pid > 0 and proc.exists(pid) else []
    if process.state in "ZX" or time.time() - process.age > written + PID_FILE_SLACK_SECONDS:
        return []
    return [process, *proc.descendants(process)]
