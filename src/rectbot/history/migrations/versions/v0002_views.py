"""The views that answer questions; for people, and for Metabase. The last leadership goes on until now."""

from alembic import op

revision = "0002"
down_revision = "0001"

_DAY = 86_400_000
_DIALECTS = {
    "sqlite": {
        "now": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        "date": "strftime('%Y-%m-%d', {0} / 1000, 'unixepoch')",
        "week": "strftime('%Y-%m-%d', ({0} / 1000 / 86400 * 86400) - (({0} / 86400000 + 3) % 7) * 86400, 'unixepoch')",
        "moment": "strftime('%Y-%m-%dT%H:%M:%fZ', {0} / 1000.0, 'unixepoch')",
    },
    "postgresql": {
        "now": "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS bigint)",
        "date": "to_char(to_timestamp({0} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        "week": "to_char(date_trunc('week', to_timestamp({0} / 1000.0) AT TIME ZONE 'UTC'), 'YYYY-MM-DD')",
        "moment": "to_char(to_timestamp({0} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
    },
}
VIEWS = (
    "up_span",
    "outage",
    "day_up",
    "uptime_by_day",
    "uptime_by_month",
    "site_by_day",
    "uptime_by_site",
    "recovery_by_month",
    "preferred_share_by_month",
    "logins_by_day",
    "switches_by_week",
    "alerts_by_week",
    "push_gap",
)


def upgrade() -> None:
    words = _DIALECTS[op.get_bind().dialect.name]
    for name, query in _queries(words).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def _days(start: str, end: str) -> str:
    """How long a span lasts within the day whose number is d."""
    return (
        f"(CASE WHEN {end} < (d + 1) * {_DAY} THEN {end} ELSE (d + 1) * {_DAY} END)"
        f" - (CASE WHEN {start} > d * {_DAY} THEN {start} ELSE d * {_DAY} END)"
    )


