"""How the values of a panel look: `fieldConfig` with its overrides, thresholds, mappings and colours.

https://grafana.com/docs/grafana/latest/panels-visualizations/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Readable on a white and on a dark card.
COLOURS = {
    "green": "#2f9e44",
    "yellow": "#d19a00",
    "orange": "#e8730c",
    "red": "#e03131",
    "blue": "#3b82f6",
    "purple": "#9c4dcc",
    "text": "inherit",
}
PALETTE = ("#3b82f6", "#e8730c", "#2f9e44", "#9c4dcc", "#d19a00", "#0ea5a5", "#e03131", "#7c8696")


@dataclass(frozen=True)
class Field:
    """The configuration of one series or column."""

    config: Mapping[str, Any]

    @property
    def unit(self) -> str:
        return str(self.config.get("unit", "none"))

    @property
    def decimals(self) -> int | None:
        return self.config.get("decimals")

    @property
    def custom(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.config.get("custom", {})
        return found

    @property
    def no_value(self) -> str:
        return str(self.config.get("noValue", ""))

    @property
    def link(self) -> str:
        """The address of the first data link, or nothing."""
        links = self.config.get("links") or [{}]
        return str(links[0].get("url", ""))

    @property
    def steps(self) -> list[tuple[float, str]]:
        """Thresholds, the lowest first: from which value on which colour."""
        steps = self.config.get("thresholds", {}).get("steps", [])
        return [(-math.inf if s["value"] is None else float(s["value"]), colour(s["color"])) for s in steps]

    def of_threshold(self, value: float) -> str:
        """The colour of the highest threshold that the value reaches."""
        found = "inherit"
        for start, each in self.steps:
            if value >= start:
                found = each
        return found

    def mapped(self, value: float) -> tuple[str, str] | None:
        """The text and the colour that a value is mapped to, if it is."""
        for mapping in self.config.get("mappings", []):
            entry = mapping.get("options", {}).get(_plain(value)) if mapping["type"] == "value" else None
            if entry is not None:
                return str(entry.get("text", _plain(value))), colour(entry.get("color", "text"))
        return None

    @property
    def states(self) -> list[tuple[str, str]]:
        """The texts and colours that values may be mapped to, in their order."""
        entries = [
            entry
            for mapping in self.config.get("mappings", [])
            if mapping["type"] == "value"
            for entry in mapping["options"].values()
        ]
        ordered = sorted(entries, key=lambda entry: entry.get("index", 0))
        return [(str(entry.get("text", "")), colour(entry.get("color", "text"))) for entry in ordered]

    def colour(self, value: float | None, index: int) -> str:
        """The colour of a value, or of the series at `index` where colours go by series."""
        found = self.config.get("color", {})
        match found.get("mode"):
            case "fixed":
                return colour(found.get("fixedColor", "text"))
            case "thresholds" if value is not None:
                return self.of_threshold(value)
        return PALETTE[index % len(PALETTE)]


def field_of(panel: Mapping[str, Any], name: str = "") -> Field:
    """The defaults, with the overrides for the series or column of this name."""
    given = panel.get("fieldConfig", {})
    config = dict(given.get("defaults", {}))
    for override in given.get("overrides", []):
        if override["matcher"] == {"id": "byName", "options": name}:
            for entry in override["properties"]:
                _put(config, entry["id"].split("."), entry.get("value"))
    return Field(config)


def colour(name: str) -> str:
    """A colour as CSS and ECharts know it."""
    return COLOURS.get(name, name)


def number(text: str) -> float:
    """A value as Prometheus and Loki write it."""
    return float(text.replace("Inf", "inf"))


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else str(value)


def _put(config: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        config[part] = dict(config.get(part, {}))
        config = config[part]
    config[path[-1]] = value
