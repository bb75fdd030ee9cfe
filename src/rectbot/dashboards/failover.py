"""Failover: the lease, its renewals, why the lead moved, and the logins that this cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, gauge, timeseries
from grafana_foundation_sdk.models import common as c

from rectbot.dashboards import shared
from rectbot.dashboards.blocks import NO_HUB, Query, gauge_panel, graph, log_panel, stat_panel
from rectbot.dashboards.frame import page, site_variable
from rectbot.dashboards.limits import Limits

_NO_RENEWALS = "No renewal is known in this time"


def build(limits: Limits) -> dashboard.Dashboard:
    """The dashboard."""
    return page(
        "rectbot-failover",
        "The lease, its renewals, why the lead moved, and the logins that this cost.",
        [site_variable()],
        [
            shared.leader(),
            shared.leads_for(),
            stat_panel(
                "Operators' orders",
                "What operators have ordered and not taken back: rectbot failover hold, drain, switch.",
                Query("rectbot_failover_hold == 1", "hold"),
                Query("rectbot_failover_site_drained == 1", "drained: {{site}}"),
                Query(
                    "rectbot_failover_pinned == 1 and on (site) rectbot_failover_site_priority > 0",
                    "switched to {{site}}",
                ),
                shared.UNKNOWN,
                show=c.BigValueTextMode.NAME,
                steps=((None, "text"), (0, "blue")),
                none="None: moves are automatic",
            ),
            stat_panel(
                "Leads granted in 1 h",
                "How often the lease was granted anew. Orange: as FailoverFlapping.",
                Query("changes(rectbot_failover_epoch[1h])"),
                # the alert fires at more than the limit, a colour begins at its value
                steps=((None, "green"), (limits.of("FailoverFlapping") + 1, "orange")),
            ),
            stat_panel(
                "Logins in 24 h",
                "Logins of all sites. Discord resets a token after 1,000.",
                Query("round(sum(increase(rectbot_failover_logins_total[24h])))"),
                decimals=0,
            ),
            _budget(limits),
            shared.who_led(),
            shared.sites(),
            _transitions(),
            _lease(limits),
            _latency(),
            *_renewals(),
            _logins(),
            log_panel(
                "What the bots said of it",
                "The failover's own lines, as the sites shipped them.",
                # the words first: a store looks for them in whole blocks, and reads as JSON only what has them
                '{site=~"$site"} |= "rectbot." | json logger="logger", msg="msg"'
                ' | logger=~`rectbot\\.(failover|bot).*` | line_format "{{.msg}}"',
                size=(24, 8),
            ),
        ],
        since="now-6h",
        refresh="30s",
    )


def _budget(limits: Limits) -> gauge.Panel:
    return gauge_panel(
        "Login budget",
        "Logins that may follow each other now, of those when the budget is full. Red: as FailoverLoginBudgetLow.",
        Query("rectbot_failover_logins_left / rectbot_failover_login_burst"),
        steps=((None, "red"), (limits.of("FailoverLoginBudgetLow"), "green")),
        size=(4, 4),
        decimals=0,
        none=NO_HUB,
    )


def _transitions() -> timeseries.Panel:
    events = 'rectbot_failover_events_total{site=~"$site"}'
    return graph(
        "Transitions by reason",
        "Events in each step, by kind; docs/failover.md explains the kinds.",
        Query(f"sum by (kind) ({events} - {events} offset $__interval) > 0", "{{kind}}"),
        bars=True,
        decimals=0,
        size=(12, 6),
        none="No transition is known in this time",
    ).interval("1m")


def _lease(limits: Limits) -> timeseries.Panel:
    lease = "rectbot_failover_lease_remaining_seconds"
    panel = graph(
        "Lease left",
        "Share of the lease that is left at each scrape; renewed at two thirds. Dashed: FailoverLeaseLow, when it dips"
        " below again and again.",
        Query(f"{lease} / max_over_time({lease}[5m])", "left"),
        limits=((None, "green"), (limits.of("FailoverLeaseLow"), "red")),
        unit="percentunit",
        none=shared.NO_LEADER_KNOWN,
    )
    return panel.min(0).max(1)


def _latency() -> timeseries.Panel:
    buckets = 'rectbot_failover_renewal_duration_seconds_bucket{site=~"$site"}'
    queries = [
        Query(
            f"histogram_quantile({quantile}, sum by (site, le) (rate({buckets}[$__rate_interval])))",
            f"{{{{site}}}} p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    ]
    return graph(
        "Renewals' latency",
        "From the sending of a renewal to its answer, as the leader measured it: median, 95th and 99th percentile.",
        *queries,
        unit="s",
        none=_NO_RENEWALS,
    ).min(0)


def _renewals() -> list[timeseries.Panel]:
    count = 'rectbot_failover_renewal_duration_seconds_count{site=~"$site"}'
    failed = 'rectbot_failover_renewals_failed_total{site=~"$site"}'
    return [
        graph(
            "Renewals per minute",
            "Answered, and not answered in time.",
            Query(f"60 * sum by (site) (rate({count}[$__rate_interval]))", "{{site}} answered"),
            Query(f"60 * sum by (site) (rate({failed}[$__rate_interval]))", "{{site}} failed"),
            decimals=1,
            none=_NO_RENEWALS,
        ).min(0),
        graph(
            "Heartbeats",
            "Age of each site's last heartbeat. No line: the site is silent.",
            Query('max by (site) (rectbot_failover_heartbeat_age_seconds{site=~"$site"})', "{{site}}"),
            unit="s",
        ).min(0),
    ]


def _logins() -> timeseries.Panel:
    logins = 'rectbot_failover_logins_total{site=~"$site"}'
    return graph(
        "Logins",
        "Logins at Discord in each step, by site.",
        Query(f"sum by (site) ({logins} - {logins} offset $__interval)", "{{site}}"),
        bars=True,
        decimals=0,
        size=(24, 6),
    ).interval("1m")
