"""The console's words in both languages; the catalogue is words.json beside this file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rectbot.failover.events import MEANINGS

LANGUAGES = ("en", "ja")
COOKIE = "rectbot_language"
_PLACE = re.compile(r"\\\{([a-z]+)\\\}")  # in an escaped text


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
        where = next((labels[name] for name in ("site", "integration", "job") if labels.get(name)), "")
        return found.format(where=where) if found and (where or "{where}" not in found) else english

    def reason(self, english: str) -> str:
        """Why something happened, as the failover writes it down; what is not its own stays as it is."""
        return "; ".join(self._reason(part) for part in english.split("; "))

    def _reason(self, english: str) -> str:
        for pattern, key in _reasons():
            if (found := pattern.fullmatch(english)) is not None and (template := self.optional(key)) is not None:
                values = found.groupdict()
                return template.format(**{**values, "rest": self._reason(values.get("rest", ""))})
        return english


@cache
def _reasons() -> list[tuple[re.Pattern[str], str]]:
    """What the failover's reasons look like; the catalogue has them in English, with places."""
    keys = [key for key in _catalogue() if key.startswith("reason.")]
    return [(re.compile(_PLACE.sub(r"(?P<\1>.+?)", re.escape(key.removeprefix("reason.")))), key) for key in keys]


def choose(cookies: Mapping[str, str], accept_language: str) -> Words:
    """The visitor's choice, else what the browser prefers, else English."""
    if cookies.get(COOKIE) in LANGUAGES:
        return Words(cookies[COOKIE])
    for part in accept_language.split(","):
        language = part.split(";")[0].strip().split("-")[0].lower()
        if language in LANGUAGES:
            return Words(language)
    return Words(LANGUAGES[0])
