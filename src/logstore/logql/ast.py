"""The syntax tree of LogQL. Names follow Grafana's documentation of the language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Matcher:
    """`name op value`: op is one of = != =~ !~."""

    name: str
    op: str
    value: str


@dataclass(frozen=True)
class LineFilter:
    """One line filter: `|= "a" or "b"`. An alternative is (function, text), where the function is "" or "ip"."""

    op: str
    alternatives: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Json:
    expressions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Logfmt:
    expressions: tuple[tuple[str, str], ...] = ()
    strict: bool = False
    keep_empty: bool = False


@dataclass(frozen=True)
class Regexp:
    pattern: str


@dataclass(frozen=True)
class Pattern:
    pattern: str


@dataclass(frozen=True)
class Unpack:
    pass


@dataclass(frozen=True)
class LineFormat:
    template: str


@dataclass(frozen=True)
class LabelFormat:
    """Each is (target, source, is_template)."""

    assignments: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Decolorize:
    pass


@dataclass(frozen=True)
class Drop:
    names: tuple[str | Matcher, ...]


@dataclass(frozen=True)
class Keep:
    names: tuple[str | Matcher, ...]


@dataclass(frozen=True)
class Comparison:
    """`name op value` with a number, a duration (value in nanoseconds) or bytes; or an address for kind ip."""

    name: str
    op: str
    kind: Literal["number", "duration", "bytes", "ip"]
    value: float | str


@dataclass(frozen=True)
class Combined:
    """`left and right` or `left or right`."""

    op: Literal["and", "or"]
    left: LabelCondition
    right: LabelCondition


LabelCondition = Matcher | Comparison | Combined


@dataclass(frozen=True)
class LabelFilter:
    condition: LabelCondition


Stage = (
    LineFilter
    | Json
    | Logfmt
    | Regexp
    | Pattern
    | Unpack
    | LineFormat
    | LabelFormat
    | Decolorize
    | Drop
    | Keep
    | LabelFilter
)


@dataclass(frozen=True)
class Logs:
    """A log query: a stream selector and its pipeline."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Unwrap:
    """`| unwrap name` or `| unwrap conversion(name)`, and the label filters after it."""

    name: str
    conversion: str = ""
    filters: tuple[LabelFilter, ...] = ()


@dataclass(frozen=True)
class Grouping:
    names: tuple[str, ...]
    without: bool = False


@dataclass(frozen=True)
class RangeAggregation:
    """`op(parameter, logs | unwrap [range] offset) by (...)`. Times in nanoseconds."""

    op: str
    logs: Logs
    range: int
    offset: int = 0
    unwrap: Unwrap | None = None
    parameter: float | None = None
    grouping: Grouping | None = None


@dataclass(frozen=True)
class VectorAggregation:
    op: str
    operand: Metric
    grouping: Grouping | None = None
    parameter: float | None = None


@dataclass(frozen=True)
class Matching:
    """How series of two sides pair: on or ignoring labels, one to one or with a many side."""

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["", "left", "right"] = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binary:
    op: str
    left: Metric
    right: Metric
    bool_: bool = False
    matching: Matching = field(default_factory=Matching)


@dataclass(frozen=True)
class Literal_:  # noqa: N801
    value: float


@dataclass(frozen=True)
class Vector:
    value: float


@dataclass(frozen=True)
class LabelReplace:
    operand: Metric
    target: str
    replacement: str
    source: str
    pattern: str


Metric = RangeAggregation | VectorAggregation | Binary | Literal_ | Vector | LabelReplace
Expression = Logs | Metric
