"""Grafana's colours, by their names, as they can be read on a white and on a dark card."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Readable on a white and on a dark card.
COLOURS = {
    "green": "#2f9e44",
    "yellow": "#b38600",
    "orange": "#e8730c",
    "red": "#e03131",
    "blue": "#3b82f6",
    "purple": "#9c4dcc",
    "text": "inherit",
    "transparent": "transparent",
    "white": "#f8f9fb",
    "black": "#111317",
}
PALETTE = ("#3b82f6", "#e8730c", "#2f9e44", "#9c4dcc", "#b38600", "#0ea5a5", "#e03131", "#7c8696")
_SHADES = {"super-light-": 0.55, "light-": 0.3, "semi-dark-": -0.15, "dark-": -0.3}  # towards white, towards black
_CSS = re.compile(r"#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([\d\s.,%/]+\)|[a-zA-Z]{3,30}")
CONTINUOUS: dict[str, Sequence[str]] = {
    "GrYlRd": ("green", "yellow", "red"),
    "RdYlGr": ("red", "yellow", "green"),
    "BlYlRd": ("dark-blue", "super-light-yellow", "dark-red"),
    "YlRd": ("super-light-yellow", "dark-red"),
    "BlPu": ("dark-blue", "super-light-purple"),
    "YlBl": ("super-light-yellow", "dark-blue"),
    **{name.title() + "s": (f"super-light-{name}", f"dark-{name}") for name in ("blue", "red", "green", "purple")},
}


def colour(name: object) -> str:
    """A colour as CSS and ECharts know it; what is none is the text's."""
    text = str(name or "text")
    if text in COLOURS:
        return COLOURS[text]
    for prefix, share in _SHADES.items():
        base = COLOURS.get(text.removeprefix(prefix), "")
        if text.startswith(prefix) and base.startswith("#"):
            return _mixed(base, "#ffffff" if share > 0 else "#000000", abs(share))
    return text if _CSS.fullmatch(text) else "inherit"


def continuous(scheme: str, share: float) -> str:
    """The colour at a share from 0 to 1 of a scheme such as GrYlRd."""
    ends = [colour(name) for name in CONTINUOUS.get(scheme, ("green", "red"))]
    place = min(1.0, max(0.0, share)) * (len(ends) - 1)
    first = min(int(place), len(ends) - 2)
    return _mixed(ends[first], ends[first + 1], place - first)


def _mixed(one: str, other: str, share: float) -> str:
    pairs = zip(_parts(one), _parts(other), strict=True)
    return "#" + "".join(f"{round(first + (second - first) * share):02x}" for first, second in pairs)


def _parts(shade: str) -> list[int]:
    return [int(shade[place : place + 2], 16) for place in (1, 3, 5)]
