"""What a log search looks for, as it stands in its address: filters, or a LogQL query written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rectbot.console.panels.matchers import pattern
from rectbot.dashboards.model import chosen_pattern, quoted_inside

LEVELS = ("critical", "error", "warn", "info", "debug")
LABELS = ("site", "job", "level")
MOST_QUERY = 2_000
_MOST_VALUES = 50
_MOST_TEXT = 500
_SELECTOR = re.compile(r'\{(?:[^{}"`]|"(?:[^"\\]|\\.)*"|`[^`]*`)*\}')


@dataclass(frozen=True)
class LogQuery:
    """Filters by label and text, or `written`, which is taken as it is.

    The text is looked for as it stands, in upper and lower case; `case` makes it exact, `regex` an expression.
    """

    site: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    text: str = ""
    case: bool = False
    regex: bool = False
    written: str = ""

    @classmethod
    def read(cls, query: Mapping[str, list[str]]) -> LogQuery:
        """Of an address; several values may be given one by one, or between commas."""
        labels = {
            name: tuple(part for value in query.get(name, []) for part in value.split(",") if part)[:_MOST_VALUES]
            for name in LABELS
        }
        return cls(
            **labels,
            text=(query.get("text") or [""])[0][:_MOST_TEXT],
            case=(query.get("case") or [""])[0] == "1",
            regex=(query.get("regex") or [""])[0] == "1",
            written=(query.get("query") or [""])[0].strip()[:MOST_QUERY],
        )

    def address(self) -> Iterator[tuple[str, str]]:
        """What an address says of it."""
        if self.written:
            yield "query", self.written
            return
        for name in LABELS:
            yield from ((name, value) for value in getattr(self, name))
        for name, value in (("text", self.text), ("case", self.case), ("regex", self.regex)):
            if value:
                yield name, "1" if value is True else str(value)

    @property
    def logql(self) -> str:
        """The query that is asked; without any filter, of all lines. Raises ValueError for a wrong expression."""
        if self.written:
            return self.written
        return self.selector + text_filter(self.text, case=self.case, regex=self.regex)

    @property
    def selector(self) -> str:
        """The streams that are looked at."""
        if self.written:
            found = _SELECTOR.search(self.written)
            return found[0] if found else '{job=~".+"}'
        matchers = [f'{name}=~"{chosen_pattern(getattr(self, name))}"' for name in LABELS if getattr(self, name)]
        return "{" + (", ".join(matchers) or 'job=~".+"') + "}"

    def with_label(self, name: str, values: tuple[str, ...]) -> LogQuery:
        """With other values of a label."""
        changes: dict[str, Any] = {name: values[:_MOST_VALUES]}
        return replace(self, **changes)


def text_filter(text: str, *, case: bool = False, regex: bool = False) -> str:
    """A line filter; nothing for no text."""
    text = text.replace("\n", " ")
    if not text:
        return ""
    if regex:
        pattern(text)
        return f' |~ "{"" if case else "(?i)"}{quoted_inside(text)}"'
    if case or not any(letter.lower() != letter.upper() for letter in text):
        return f' |= "{quoted_inside(text)}"'
    return f' |~ "(?i){quoted_inside(re.escape(text).replace(chr(92) + " ", " "))}"'


def stream_selector(labels: Mapping[str, str]) -> str:
    """The stream that a line came in, by the labels that are of the stream."""
    known = {name: labels[name] for name in ("job", "site", "filename", "service_name", "host") if labels.get(name)}
    known = known or {name: value for name, value in labels.items() if name not in ("detected_level", "level")}
    return "{" + ", ".join(f'{name}="{quoted_inside(value)}"' for name, value in sorted(known.items())) + "}"
