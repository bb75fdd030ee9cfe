"""From the failover's events to who led when, when the bot was up, and why it was not. Pure; times in ms since 1970.

The definitions, which docs/history.md repeats for people:

- A *leadership* begins with `acquired` and ends with an event of its own owner and epoch: released, handed-over,
  renew-failed, workload-failed, renew-refused. One that `expired`, or could not be renewed, ended at its last renewal,
  where that is known: from then on nobody knows that the bot was there; and `renew-failed` is told when the store is
  back, maybe hours after the logout. It ends at the latest when the next one begins.
- The bot is *up* from a leadership's first `ready` to its end, and *down* at all other times since the first event.
- A *switch* is one leadership that follows another, wherever. It is planned when the lead was handed over or released.

Sites have clocks of their own. So an event is matched by owner and epoch, not by its place among the others.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from rectbot.failover.events import Event

ENDS = ("released", "handed-over", "renew-failed", "workload-failed", "renew-refused", "expired")
PLANNED = ("released", "handed-over")
FORGOTTEN, FOLLOWED = "forgotten", "followed"  # ends that no event of the leadership's own tells
_SIGNS = ("ready", "restored")  # of a leadership whose beginning is not known
_ORDERS = ("switch", "drain")
_RENEWED = re.compile(r"not renewed since (\S+)$")
_LOST_ALL = re.compile(r"no memory|what is there is no record")  # as scribe.py says it


class Told(NamedTuple):
    """One event, as it is kept for ever."""

    time: int
    kind: str
    site: str
    owner: str
    epoch: int
    why: str
    last_renewal: int | None = None


class Leadership(NamedTuple):
    """One lease from its grant to its end; `ended` and `end_kind` are None and "" while it goes on."""

    site: str
    owner: str
    epoch: int
    began: int
    ready: int | None = None
    ended: int | None = None
    end_kind: str = ""
    end_why: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """One leadership that follows another."""

    at: int  # when the next one began
    from_site: str
    to_site: str
    planned: bool
    gap: int | None  # from the end of the one to the other's `ready`; None: that never came
    who: str  # the operator who asked for it; empty: nobody did
    kind: str  # what ended the one before
    why: str


class Span(NamedTuple):
    """From the first moment to the one after the last."""

    start: int
    end: int


def told(event: Event) -> Told:
    """An event of the store's journal; some say in words when the lease was last renewed."""
    renewed = _RENEWED.search(event.why) if event.kind in ("expired", "renew-failed") else None
    return Told(
        round(event.time * 1000),
        event.kind,
        event.site,
        event.owner,
        event.epoch,
        event.why,
        _ms(renewed[1]) if renewed else None,
    )


def is_whole(journal: Sequence[Told]) -> bool:
    """Whether a store's journal, oldest first, begins with the store itself: it has forgotten nothing."""
    if not journal:
        return True
    first = journal[0]
    return first.kind == "initialised" or (first.kind == "suspended" and _LOST_ALL.match(first.why) is not None)


def _ms(text: str) -> int | None:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return None


def leaderships(events: Sequence[Told]) -> list[Leadership]:
    """All of them, in the order of their beginnings; no two overlap. `events` are sorted by time."""
    known: dict[tuple[str, str, int], Leadership] = {}
    for kinds in (("acquired",), _SIGNS):
        for event in events:
            who = (event.site, event.owner, event.epoch)
            if event.kind in kinds and who not in known:
                known[who] = Leadership(*who, began=event.time)
    for who, ready in _first_ready(events).items():
        known[who] = known[who]._replace(ready=max(ready, known[who].began))
    found = sorted(known.values(), key=lambda lease: (lease.began, lease.epoch))
    ends = _ends(events, found)
    found = [_ended(lease, ends.get((lease.site, lease.owner, lease.epoch))) for lease in found]
    return _one_after_another(found, events)


def continued(leases: Sequence[Leadership], events: Sequence[Told]) -> list[Leadership]:
    """`leases`, and those that `events` tell of beside: all of the last one's, and what came after it began.

    So what is known of a long past need not be worked out again for what is new.
    """
    known = {(lease.site, lease.owner, lease.epoch) for lease in leases[:-1]}
    new = leaderships([event for event in events if (event.site, event.owner, event.epoch) not in known])
    return [*leases[:-1], *new]


def _first_ready(events: Sequence[Told]) -> dict[tuple[str, str, int], int]:
    """When the bot of each leadership was first known to be logged in."""
    began = {(event.site, event.owner, event.epoch) for event in events if event.kind == "acquired"}
    ready: dict[tuple[str, str, int], int] = {}
    for event in events:
        who = (event.site, event.owner, event.epoch)
        # Of one whose beginning is not known, `restored` says so, too: "nobody logged out".
        if event.kind == "ready" or (event.kind == "restored" and who not in began):
            ready.setdefault(who, event.time)
    return ready


