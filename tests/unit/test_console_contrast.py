"""The colour roles of the console's style can be read in both themes, and docs/console.md says by how much.

https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rectbot.console.panels.colours import COLOURS, PALETTE

ROOT = Path(__file__).resolve().parents[2]
STYLE = (ROOT / "src/rectbot/console/static/console.css").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/console.md").read_text(encoding="utf-8")
GROUNDS = ("card", "ground")
ROLES = ("text", "soft", "accent", "good", "warning", "error")
THEMES = {"light": r":root \{(.*?)\}", "dark": r"body\.body--dark \{(.*?)\}"}
ENOUGH = 4.5  # for letters; 3 for what is no letter
ENOUGH_FOR_LINES = 3.0


def roles(theme: str) -> dict[str, tuple[float, float, float]]:
    """The colours of a theme by role, each part from 0 to 1."""
    block = re.search(THEMES[theme], STYLE, re.DOTALL)
    assert block is not None
    return {name: _parts(value) for name, value in re.findall(r"--([a-z]+): (#[0-9a-f]+);", block[1])}


def _parts(text: str) -> tuple[float, float, float]:
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def _light(colour: tuple[float, float, float]) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    more, less = sorted((_light(one), _light(other)), reverse=True)
    return (more + 0.05) / (less + 0.05)


def table() -> str:
    """As it stands in docs/console.md."""
    rows = []
    for role in ROLES:
        cells = [f"{contrast(roles(theme)[role], roles(theme)[on]):.1f}" for theme in THEMES for on in GROUNDS]
        rows.append(f"| `--{role}` | {' | '.join(cells)} |")
    return "\n".join(rows)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_can_be_read_on_each_ground(theme: str, role: str) -> None:
    for ground in GROUNDS:
        assert contrast(roles(theme)[role], roles(theme)[ground]) >= ENOUGH, ground


@pytest.mark.parametrize("theme", THEMES)
def test_lines_of_charts_can_be_seen_on_a_card(theme: str) -> None:
    named = [
        colour for name, colour in COLOURS.items() if name not in ("text", "transparent", "white", "black", "yellow")
    ]
    for colour in {*PALETTE, *named} - {COLOURS["yellow"]}:
        assert contrast(_parts(colour), roles(theme)["card"]) >= ENOUGH_FOR_LINES, colour


def test_the_page_says_what_is_measured() -> None:
    assert table() in PAGE, f"docs/console.md should have:\n{table()}"
