"""Stories of leaderships, and what they come to: computed slowly, from one hour to the next."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from rectbot.history.story import Span, Told

TICK = 3_600_000  # an hour, so that a story goes over days
BEGIN = 1_770_768_000_000  # 2026-02-11T00:00Z
SITES = ("xserver", "oci", "third")
ENDINGS = ("released", "handed-over", "renew-failed", "workload-failed", "expired")


@dataclass(frozen=True)
class Chapter:
    """One leadership; all in ticks."""

    site: str
    pause: int  # since the one before was known to be over
    login: int | None  # from the grant to `ready`; None: that never comes
    lasts: int
    ending: str
    silence: int  # of one that expires: from its last renewal until somebody takes over
    again: bool  # `ready` is told a second time


chapters = st.builds(
    Chapter,
    site=st.sampled_from(SITES),
    pause=st.integers(0, 40),
    login=st.none() | st.integers(0, 6),
    lasts=st.integers(0, 60),
    ending=st.sampled_from(ENDINGS),
    silence=st.integers(0, 5),
    again=st.booleans(),
)
stories = st.lists(chapters, max_size=12)


@dataclass(frozen=True)
class Lead:
    site: str
    began: int
    ready: int | None
    ended: int | None
    planned: bool


def play(story: list[Chapter], *, open_end: bool) -> tuple[list[Told], list[Lead]]:
    """The events of a story, and what is true in it, in ticks."""
    events: list[Told] = []
    leads: list[Lead] = []
    now = 0
    owed: list[tuple[str, str, str, int, str, int]] = []  # `expired` is entered by who takes over
    for number, chapter in enumerate(story, 1):
        now += chapter.pause
        who = (chapter.site, f"{chapter.site}:{number}", number)
        events += [told(now, *event) for event in owed]
        owed = []
        began, end = now, now + chapter.lasts
        events.append(told(began, "acquired", *who))
        ready = began + chapter.login if chapter.login is not None and chapter.login <= chapter.lasts else None
        if ready is not None:
            events.append(told(ready, "ready", *who))
            if chapter.again:
                events.append(told(end, "ready", *who))
        now = end
        last = open_end and number == len(story)
        leads.append(
            Lead(chapter.site, began, ready, None if last else end, chapter.ending in ("released", "handed-over"))
        )
        if last:
            break
        if chapter.ending == "expired":
            owed.append(("expired", *who, "", BEGIN + end * TICK))
            now += chapter.silence
        else:
            events.append(told(end, chapter.ending, *who))
    events += [told(now, *event) for event in owed]
    return events, leads


def told(tick: int, kind: str, site: str, owner: str, epoch: int, why: str = "", renewed: int | None = None) -> Told:
    return Told(BEGIN + tick * TICK, kind, site, owner, epoch, why, renewed)


def slowly(events: list[Told], leads: list[Lead], start: int, end: int) -> dict[str, Any]:
    """The figures from tick `start` to tick `end`, one tick after the other."""
    first = min(map(_tick, events), default=end)
    ticks = range(max(start, first), end)
    up = {tick: any(_serves(lead, tick) for lead in leads) for tick in range(start, end)}
    days: dict[int, list[bool]] = {tick // 24: [] for tick in range(start, end)}
    for tick in ticks:
        days[tick // 24].append(up[tick])
    outages, gap = [], 0
    for tick in ticks:
        if not up[tick]:
            gap += 1
        if gap and (up[tick] or tick == end - 1):
            outages.append(gap)
            gap = 0
    switched = [before.planned for before, after in pairwise(leads) if start <= after.began < end]
    led = {
        site: sum(any(lead.site == site and _leads(lead, tick) for lead in leads) for tick in ticks) for site in SITES
    }
    return {
        "availability": sum(up[tick] for tick in ticks) / len(ticks) if ticks else None,
        "down_s": sum(not up[tick] for tick in ticks) * 3600,
        "longest_gap_s": max(outages, default=0) * 3600,
        "mean_time_to_recover_s": sum(outages) / len(outages) * 3600 if outages else None,
        "outages": [length * 3600 for length in outages],
        "switches": {"planned": sum(switched), "unplanned": len(switched) - sum(switched)},
        "leads_s": {site: ticks * 3600 for site, ticks in led.items() if ticks},
        "days": [sum(day) / len(day) if day else None for day in days.values()],
        "logins": len({event for event in events if event.kind == "ready" and start <= _tick(event) < end}),
    }


def _tick(event: Told) -> int:
    return (event.time - BEGIN) // TICK


def _leads(lead: Lead, tick: int) -> bool:
    return lead.began <= tick and (lead.ended is None or tick < lead.ended)


def _serves(lead: Lead, tick: int) -> bool:
    return lead.ready is not None and lead.ready <= tick and _leads(lead, tick)


def span(start: int, end: int) -> Span:
    return Span(BEGIN + start * TICK, BEGIN + end * TICK)
