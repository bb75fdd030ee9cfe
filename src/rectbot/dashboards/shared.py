"""Panels that more than one dashboard shows."""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, statetimeline, table
from grafana_foundation_sdk.models import common as c

from rectbot.dashboards.blocks import (
    NO_PUSH,
    Query,
    column_link,
    column_states,
    column_unit,
    stat_panel,
    table_panel,
    timeline,
)
from rectbot.dashboards.limits import Limits

_STATE = (
    'max by (site) (2 * (rectbot_failover_leader{site=~"$site"} == 1) or rectbot_failover_site_eligible{site=~"$site"})'
)
SITE_STATES = {2: ("leads", "green"), 1: ("stands ready", "blue"), 0: ("cannot lead", "orange")}
NOBODY = "Nobody leads"
NO_LEADER_KNOWN = "No leader is known"
UNKNOWN = Query("vector(-1) unless on () (rectbot_redis_up == 1)", "unknown")
"""For a panel whose emptiness says something: nothing may be concluded from it while the hub does not see the store."""


def fresh(limits: Limits) -> str:
    """What follows a pushed metric in PromQL: only while its push is fresh.

    A Pushgateway exposes the last push for ever; without this a dead host's lines would go on.
    """
    age = 'time() - push_time_seconds{job=~"$job"}'
    return f"and on (job, instance) ({age} <= {limits.of('XserverPushStale'):g})"


def leader() -> stat.Panel:
    """Who leads."""
    return stat_panel(
        "Leader",
        "The site whose bot is logged in. Green: the most preferred one.",
        Query("rectbot_failover_site_priority and on (site) rectbot_failover_leader == 1", "{{site}}"),
        UNKNOWN,
        show=c.BigValueTextMode.NAME,
        steps=((None, "text"), (0, "green"), (1, "orange")),
        none=NOBODY,
    )


def leads_for() -> stat.Panel:
    """Since when."""
    return stat_panel(
        "Leads for",
        "Time since the leader was granted the lead.",
        Query("time() - rectbot_failover_leader_since_timestamp_seconds", "{{site}}"),
        unit="s",
        decimals=1,
        none=NO_LEADER_KNOWN,
    )


def last_push(limits: Limits) -> stat.Panel:
    """How old the last push is."""
    stale, missing = limits.of("XserverPushStale"), limits.of("XserverPushMissing")
    return stat_panel(
        "Last push",
        "Time since the last push of each host. Orange: as XserverPushStale; red: as XserverPushMissing.",
        Query('time() - push_time_seconds{job=~"$job"}', "{{job}}"),
        unit="s",
        decimals=0,
        steps=((None, "green"), (stale, "orange"), (missing, "red")),
        none=NO_PUSH,
    )


def who_led() -> statetimeline.Panel:
    """A row for each site."""
    return timeline(
        "Who led",
        "Each site's state over time. No colour: the hub or Redis told nothing.",
        Query(_STATE, "{{site}}"),
        states=SITE_STATES,
    )


def sites() -> table.Panel:
    """A line for each site."""
    return table_panel(
        "Sites",
        "Choice: 1 is the most preferred. Heartbeat: its age; empty when the site is silent. Gives way for: so long it"
        " leaves the lead to others, after repeated losses of it; empty when it does not.",
        Query(_STATE),
        Query('1 + max by (site) (rectbot_failover_site_priority{site=~"$site"})'),
        Query('max by (site) (rectbot_failover_heartbeat_age_seconds{site=~"$site"})'),
        Query('max by (site) (rectbot_failover_site_drained{site=~"$site"})'),
        Query('max by (site) (rectbot_failover_site_damped_seconds{site=~"$site"}) > 0'),
        columns={
            "site": "Site",
            "Value #A": "State",
            "Value #B": "Choice",
            "Value #C": "Heartbeat",
            "Value #D": "Drained",
            "Value #E": "Gives way for",
        },
        overrides={
            "Site": column_link("Logs of this site", "/d/rectbot-logs?var-site=${__data.fields.Site}"),
            "State": column_states(SITE_STATES),
            "Heartbeat": column_unit("s", 1),
            "Drained": column_states({0: ("no", "text"), 1: ("yes", "orange")}),
            "Gives way for": column_unit("s"),
        },
    )