def _queries(words: dict[str, str]) -> dict[str, str]:
    now = words["now"]

    def date(of: str) -> str:
        return words["date"].format(of)

    def week(of: str) -> str:
        return words["week"].format(of)

    def moment(of: str) -> str:
        return words["moment"].format(of)

    return {
        # When the bot was logged in.
        "up_span": f"""
            SELECT site, epoch, ready_ms AS start_ms, COALESCE(ended_ms, {now}) AS end_ms FROM leadership
            WHERE ready_ms IS NOT NULL AND ready_ms < COALESCE(ended_ms, {now})""",
        # And when it was not: after a span, and from the first event to the first of them.
        "outage": f"""
            SELECT start_ms, end_ms, end_ms - start_ms AS length_ms, {moment("start_ms")} AS "from",
                {moment("end_ms")} AS until, site_before, why FROM (
                SELECT up_span.end_ms AS start_ms,
                    COALESCE(LEAD(up_span.start_ms) OVER (ORDER BY up_span.start_ms), {now}) AS end_ms,
                    up_span.site AS site_before, leadership.end_kind AS why
                FROM up_span JOIN leadership ON leadership.ready_ms = up_span.start_ms
                    AND leadership.epoch = up_span.epoch AND leadership.site = up_span.site
                UNION ALL
                SELECT MIN(event.time_ms), COALESCE((SELECT MIN(start_ms) FROM up_span), {now}), '', 'start' FROM event
                HAVING COUNT(*) > 0
            ) AS found WHERE start_ms < end_ms""",
        "day_up": f"""
            WITH RECURSIVE pieces(start_ms, end_ms, d) AS (
                SELECT start_ms, end_ms, start_ms / {_DAY} FROM up_span
                UNION ALL SELECT start_ms, end_ms, d + 1 FROM pieces WHERE (d + 1) * {_DAY} < end_ms)
            SELECT d, SUM({_days("start_ms", "end_ms")}) AS up_ms FROM pieces GROUP BY d""",
        "uptime_by_day": f"""
            WITH RECURSIVE bounds(first_ms, now_ms) AS (
                SELECT MIN(time_ms), {now} FROM event HAVING COUNT(*) > 0),
            days(d) AS (
                SELECT first_ms / {_DAY} FROM bounds
                UNION ALL SELECT d + 1 FROM days WHERE (d + 1) * {_DAY} < (SELECT now_ms FROM bounds)),
            counted(d, length_ms) AS (SELECT d, {_days("first_ms", "now_ms")} FROM days CROSS JOIN bounds)
            SELECT {date(f"counted.d * {_DAY}")} AS date, COALESCE(day_up.up_ms, 0) AS up_ms,
                counted.length_ms AS counted_ms, COALESCE(day_up.up_ms, 0) * 1.0 / counted.length_ms AS availability
            FROM counted LEFT JOIN day_up ON day_up.d = counted.d WHERE counted.length_ms > 0""",
        "uptime_by_month": """
            SELECT substr(date, 1, 7) AS month, SUM(up_ms) AS up_ms, SUM(counted_ms) AS counted_ms,
                SUM(up_ms) * 1.0 / SUM(counted_ms) AS availability
            FROM uptime_by_day GROUP BY substr(date, 1, 7)""",
        # How long each site has led, which is more than the bot was up there.
        "site_by_day": f"""
            WITH RECURSIVE pieces(site, start_ms, end_ms, d) AS (
                SELECT site, began_ms, COALESCE(ended_ms, {now}), began_ms / {_DAY} FROM leadership
                UNION ALL SELECT site, start_ms, end_ms, d + 1 FROM pieces WHERE (d + 1) * {_DAY} < end_ms)
            SELECT {date(f"d * {_DAY}")} AS date, site, SUM({_days("start_ms", "end_ms")}) AS leads_ms
            FROM pieces GROUP BY d, site""",
        "uptime_by_site": f"""
            SELECT leadership.site, SUM(COALESCE(ended_ms, {now}) - began_ms) AS leads_ms,
                (SELECT COALESCE(SUM(end_ms - start_ms), 0) FROM up_span WHERE up_span.site = leadership.site) AS up_ms,
                SUM(COALESCE(ended_ms, {now}) - began_ms) * 1.0
                    / ({now} - (SELECT MIN(time_ms) FROM event)) AS share
            FROM leadership GROUP BY leadership.site""",
        "recovery_by_month": f"""
            SELECT substr({date("start_ms")}, 1, 7) AS month, COUNT(*) AS outages, SUM(length_ms) AS down_ms,
                AVG(length_ms) / 1000.0 AS mean_time_to_recover_s, MAX(length_ms) / 1000.0 AS longest_gap_s
            FROM outage GROUP BY substr({date("start_ms")}, 1, 7)""",
        "preferred_share_by_month": """
            SELECT uptime_by_month.month, COALESCE(SUM(CASE WHEN site.place = 0 THEN site_by_day.leads_ms END), 0) * 1.0
                / uptime_by_month.counted_ms AS share
            FROM uptime_by_month LEFT JOIN site_by_day ON substr(site_by_day.date, 1, 7) = uptime_by_month.month
            LEFT JOIN site ON site.name = site_by_day.site
            GROUP BY uptime_by_month.month, uptime_by_month.counted_ms""",
        "logins_by_day": f"""
            SELECT {date("time_ms")} AS date, site, COUNT(*) AS logins FROM event WHERE kind = 'ready'
            GROUP BY {date("time_ms")}, site""",
        "switches_by_week": f"""
            SELECT {week("at_ms")} AS week, SUM(CASE WHEN planned THEN 1 ELSE 0 END) AS planned,
                SUM(CASE WHEN planned THEN 0 ELSE 1 END) AS unplanned, MAX(gap_ms) AS longest_gap_ms
            FROM switch GROUP BY {week("at_ms")}""",
        "alerts_by_week": f"""
            SELECT {week("fired_ms")} AS week, name, severity, COUNT(*) AS fired,
                AVG(COALESCE(resolved_ms, {now}) - fired_ms) / 1000.0 AS mean_s
            FROM alert GROUP BY {week("fired_ms")}, name, severity""",
        "push_gap": f"""
            SELECT {moment("fired_ms")} AS "from", fired_ms AS start_ms, COALESCE(resolved_ms, {now}) AS end_ms, labels
            FROM alert WHERE name IN ('XserverPushStale', 'XserverPushMissing')""",
    }
