"""The console's words in both languages; the catalogue is words.json beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rectbot.failover.events import MEANINGS

LANGUAGES = ("en", "ja")
COOKIE = "rectbot_language"


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
    return found


class Words:
    """The words of one language: `words("key", name=value)`."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]

    def __call__(self, key: str, **values: object) -> str:
        return _catalogue()[key][self.language].format(**values)

    def optional(self, key: str) -> str | None:
        """The words for a key that the catalogue may lack."""
        return _catalogue().get(key, {}).get(self.language)

    def text(self, english: str) -> str:
        """A title or a note of a dashboard, whose files are in English."""
        return self.optional(f"text.{english}") or english

    def meaning(self, kind: str) -> str:
        """What a kind of event means; its English text is the failover's own."""
        return self.optional(f"event.{kind}") or MEANINGS.get(kind, kind)

    def summary(self, labels: Mapping[str, str], english: str) -> str:
        """What an alert says in one line; the rules, which are in English, know whose it is by its labels."""
        found = self.optional(f"summary.{labels.get('alertname')}")
        where = next((labels[name] for name in ("site", "integration", "job") if labels.get(name)), "Xserver")
        return found.format(where=where) if found else english


def choose(cookies: Mapping[str, str], accept_language: str) -> Words:
    """The visitor's choice, else what the browser prefers, else English."""
    if cookies.get(COOKIE) in LANGUAGES:
        return Words(cookies[COOKIE])
    for part in accept_language.split(","):
        language = part.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return Words(language)
    return Words(LANGUAGES[0])
