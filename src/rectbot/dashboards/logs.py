"""Logs: how much is logged, by whom and how bad, and the lines themselves."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from rectbot.dashboards.blocks import LEVEL_COLOURS, LOKI, NO_LINES, Query, graph, log_panel, stat_panel
from rectbot.dashboards.frame import choice_variable, loki_variable, page, text_variable
from rectbot.dashboards.limits import Limits

_LINES = '{job=~"$job", site=~"$site", level=~"$level"} |~ `(?i)${search:regex}`'
_ERRORS = '{job=~"$job", site=~"$site", level=~"error|critical"} |~ `(?i)${search:regex}`'
# Of our own bots' lines, which are JSON, only what they say; other lines as they are.
_SAID = (
    ' | json msg="msg" | line_format "{{if .msg}}{{.msg}}{{else}}{{__line__}}{{end}}"'
    " | drop __error__, __error_details__"
)


def build(limits: Limits) -> dashboard.Dashboard:
    """The dashboard."""
    return page(
        "rectbot-logs",
        "How much is logged, by whom and how bad, and the lines themselves, by job, site, level and words.",
        [
            loki_variable("job", "Job", "Who logged: 'bot', or what 'rectbot logs ship --job' says."),
            loki_variable("site", "Site", "Where it was logged."),
            choice_variable("level", "Level", "All: also lines without a level.", list(LEVEL_COLOURS)),
            text_variable("search", "Search", "Text that lines hold; upper and lower case are the same."),
        ],
        [
            stat_panel(
                "Lines",
                "Lines in this time that match the filters.",
                Query(f"sum(count_over_time({_LINES} [$__range]))"),
                unit="short",
                size=(6, 4),
                source=LOKI,
                none=NO_LINES,
            ),
            stat_panel(
                "Errors",
                "Lines of level error or critical in this time.",
                Query(f"sum(count_over_time({_ERRORS} [$__range]))"),
                unit="short",
                steps=((None, "green"), (1, "red")),
                size=(6, 4),
                source=LOKI,
                none="None",
            ),
            stat_panel(
                "Volume",
                "Size of the lines in this time that match the filters.",
                Query(f"sum(bytes_over_time({_LINES} [$__range]))"),
                unit="bytes",
                decimals=1,
                size=(6, 4),
                source=LOKI,
                none=NO_LINES,
            ),
            stat_panel(
                "Refused lines",
                "Lines that the log store refused in the last 10 minutes. Orange: as LogStoreRefusing.",
                Query("sum(increase(loki_discarded_samples_total[10m])) or vector(0)"),
                decimals=0,
                steps=((None, "green"), (limits.of("LogStoreRefusing") + 1, "orange")),
                size=(6, 4),
            ),
            graph(
                "Lines by level",
                "Lines in each step.",
                Query(
                    f"label_replace(sum by (level) (count_over_time({_LINES} [$__interval])),"
                    ' "level", "none", "level", "")',
                    "{{level}}",
                ),
                bars=True,
                colours=LEVEL_COLOURS,
                decimals=0,
                source=LOKI,
                none=NO_LINES,
            ),
            graph(
                "Lines by site and job",
                "Lines in each step.",
                Query(f"sum by (site, job) (count_over_time({_LINES} [$__interval]))", "{{site}} {{job}}"),
                bars=True,
                decimals=0,
                source=LOKI,
                none=NO_LINES,
            ),
            log_panel("Errors", "Lines of level error or critical, the newest first.", _ERRORS + _SAID, size=(24, 7)),
            log_panel("Lines", "Lines that match the filters, the newest first.", _LINES + _SAID),
        ],
        since="now-1h",
        refresh="10s",
    )
