"""Hosts: what `rectbot push` measures there; gaps where pushes stopped."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, gauge, stat, timeseries

from rectbot.dashboards import shared
from rectbot.dashboards.blocks import NO_PUSH, Query, gauge_panel, graph, stat_panel, timeline
from rectbot.dashboards.frame import page, push_job_variable
from rectbot.dashboards.limits import Limits

_NOT_SHIPPED = "No logs are shipped from there: set LOKI_URL"
_UP = {1: ("runs", "green"), 0: ("is down", "red")}


def build(limits: Limits) -> dashboard.Dashboard:
    """The dashboard."""
    pushed = _Pushed(limits)
    return page(
        "rectbot-hosts",
        "What the hosts of PUSH_JOBS push every minute. Only fresh pushes are shown: a gap is a host that is silent.",
        [push_job_variable()],
        [
            shared.last_push(limits),
            stat_panel(
                "Up for",
                "Time since the host was started.",
                pushed.query("time() - rectbot_host_boot_time_seconds{JOB}", "{{job}}"),
                unit="s",
                decimals=1,
                none=NO_PUSH,
            ),
            _cpu_now(pushed, limits),
            _memory_now(pushed),
            _disk_now(pushed, limits),
            stat_panel(
                "Bot's memory",
                "Resident memory of the bot's process.",
                pushed.query("rectbot_bot_process_resident_memory_bytes{JOB}", "{{job}}"),
                unit="bytes",
                decimals=1,
                none="No bot runs there, or BOT_PID_FILE is not set for 'rectbot push'",
            ),
            timeline(
                "Bot's process",
                "Whether the process whose number is in BOT_PID_FILE runs. No colour: pushes stopped.",
                pushed.query("rectbot_bot_process_up{JOB}", "{{job}}"),
                states=_UP,
                size=(16, 4),
                none="Set BOT_PID_FILE for 'rectbot push' to see the bot's process",
            ),
            *_log_spool(pushed),
            *_graphs(pushed, limits),
            _push_age(limits),
        ],
        since="now-6h",
        refresh="30s",
    )


class _Pushed:
    """Queries of pushed metrics: `{JOB}` is the chosen jobs; without fresh pushes there is nothing."""

    def __init__(self, limits: Limits) -> None:
        self._fresh = shared.fresh(limits)

    def query(self, expr: str, legend: str) -> Query:
        return Query(f"({expr}) {self._fresh}".replace("{JOB}", '{job=~"$job"}'), legend)


def _cpu_now(pushed: _Pushed, limits: Limits) -> gauge.Panel:
    return gauge_panel(
        "CPU",
        "CPU use of all cores since the push before. Red: over the limit of XserverHighCPU, there of 5 minutes.",
        pushed.query("rectbot_host_cpu_usage_ratio{JOB}", "{{job}}"),
        steps=((None, "green"), (limits.of("XserverHighCPU"), "red")),
        size=(4, 4),
        decimals=0,
        none=NO_PUSH,
    )


def _memory_now(pushed: _Pushed) -> gauge.Panel:
    return gauge_panel(
        "Memory",
        "Share of the memory that cannot be had without swapping. The alert's limit is in bytes: see below.",
        pushed.query("rectbot_host_memory_used_bytes{JOB} / rectbot_host_memory_total_bytes{JOB}", "{{job}}"),
        steps=((None, "blue"),),
        size=(4, 4),
        decimals=0,
        none=NO_PUSH,
    )


def _disk_now(pushed: _Pushed, limits: Limits) -> gauge.Panel:
    return gauge_panel(
        "Disk free",
        "Room for users' files on the root file system. Red: below the limit of DiskFilling.",
        pushed.query("rectbot_host_disk_available_bytes{JOB} / rectbot_host_disk_total_bytes{JOB}", "{{job}}"),
        steps=((None, "red"), (limits.of("DiskFilling"), "green")),
        size=(4, 4),
        decimals=0,
        none=NO_PUSH,
    )


def _log_spool(pushed: _Pushed) -> list[stat.Panel]:
    return [
        stat_panel(
            "Logs waiting",
            "Log lines of the bot that wait on its disk for Loki, compressed. It grows while they cannot be shipped.",
            pushed.query("rectbot_bot_log_waiting_bytes{JOB}", "{{job}}"),
            unit="bytes",
            decimals=0,
            none=_NOT_SHIPPED,
        ),
        stat_panel(
            "Log lines dropped",
            "Log lines of the bot in this time that were lost, as more waited for Loki than LOKI_SPOOL_MB allows.",
            pushed.query("increase(rectbot_bot_log_dropped_lines{JOB}[$__range])", "{{job}}"),
            decimals=0,
            steps=((None, "green"), (1, "orange")),
            none=_NOT_SHIPPED,
        ),
    ]


def _graphs(pushed: _Pushed, limits: Limits) -> list[timeseries.Panel]:
    return [
        graph(
            "CPU",
            "CPU use of all cores, and of the bot's process, for which 100 % is one core. Dashed: XserverHighCPU.",
            pushed.query("rectbot_host_cpu_usage_ratio{JOB}", "{{job}} host"),
            pushed.query("rectbot_bot_process_cpu_usage_ratio{JOB}", "{{job}} bot"),
            limits=((None, "green"), (limits.of("XserverHighCPU"), "red")),
            unit="percentunit",
            none=NO_PUSH,
        ).min(0),
        graph(
            "Memory",
            "Used: cannot be had without swapping. Dashed: XserverHighMemory.",
            pushed.query("rectbot_host_memory_used_bytes{JOB}", "{{job}} used"),
            pushed.query("rectbot_host_memory_total_bytes{JOB}", "{{job}} there"),
            pushed.query("rectbot_host_swap_used_bytes{JOB}", "{{job}} swap used"),
            pushed.query("rectbot_bot_process_resident_memory_bytes{JOB}", "{{job}} bot"),
            limits=((None, "green"), (limits.of("XserverHighMemory"), "red")),
            unit="bytes",
            none=NO_PUSH,
        ).min(0),
        graph(
            "Load",
            "Processes that run or wait, on average over 1, 5 and 15 minutes. Above the number of CPUs they wait.",
            pushed.query("rectbot_host_load1{JOB}", "{{job}} 1 min"),
            pushed.query("rectbot_host_load5{JOB}", "{{job}} 5 min"),
            pushed.query("rectbot_host_load15{JOB}", "{{job}} 15 min"),
            pushed.query("rectbot_host_cpus{JOB}", "{{job}} CPUs"),
            unit="short",
            decimals=2,
            none=NO_PUSH,
        ).min(0),
        graph(
            "Disk free",
            "Room for users' files on the root file system. Dashed: DiskFilling.",
            pushed.query("rectbot_host_disk_available_bytes{JOB} / rectbot_host_disk_total_bytes{JOB}", "{{job}}"),
            limits=((None, "green"), (limits.of("DiskFilling"), "red")),
            unit="percentunit",
            none=NO_PUSH,
        )
        .min(0)
        .max(1),
    ]


def _push_age(limits: Limits) -> timeseries.Panel:
    stale, missing = limits.of("XserverPushStale"), limits.of("XserverPushMissing")
    return graph(
        "Age of the last push",
        "It grows where pushes stop. Dashed: XserverPushStale, XserverPushMissing.",
        Query('time() - push_time_seconds{job=~"$job"}', "{{job}}"),
        limits=((None, "green"), (stale, "orange"), (missing, "red")),
        size=(24, 6),
        unit="s",
        none=NO_PUSH,
    ).min(0)