def _ends(events: Sequence[Told], found: list[Leadership]) -> dict[tuple[str, str, int], Told]:
    """The event that ended each leadership: of several, the one that says the earliest end."""
    epochs: dict[tuple[str, str], list[int]] = {}
    for lease in found:
        epochs.setdefault((lease.site, lease.owner), []).append(lease.epoch)
    for known in epochs.values():
        known.sort()
    ends: dict[tuple[str, str, int], Told] = {}
    for event in events:
        if event.kind not in ENDS:
            continue
        known = epochs.get((event.site, event.owner), [])
        # Whoever enters `expired` knows the last epoch that was granted, not that of the lock.
        place = bisect_right(known, event.epoch) - 1
        if place < 0 or (event.kind != "expired" and known[place] != event.epoch):
            continue
        who = (event.site, event.owner, known[place])
        if who not in ends or _end_of(event) < _end_of(ends[who]):
            ends[who] = event
    return ends


def _end_of(event: Told) -> int:
    return event.time if event.last_renewal is None else min(event.time, event.last_renewal)


def _ended(lease: Leadership, end: Told | None) -> Leadership:
    if end is None:
        return lease
    return lease._replace(ended=max(lease.began, _end_of(end)), end_kind=end.kind, end_why=end.why)


def _one_after_another(found: list[Leadership], events: Sequence[Told]) -> list[Leadership]:
    """Each ends when the next one begins, at the latest; or when the store forgot it."""
    forgot = [event for event in events if event.kind == "suspended"]
    restored = {(event.site, event.owner, event.epoch): event.time for event in events if event.kind == "restored"}
    done = []
    for place, lease in enumerate(found):
        following = found[place + 1].began if place + 1 < len(found) else None
        end, kind, why = lease.ended, lease.end_kind, lease.end_why
        if end is None:
            since = max(lease.began, restored.get((lease.site, lease.owner, lease.epoch), 0))
            if (gone := _forgotten(forgot, since, following)) is not None:
                end, kind, why = gone.time, FORGOTTEN, gone.why
            elif following is not None:
                end, kind = following, FOLLOWED
        if end is not None and following is not None:
            end = min(end, following)
        done.append(lease._replace(ended=end, end_kind=kind, end_why=why))
    return done


def _forgotten(forgot: list[Told], since: int, following: int | None) -> Told | None:
    """The event by which the store forgot a leadership that nobody ended.

    One that nobody followed goes on, unless the store has really nothing of it: as a rule it only may have forgotten,
    and the leader renews as if nothing had been.
    """
    for event in forgot:
        if event.time >= since and (
            event.time <= following if following is not None else _LOST_ALL.match(event.why) is not None
        ):
            return event
    return None


def switches(leases: Sequence[Leadership], events: Sequence[Told] = ()) -> list[Switch]:
    """Each leadership that follows another; `events` tell which of them an operator asked for."""
    orders = [event for event in events if event.kind in _ORDERS]
    times = [event.time for event in orders]
    found = []
    for before, after in pairwise(leases):
        asked = orders[bisect_left(times, before.began) : bisect_right(times, after.began)]
        found.append(switch_of(before, after, _who(before, after, asked) if before.end_kind in PLANNED else ""))
    return found


def switch_of(before: Leadership, after: Leadership, who: str) -> Switch:
    """The switch from one leadership to the next; `who` asked for it."""
    ended = before.ended if before.ended is not None else after.began
    return Switch(
        at=after.began,
        from_site=before.site,
        to_site=after.site,
        planned=before.end_kind in PLANNED,
        gap=after.ready - ended if after.ready is not None else None,
        who=who,
        kind=before.end_kind,
        why=before.end_why,
    )


def _who(before: Leadership, after: Leadership, asked: Sequence[Told]) -> str:
    """The last operator whose order this move carried out."""
    for order in reversed(asked):
        if (order.kind, order.site) in (("switch", after.site), ("drain", before.site)):
            return order.owner
    return ""


def up(leases: Iterable[Leadership], until: int) -> list[Span]:
    """When the bot was up, in order; the last leadership goes on until `until`."""
    spans = []
    for lease in leases:
        end = until if lease.ended is None else min(lease.ended, until)
        if lease.ready is not None and lease.ready < end:
            spans.append(Span(lease.ready, end))
    return spans


def gaps(spans: Sequence[Span], whole: Span) -> list[Span]:
    """What of `whole` the spans, which are in order, leave uncovered. Two that touch leave nothing between them."""
    found, at = [], whole.start
    for start, end in spans:
        if start > at and at < whole.end:
            found.append(Span(at, min(start, whole.end)))
        at = max(at, end)
    if at < whole.end:
        found.append(Span(at, whole.end))
    return found


def overlap(span: Span, other: Span) -> int:
    """For how long both last at a time, in ms."""
    return max(0, min(span.end, other.end) - max(span.start, other.start))
