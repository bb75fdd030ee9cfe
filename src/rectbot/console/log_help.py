"""How LogQL is written, in a few lines that can be taken over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from rectbot.console.visit import button
from rectbot.console.words import Words

EXAMPLES = (
    ("help.selector", '{job="bot", site=~"oci|xserver"}'),
    ("help.holds", '{job="bot"} |= "took (" != "debug"'),
    ("help.regex", '{job="bot"} |~ "(?i)time.?out"'),
    ("help.json", '{job="bot"} | json | level="error"'),
    ("help.logfmt", '{job=~".+"} | logfmt | duration > 2s'),
    ("help.count", 'sum by (level) (count_over_time({job="bot"} [1m]))'),
    ("help.rate", 'sum by (site) (rate({job=~".+"} |= "error" [5m]))'),
)


def syntax_help(words: Words, write: Callable[[str], Awaitable[None]]) -> None:
    """A button, and behind it examples, each of which can be asked at once."""
    shown = button(words("help.title")).classes("act").props("aria-haspopup=dialog")
    with shown, ui.menu() as menu, ui.element("div").classes("syntax"):
        for name, query in EXAMPLES:
            ui.label(words(name))
            button(query).classes("mono").on_click(partial(_take, menu, write, query))


async def _take(menu: ui.menu, write: Callable[[str], Awaitable[None]], query: str) -> None:
    menu.close()
    await write(query)
