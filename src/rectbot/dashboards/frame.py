"""What the four dashboards share around their panels: variables, events as annotations, links to each other."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog import builder
from grafana_foundation_sdk.models import dashboard as d

from rectbot.dashboards.blocks import LOKI, PROMETHEUS, AnyPanel

TITLES = {
    "rectbot-overview": "rectbot: Overview",
    "rectbot-hosts": "rectbot: Hosts",
    "rectbot-failover": "rectbot: Failover",
    "rectbot-logs": "rectbot: Logs",
}
ANY, ANY_OR_NONE = ".+", ".*"
_CHANGES = "acquired|released|handed-over|expired|renew-failed|workload-failed|suspended"
_ACTS = "switch|hold|unhold|drain|undrain"

Variable = builder.Builder[d.VariableModel]


def page(
    uid: str, description: str, variables: Sequence[Variable], panels: Sequence[AnyPanel], *, since: str, refresh: str
) -> dashboard.Dashboard:
    """A dashboard: panels fill rows of 24 columns, in their order."""
    built = dashboard.Dashboard(TITLES[uid]).uid(uid).description(description).tags(["rectbot"]).readonly()
    built = built.time(since, "now").refresh(refresh).timezone("browser").tooltip(d.DashboardCursorSync.CROSSHAIR)
    built = built.variables(list(variables)).links(_links(uid)).annotations([_changes(), _acts()])
    for number, panel in enumerate(panels, start=1):
        model = panel.build()
        model.id_val = number
        built = built.with_panel(_Built(model))
    return built


class _Built(builder.Builder[d.Panel]):
    def __init__(self, panel: d.Panel) -> None:
        self._panel = panel

    def build(self) -> d.Panel:
        return self._panel


def prometheus_variable(name: str, label: str, metric: str, label_name: str, description: str) -> Variable:
    """The values of a label of `metric`; all of them at first."""
    query: dict[str, object] = {
        "qryType": 1,  # label values
        "query": f"label_values({metric}, {label_name})",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    return _query_variable(name, label, description, PROMETHEUS, query)


def loki_variable(name: str, label: str, description: str) -> Variable:
    """The values of the label `name` of log lines; all of them at first."""
    query: dict[str, object] = {
        "type": 1,  # label values
        "label": name,
        "stream": "",
        "refId": "LokiVariableQueryEditor-VariableQuery",
    }
    return _query_variable(name, label, description, LOKI, query)


def _query_variable(
    name: str, label: str, description: str, source: d.DataSourceRef, query: dict[str, object]
) -> Variable:
    built = dashboard.QueryVariable(name).label(label).description(description).datasource(source).query(query)
    built = built.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)
    return built.multi(True).include_all(True).all_value(ANY).current(_all())


def choice_variable(name: str, label: str, description: str, choices: Sequence[str]) -> Variable:
    """One or more of these, or all, with which goes what has none of them."""
    built = dashboard.CustomVariable(name).label(label).description(description).values(",".join(choices))
    return built.multi(True).include_all(True).all_value(ANY_OR_NONE).current(_all())


def text_variable(name: str, label: str, description: str) -> Variable:
    """What somebody writes into a box."""
    return dashboard.TextBoxVariable(name).label(label).description(description).default_value("")


def site_variable() -> Variable:
    """The sites that the failover knows."""
    return prometheus_variable(
        "site", "Site", "rectbot_failover_site_priority", "site", "Sites of FAILOVER_PRIORITY, as the hub tells them."
    )


def push_job_variable() -> Variable:
    """The jobs under which hosts push."""
    return prometheus_variable(
        "job", "Pushed job", "rectbot_host_cpu_usage_ratio", "job", "Jobs under which 'rectbot push' pushes."
    )


def _all() -> d.VariableOption:
    return d.VariableOption(selected=True, text=["All"], value=["$__all"])


def _links(uid: str) -> list[builder.Builder[d.DashboardLink]]:
    """To the other three, with the time and the site that is looked at."""
    without_site = "rectbot-hosts"
    return [
        dashboard.DashboardLink(title.removeprefix("rectbot: "))
        .type(d.DashboardLinkType.LINK)
        .url(f"/d/{other}" + ("" if without_site in (uid, other) else "?${site:queryparam}"))
        .icon("dashboard")
        .tooltip(title)
        .keep_time(True)
        for other, title in TITLES.items()
        if other != uid
    ]


class _Events(d.AnnotationQuery):
    """With the fields of the Prometheus data source, which the SDK's model does not have."""

    def to_json(self) -> dict[str, object]:
        own = {"step": "15s", "titleFormat": "{{site}}: {{kind}}", "textFormat": "", "tagKeys": "kind,site"}
        return {**super().to_json(), **own, "useValueForTime": False}


class _Annotation(builder.Builder[d.AnnotationQuery]):
    def __init__(self, name: str, kinds: str, colour: str) -> None:
        # The last step's difference, not increase(): that extrapolates, and needs two samples in a step.
        expr = f'(EVENTS{{kind=~"{kinds}"}} - EVENTS{{kind=~"{kinds}"}} offset $__interval) > 0'
        self._built = _Events(
            name=name,
            datasource=PROMETHEUS,
            icon_color=colour,
            expr=expr.replace("EVENTS", "rectbot_failover_events_total"),
        )

    def build(self) -> d.AnnotationQuery:
        return self._built


def _changes() -> _Annotation:
    return _Annotation("Changes of the lead", _CHANGES, "orange")


def _acts() -> _Annotation:
    return _Annotation("Operators' acts", _ACTS, "blue")
