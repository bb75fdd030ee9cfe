"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Result(IntEnum):
    """How a promise is kept; the worst of many is their maximum."""

    PASS = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True)
class Verdict:
    """A result, what was found, and how to mend it (empty for PASS)."""

    result: Result
    found: str
    mend: str = ""


def ok(found: str) -> Verdict:
    """The promise is kept."""
    return Verdict(Result.PASS, found)


def warn(found: str, mend: str) -> Verdict:
    """The promise is kept, but not for long, or not as well as it could be."""
    return Verdict(Result.WARN, found, mend)


def fail(found: str, mend: str) -> Verdict:
    """The promise is broken, or nobody can tell."""
    return Verdict(Result.FAIL, found, mend)


def worst(verdicts: list[Verdict]) -> Verdict:
    """All that is wrong in one verdict; of those that are not, all that was found."""
    result = max(verdict.result for verdict in verdicts)
    chosen = [verdict for verdict in verdicts if verdict.result == result]
    mends = dict.fromkeys(verdict.mend for verdict in chosen if verdict.mend)
    return Verdict(result, "; ".join(verdict.found for verdict in chosen), "; ".join(mends))
