"""What the dashboard asks: SQL on the history's views, in PostgreSQL's words, and how Metabase draws the answer.

Shares are cut off, not rounded: 100 % is what was without a gap. Times are UTC's, as everywhere in the history.
"""

from __future__ import annotations

from typing import Any, NamedTuple

COLLECTION = "rectbot"
COLLECTION_TEXT = "How the bot was doing, from rectbot's history. Made by 'rectbot bi setup'."
DASHBOARD = "The bot, month by month"
DASHBOARD_TEXT = "Availability, outages, switches and alerts. Times are in UTC. See docs/bi.md of rectbot."
DATABASE = "rectbot history"
WIDTH = 24  # columns of a dashboard


class Place(NamedTuple):
    """Where a question stands on the dashboard, in its grid's units."""

    row: int
    col: int
    size_x: int
    size_y: int


class Question(NamedTuple):
    """One question. `key` stays the same for ever: by it what was made is found again."""

    key: str
    name: str
    text: str
    sql: str
    display: str
    looks: dict[str, Any]
    place: Place


def _axes(dimension: str, metrics: list[str], **more: Any) -> dict[str, Any]:
    return {"graph.dimensions": dimension.split(), "graph.metrics": metrics, **more}


_STACKED: dict[str, Any] = {"stackable.stack_type": "stacked"}

QUESTIONS = (
    Question(
        "this-month",
        "Availability this month, in %",
        "The share of the time, so far, at which the bot was logged in.",
        "SELECT trunc(100 * availability, 3) AS availability FROM uptime_by_month ORDER BY month DESC LIMIT 1",
        "scalar",
        {"scalar.field": "availability"},
        Place(0, 0, 6, 4),
    ),
    Question(
        "by-day",
        "Availability by day, in %",
        "The last 90 days.",
        "SELECT date::date AS date, trunc(100 * availability, 3) AS availability FROM uptime_by_day\n"
        "WHERE date >= to_char((now() AT TIME ZONE 'UTC') - interval '90 days', 'YYYY-MM-DD') ORDER BY date",
        "line",
        _axes("date", ["availability"]),
        Place(0, 6, 18, 6),
    ),
    Question(
        "by-month",
        "Availability by month, in %",
        "Every month since the history began.",
        "SELECT month, trunc(100 * availability, 3) AS availability,\n"
        "    trunc((counted_ms - up_ms) / 1000.0, 3) AS down_s FROM uptime_by_month ORDER BY month",
        "table",
        {},
        Place(6, 0, 8, 6),
    ),
    Question(
        "recovery",
        "Outages by month",
        "How many, how long on average until the bot was back, and the longest, in seconds; by when they began.",
        "SELECT month, outages, trunc(down_ms / 1000.0, 3) AS down_s, trunc(mean_time_to_recover_s, 3) AS"
        " mean_time_to_recover_s,\n    trunc(longest_gap_s, 3) AS longest_gap_s FROM recovery_by_month ORDER BY month",
        "table",
        {},
        Place(6, 8, 16, 6),
    ),
    Question(
        "outages",
        "The last outages",
        "The 100 latest: from when, until when, how long in seconds, where the bot had been, and how that ended.",
        'SELECT "from", until, length_ms / 1000.0 AS seconds, site_before, why FROM outage\n'
        "ORDER BY start_ms DESC LIMIT 100",
        "table",
        {},
        Place(12, 0, 14, 8),
    ),
    Question(
        "sites",
        "Who has led, in hours",
        "For how long each site has held the lease since the history began.",
        "SELECT site, round(leads_ms / 3600000.0, 3) AS hours FROM uptime_by_site ORDER BY site",
        "pie",
        {"pie.dimension": ["site"], "pie.metric": "hours"},
        Place(12, 14, 10, 8),
    ),
    Question(
        "switches",
        "Switches by week",
        "Planned: the lead was handed over or released. Unplanned: all others. A week begins on Monday.",
        "SELECT week::date AS week, planned, unplanned FROM switches_by_week ORDER BY week",
        "bar",
        _axes("week", ["planned", "unplanned"]) | _STACKED,
        Place(20, 0, 12, 6),
    ),
    Question(
        "logins",
        "Logins by day",
        "By site. Discord resets the token of a bot after 1,000 in a day.",
        "SELECT date::date AS date, site, logins FROM logins_by_day ORDER BY date, site",
        "bar",
        _axes("date site", ["logins"]) | _STACKED,
        Place(20, 12, 12, 6),
    ),
    Question(
        "alerts",
        "Alerts by week",
        "How often each has fired. A week begins on Monday.",
        "SELECT week::date AS week, name, SUM(fired) AS fired FROM alerts_by_week GROUP BY week, name\n"
        "ORDER BY week, name",
        "bar",
        _axes("week name", ["fired"]) | _STACKED,
        Place(26, 0, 24, 6),
    ),
)
