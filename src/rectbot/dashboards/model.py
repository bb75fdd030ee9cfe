"""Reading dashboards as Grafana does: their variables, their steps, and the queries that come of both.

Without the SDK, which only building them needs. Sources: Grafana's documentation of variables
(https://grafana.com/docs/grafana/latest/dashboards/variables/), and of `$__rate_interval`
(https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rectbot.errors import RectbotError

NAMES = ("overview", "xserver-host", "failover", "logs")
Json = Mapping[str, Any]
Values = Mapping[str, Sequence[str] | None]
"""The chosen values of each variable by its name; None: all."""

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LABEL_VALUES = re.compile(r"label_values\((?:(?P<metric>.+),\s*)?(?P<label>\w+)\)")
_PLACE = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<bare>\w+)")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is looked at, as Unix times; the step of its samples and the scrape interval, in seconds."""

    start: float
    end: float
    step: float = 15
    scrape: float = 15


@dataclass(frozen=True, slots=True)
class Variable:
    """A dashboard's variable.

    `kind` is query, custom or textbox. The values of a query variable are those of `of_label`, in Prometheus of the
    series that match `metric`. `choices` are a custom variable's. `all_value` stands for all; None: that is no choice.
    """

    name: str
    label: str
    kind: str
    source: str = ""
    metric: str = ""
    of_label: str = ""
    multi: bool = False
    all_value: str | None = None
    choices: tuple[str, ...] = ()


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """The dashboards by uid, in their order. Raises RectbotError when one cannot be read."""
    dashboards = {}
    for name in NAMES:
        path = folder / f"{name}.json"
        try:
            dashboard = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RectbotError(f"{path}: cannot be read ({error}); make it anew: rectbot dashboards build") from None
        dashboards[dashboard["uid"]] = dashboard
    return dashboards


def panels(dashboard: Json) -> list[dict[str, Any]]:
    """The panels, in the order of reading."""
    found: list[dict[str, Any]] = dashboard.get("panels", [])
    return found


def targets(dashboard: Json) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each panel with each of its queries."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield panel, target


def variables(dashboard: Json) -> list[Variable]:
    """The variables, in their order."""
    return [_variable(each) for each in dashboard.get("templating", {}).get("list", [])]


def _variable(given: Json) -> Variable:
    query = given.get("query", "")
    common: dict[str, Any] = {
        "name": given["name"],
        "label": given.get("label") or given["name"],
        "kind": given["type"],
        "multi": given.get("multi", False),
        "all_value": given.get("allValue") if given.get("includeAll") else None,
    }
    if given["type"] == "custom":
        return Variable(**common, choices=tuple(word.strip() for word in query.split(",")))
    if given["type"] != "query":
        return Variable(**common)
    source = given["datasource"]["type"]
    if source == "loki":
        return Variable(**common, source=source, of_label=query["label"])
    found = _LABEL_VALUES.fullmatch(query["query"])
    if found is None:
        raise RectbotError(f"the variable {given['name']} asks for {query['query']!r}; only label_values(...) is known")
    return Variable(**common, source=source, metric=found["metric"] or "", of_label=found["label"])


def seconds(text: str) -> float:
    """The seconds of a duration such as 90s or 1h30m. Raises RectbotError."""
    if not re.fullmatch(r"(?:\d+[dhms])+", text):
        raise RectbotError(f"{text!r} is no duration; write for example 15m or 6h")
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([dhms])", text))


def step_of(panel: Json, length: float, points: int = 300, scrape: float = 15) -> float:
    """The step for a panel that shows `length` seconds in about so many points: round, and no less than is sensible.

    That is the scrape interval or, where the panel has one, its own `interval`.
    """
    least = max(scrape, seconds(panel["interval"]) if panel.get("interval") else 0)
    return max(least, next((step for step in _STEPS if step * points >= length), _STEPS[-1]))


def interpolate(text: str, source: str, known: Sequence[Variable], values: Values, window: Window) -> str:
    """A query or a link with the variables' values in place of `$name` and `${name:format}`.

    `source` is where it goes: "prometheus" and "loki" get values as regular expressions, quoted for the string that
    they stand in; "" gets them as they are. What is not known stays as it is.
    """
    by_name = {variable.name: variable for variable in known}
    built_in = _built_in(window)

    def put(found: re.Match[str]) -> str:
        name = found["braced"] or found["bare"]
        if name in built_in:
            return built_in[name]
        if name not in by_name:
            return found[0]
        return _written(by_name[name], values.get(name), found["format"] or source)

    return _PLACE.sub(put, text)


def _built_in(window: Window) -> dict[str, str]:
    length = max(1, round(window.end - window.start))
    return {
        "__interval": _duration(window.step),
        "__interval_ms": str(round(window.step * 1000)),
        "__rate_interval": _duration(max(window.step + window.scrape, 4 * window.scrape)),
        "__range": f"{length}s",
        "__range_s": str(length),
        "__from": str(round(window.start * 1000)),
        "__to": str(round(window.end * 1000)),
    }


def _duration(amount: float) -> str:
    return f"{amount:.0f}s" if amount == int(amount) else f"{amount * 1000:.0f}ms"


def _written(variable: Variable, chosen: Sequence[str] | None, style: str) -> str:
    if style == "queryparam":
        words = chosen if chosen is not None else ["$__all"] if variable.all_value is not None else []
        return "&".join(f"var-{variable.name}={quote(word, safe='$')}" for word in words)
    if chosen is None:
        return variable.all_value or ""
    if style not in ("prometheus", "loki") or not variable.multi:
        return ",".join(chosen)
    return chosen_pattern(chosen)


def chosen_pattern(words: Sequence[str]) -> str:
    """A regular expression that matches these words and no other, as it stands between quotes."""
    escaped = [quoted_inside(re.sub(r"[\\^$.*+?()\[\]{}|]", r"\\\g<0>", word)) for word in words]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def quoted_inside(text: str) -> str:
    """As it stands between the quotes of a string in PromQL or LogQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def legend(template: str, labels: Mapping[str, str]) -> str:
    """A series' name: `{{label}}` in the template is replaced; without a template it is what Prometheus writes."""
    if not template:
        inner = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items() if name != "__name__")
        return f"{labels.get('__name__', '')}{{{inner}}}"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), template)
