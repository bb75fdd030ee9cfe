"""What happened: each change of leader as a sentence with its cause and its gap, and which share of the time it was up.

The definitions of leaderships, switches and gaps are the history's: see rectbot.history.story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rectbot.console.widgets import moment
from rectbot.console.words import Words
from rectbot.history.figures import downtime, shares
from rectbot.history.known import Known
from rectbot.history.period import DAY_MS
from rectbot.history.story import Span, Switch

WINDOWS = (1, 7, 30)  # days
MOST_MOVES = 40
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@dataclass(frozen=True)
class Day:
    """A time, how much of it is known, and how much of that was without the bot; in ms. `share` None: nothing is."""

    span: Span
    share: float | None
    down: int
    counted: int


@dataclass(frozen=True)
class Happened:
    """`windows`: by days, which share of the time the bot was up, as far as it is known; `known`: since when it is."""

    moves: tuple[Move, ...]  # the newest first
    windows: dict[int, float | None]
    days: tuple[Day, ...]  # the oldest first
    known: int | None


@dataclass(frozen=True)
class Move:
    """A change of leader; `back` is the later one that undid it by itself."""

    switch: Switch
    back: Switch | None = None


def happened(found: Known, now: int) -> Happened:
    """What of it the first page shows; `now` is when it was last known how things stand."""
    newest = range(max(1, len(found.leases) - MOST_MOVES), len(found.leases))
    return Happened(
        moves=tuple(reversed(_joined([found.switch(place) for place in newest]))),
        windows={count: days_of(found, [Span(now - count * DAY_MS, now)])[0].share for count in WINDOWS},
        days=tuple(days_of(found, days_until(now, max(WINDOWS)))),
        known=found.since,
    )


def days_until(now: int, count: int) -> list[Span]:
    """So many days of 24 hours, the last of which ends now."""
    return [Span(now - (ago + 1) * DAY_MS, now - ago * DAY_MS) for ago in reversed(range(count))]


def days_of(found: Known, days: Sequence[Span]) -> list[Day]:
    """How much of each of these days, which are in order, the bot was up. Only what is known counts."""
    whole = Span(days[0].start, days[-1].end)
    places = found.within(whole)
    counted, down = downtime(whole, found.spans, found.leases[places.start : places.stop])
    return [
        Day(day, 1 - missing / length if length else None, missing, length)
        for day, (length, missing) in zip(days, shares(days, counted, down), strict=True)
    ]


def _joined(found: Sequence[Switch]) -> list[Move]:
    """A failover and the failback that follows it are one story."""
    moves: list[Move] = []
    for switch in found:
        before = moves[-1] if moves else None
        if before is not None and before.back is None and _undoes(switch, before.switch):
            moves[-1] = Move(before.switch, switch)
        else:
            moves.append(Move(switch))
    return moves


def _undoes(later: Switch, earlier: Switch) -> bool:
    there_and_back = (later.from_site, later.to_site) == (earlier.to_site, earlier.from_site)
    by_itself = later.planned and not later.who and not earlier.planned
    return there_and_back and by_itself and earlier.from_site != earlier.to_site


def told(words: Words, move: Move) -> str:
    """The sentence, for a Sentence element: its moments are written in the browser's zone."""
    return (
        f"{moment(move.switch.at / 1000)} {words('happened.and').join(_clauses(words, move))}{words('happened.stop')}"
    )


def _clauses(words: Words, move: Move) -> Iterator[str]:
    switch = move.switch
    names = {"site": switch.from_site, "to": switch.to_site}
    cause = words(f"happened.{switch.kind}", **names)
    if switch.who:
        cause = words("happened.ordered", who=switch.who, **names)
    elif switch.why and switch.kind in ("workload-failed", "renew-failed"):
        cause = f"{cause} ({words.reason(switch.why)})"
    yield cause
    same = switch.from_site == switch.to_site
    if switch.gap is None:
        yield words("happened.never.same" if same else "happened.never", **names)
    else:
        yield words("happened.same" if same else "happened.took", gap=length(words, switch.gap), **names)
    if move.back is not None:
        yield words("happened.back", site=move.back.to_site, after=length(words, move.back.at - switch.at))


def length(words: Words, ms: int) -> str:
    """A duration in words."""
    seconds = max(0, ms) / 1000
    unit, size = next((each for each in _UNITS if seconds >= each[1]), ("s", 1))
    number = seconds / size
    text = f"{number:.1f}" if unit == "s" or number < 10 else f"{number:.0f}"
    return words(f"length.{unit}", n=text if unit == "s" else text.removesuffix(".0"))


def described(words: Words, day: Day) -> str:
    """What a day was like."""
    if day.share is None:
        return words("state.unknown")
    down = words("happened.down", down=length(words, day.down)) if day.down else words("happened.up")
    return f"{percent(day.share)}, {down}"


def tone(day: Day, tones: Iterable[tuple[float, str]]) -> str:
    """How a day is marked: `tones` have the least share for each, the best first."""
    return "unknown" if day.share is None else next(name for least, name in tones if day.share >= least)


def percent(share: float | None) -> str:
    """Never rounded up to a hundred: 99.998 % is not all."""
    if share is None:
        return "-"
    if share >= 1:
        return "100 %"
    return f"{min(99.99, int(share * 10_000) / 100):.2f} %"
