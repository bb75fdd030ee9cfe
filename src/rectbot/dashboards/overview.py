"""Overview: who leads, since when, and is anything wrong."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, stat
from grafana_foundation_sdk.builders import table as tables

from rectbot.dashboards import shared
from rectbot.dashboards.blocks import (
    LEVEL_COLOURS,
    LOKI,
    NO_LINES,
    NO_PUSH,
    Query,
    graph,
    stat_panel,
    table_panel,
    text_panel,
    timeline,
)
from rectbot.dashboards.frame import page, push_job_variable, site_variable
from rectbot.dashboards.limits import Limits

_GUIDE = """\
**Hosts**: is the host well, does it push. **Failover**: why the lead moved, how close renewals come to the
lease's end. **Logs**: what the bots say. In a shell: `rectbot status`, and `rectbot doctor`, which says what is wrong
and how to mend it. What to do about each alert stands in `docs/operations.md`.
"""


def build(limits: Limits) -> dashboard.Dashboard:
    """The dashboard."""
    return page(
        "rectbot-overview",
        "Who leads, since when, and is anything wrong.",
        [site_variable(), push_job_variable()],
        [
            shared.leader(),
            shared.leads_for(),
            _ready(),
            shared.last_push(limits),
            _firing(),
            _down(),
            shared.who_led(),
            shared.sites(),
            _alerts(),
            timeline(
                "Alerts over time",
                "When which alert fired.",
                Query('max by (alertname) (ALERTS{alertstate="firing"})', "{{alertname}}"),
                states={1: ("fires", "red")},
                none="No alert fired in this time",
            ),
            graph(
                "CPU and memory of the hosts",
                "Shares of the host's CPUs and memory in use. A gap: pushes stopped.",
                Query(f'rectbot_host_cpu_usage_ratio{{job=~"$job"}} {shared.fresh(limits)}', "{{job}} CPU"),
                Query(
                    'rectbot_host_memory_used_bytes{job=~"$job"} / rectbot_host_memory_total_bytes{job=~"$job"} '
                    + shared.fresh(limits),
                    "{{job}} memory",
                ),
                unit="percentunit",
                none=NO_PUSH,
            )
            .min(0)
            .max(1),
            graph(
                "Warnings and errors in the logs",
                "Lines by level in each step.",
                Query(
                    'sum by (level) (count_over_time({site=~"$site", level=~"warn|error|critical"}[$__interval]))',
                    "{{level}}",
                ),
                bars=True,
                colours={level: LEVEL_COLOURS[level] for level in ("warn", "error", "critical")},
                source=LOKI,
                none=NO_LINES,
            ).interval("1m"),
            text_panel("Where to look next", _GUIDE),
        ],
        since="now-24h",
        refresh="30s",
    )


def _ready() -> stat.Panel:
    return stat_panel(
        "Sites that can lead",
        "With two, somebody can take over. With one, nobody. With none, no bot is online for long.",
        Query("sum(rectbot_failover_site_eligible)"),
        steps=((None, "red"), (1, "orange"), (2, "green")),
    )


def _firing() -> stat.Panel:
    return stat_panel(
        "Firing alerts",
        "What Discord was told and is not over.",
        Query('count(ALERTS{alertstate="firing"}) or vector(0)'),
        steps=((None, "green"), (1, "red")),
    )


def _down() -> stat.Panel:
    return stat_panel(
        "Parts down",
        "Parts of the stack that Prometheus cannot scrape, and the lease's store when the hub cannot read it.",
        Query("count((up == 0) or (rectbot_redis_up == 0)) or vector(0)"),
        steps=((None, "green"), (1, "red")),
    )


def _alerts() -> tables.Panel:
    return table_panel(
        "Firing alerts now",
        "Each is explained in docs/operations.md.",
        Query('ALERTS{alertstate="firing"}'),
        columns={"alertname": "Alert", "severity": "Severity", "area": "Area", "site": "Site", "job": "Job"},
        none="Nothing fires",
    )
