"""A log line on its way through a pipeline, with its labels."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from logstore.pipeline.hints import ALL, Hints

ERROR, ERROR_DETAILS, PRESERVE_ERROR = "__error__", "__error_details__", "__preserve_error__"


def with_metadata(labels: dict[str, str], metadata: dict[str, str] | None) -> dict[str, str]:
    """A stream's labels and a line's structured metadata, which gives way where both have a name."""
    if not metadata:
        return dict(labels)
    return labels | {f"{name}_extracted" if name in labels else name: value for name, value in metadata.items()}


@dataclass(slots=True)
class Entry:
    """`labels` are stream labels, structured metadata and what parsers found, merged; errors are kept apart.

    A parser may not overwrite `taken`, the stream's labels: it finds such a name with `_extracted` behind it. `seen`
    are the names that structured metadata, parsers and formatters have set: a parser leaves them alone, unless it has
    set them itself, on this line: they are `fresh`.
    """

    time: int
    line: bytes
    labels: dict[str, str]
    taken: Container[str]
    seen: set[str] = field(default_factory=set)
    hints: Hints = ALL
    error: str = ""
    details: str = ""
    fresh: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Another parser begins."""
        if self.fresh:
            self.fresh = set()

    def extract(self, name: str, value: str) -> None:
        """Sets a label as a parser does."""
        found = name
        if name in self.taken:
            name += "_extracted"
        if name not in self.seen:
            if self.hints is not ALL and not self.hints.wants(name):
                return
            self.seen.add(name)
            self.fresh.add(found)
        elif found not in self.fresh:
            return
        self.labels[name] = value

    def extract_asked(self, name: str, value: str) -> None:
        """Sets a label as a parser does that was told its name: over what was found before."""
        self.assign(name + "_extracted" if name in self.taken else name, value)

    def assign(self, name: str, value: str) -> None:
        """Sets a label as a formatter does: over whatever it was."""
        self.seen.add(name)
        self.labels[name] = value

    def drop(self, name: str) -> None:
        """Removes a label, if it is there."""
        self.labels.pop(name, None)

    def fail(self, kind: str, details: str) -> None:
        """Marks the line: a stage could not work on it. The line goes on, so that the query's author sees it."""
        self.error = kind
        if details:
            self.details = details

    def fail_parsing(self, kind: str, details: str) -> None:
        """The same for a parser, whose errors a metric query may ask for."""
        self.fail(kind, details)
        if self.hints.errors_wanted:
            self.assign(PRESERVE_ERROR, "true")

    def size(self) -> int:
        """About how many bytes it takes in an answer. Labels that are the stream's are shared."""
        own = (len(value) for name, value in self.labels.items() if name not in self.taken)
        return len(self.line) + len(self.details) + sum(own)

    @property
    def satisfied(self) -> bool:
        """Whether parsers need not find any label more."""
        return self.hints.satisfied(self.seen)

    def everything(self) -> dict[str, str]:
        """The labels, those of the error among them."""
        if not self.error and not self.details:
            return self.labels
        errors = {ERROR: self.error, ERROR_DETAILS: self.details}
        return self.labels | {name: value for name, value in errors.items() if value}


Stage = Callable[[Entry], bool]
"""Works on an entry in place. False: the line is filtered out."""
