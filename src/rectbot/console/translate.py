"""A dashboard in the visitor's language: its files are in English, and the catalogue knows the texts that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rectbot.console.words import Words

_SHOWN = {"title", "description", "noValue", "text", "displayName", "content", "legendFormat"}


def translated(dashboard: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """The same dashboard, its title without our name; what the catalogue lacks stays English. `language` is added."""
    title = words.text(str(dashboard["title"]).removeprefix("rectbot: "))
    return {**replaced(dashboard, words.text), "title": title, "language": words.language}


def replaced(node: Any, put: Callable[[str], str]) -> Any:
    """A copy of a part of a dashboard's JSON, with `put` of each text that a reader sees."""
    if isinstance(node, list):
        return [replaced(each, put) for each in node]
    if not isinstance(node, Mapping):
        return node
    copy: dict[str, Any] = {}
    for key, value in node.items():
        if key == "renameByName":
            copy[key] = {name: put(title) for name, title in value.items()}
        elif isinstance(value, str) and _is_shown(node, key):
            copy[key] = put(value)
        else:
            copy[key] = replaced(value, put)
    return copy


def _is_shown(node: Mapping[str, Any], key: str) -> bool:
    """Overrides name a series or a column by what is shown, and so change with it."""
    if key == "options":
        return node.get("id") == "byName"
    if key == "label":
        return "name" in node  # a variable's; without a name it is the label that is asked for
    return key in _SHOWN
