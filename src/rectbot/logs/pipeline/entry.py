"""A log line on its way through a pipeline, with its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

ERROR, ERROR_DETAILS = "__error__", "__error_details__"


def with_metadata(labels: dict[str, str], metadata: dict[str, str] | None) -> dict[str, str]:
    """A stream's labels and a line's structured metadata, which gives way where both have a name."""
    if not metadata:
        return dict(labels)
    return labels | {f"{name}_extracted" if name in labels else name: value for name, value in metadata.items()}


@dataclass(slots=True)
class Entry:
    """`labels` are stream labels, structured metadata and what parsers found, merged.

    `taken` are the names that a parser may not overwrite, and finds renamed with `_extracted`; `parsed` are the names
    that parsers have set: the first one wins.
    """

    time: int
    line: bytes
    labels: dict[str, str]
    taken: frozenset[str]
    parsed: set[str] = field(default_factory=set)

    def extract(self, name: str, value: str) -> None:
        """Sets a label as a parser does."""
        if name in self.taken:
            name += "_extracted"
        if name not in self.parsed:
            self.parsed.add(name)
            self.labels[name] = value

    def assign(self, name: str, value: str) -> None:
        """Sets a label as a formatter does: over whatever it was."""
        self.parsed.add(name)
        self.labels[name] = value

    def drop(self, name: str) -> None:
        """Removes a label, if it is there."""
        self.labels.pop(name, None)

    def fail(self, kind: str, details: str) -> None:
        """Marks the line: a stage could not work on it. The line goes on, so that the query's author sees it."""
        self.labels[ERROR] = kind
        self.labels[ERROR_DETAILS] = details

    @property
    def failed(self) -> bool:
        return ERROR in self.labels


Stage = Callable[[Entry], bool]
"""Works on an entry in place. False: the line is filtered out."""
