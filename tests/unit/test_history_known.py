"""What is known of the past: the same from pieces as from the whole, and nothing where nobody has recorded anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history_stories import BEGIN, TICK, Chapter, play, stories, told
from rectbot.history import known as module
from rectbot.history.known import Fired, Known, Recorded, known
from rectbot.history.story import Span, Told, leaderships, switches

END = BEGIN + 100_000 * TICK


def recorded(events: list[Told], latest: int) -> Recorded:
    """As the database would tell it."""
    leases = leaderships(events)
    since = leases[-latest].began if len(leases) >= latest else 0
    return Recorded(
        leases=leases,
        who=["", *(switch.who for switch in switches(leases, events))],
        events=[event for event in events if event.time >= since],
        first=events[0].time if events else None,
        logins=[event.time for event in events if event.kind == "ready"],
    )


@given(stories, st.booleans(), st.data())
def test_from_a_record_and_a_journal_follows_what_follows_from_all_events(
    story: list[Chapter], open_end: bool, data: st.DataObject
) -> None:
    events, _ = play(story, open_end=open_end)
    split = data.draw(st.integers(0, len(events)))
    back = data.draw(st.integers(0, split))
    latest = data.draw(st.integers(1, 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LATEST", latest)
        told_before = Recorded.of_json(recorded(events[:split], latest).as_json())
        found = known(told_before, events[split - back :], END, looked=END)
    leases = leaderships(events)
    # What ends a leadership before the last ones, long after it, is known when the database is read again.
    assert [lease[:5] for lease in found.leases] == [lease[:5] for lease in leases]
    if latest > len(leases):
        assert list(found.leases) == leases
        assert [found.switch(place) for place in range(1, len(leases))] == switches(leases, events)
    if back or split == len(events):
        assert found.spans == ([Span(events[0].time, END)] if events else [])


def test_an_order_is_its_operators_also_where_only_the_record_tells_it() -> None:
    events = [
        told(0, "acquired", "xserver", "x", 1),
        told(1, "switch", "oci", "ann", 1),
        told(1, "handed-over", "xserver", "x", 1),
        told(2, "acquired", "oci", "o", 2),
    ]
    for number in range(3, 3 + 2 * module.LATEST):
        events.append(told(number, "acquired", "oci", f"o{number}", number))
    found = known(recorded(events, module.LATEST), events[-60:], END, looked=END)
    assert found.switch(1).who == "ann"
    assert len(found.leases) == len(found.who) == 2 + 2 * module.LATEST


RECORD = [told(0, "acquired", "xserver", "x", 1), told(1, "ready", "xserver", "x", 1)]
LATER = [told(50, "acquired", "oci", "o", 9), told(51, "ready", "oci", "o", 9)]


def _spans(journal: list[Told], until: int | None, *, record: list[Told] = RECORD) -> list[tuple[int, int]]:
    found = known(recorded(record, 64), journal, until, looked=END)
    return [((span.start - BEGIN) // TICK, (span.end - BEGIN) // TICK) for span in found.spans]


def test_what_nobody_recorded_is_unknown() -> None:
    now = BEGIN + 60 * TICK
    assert _spans([*RECORD, *LATER], now) == [(0, 60)]
    assert _spans(LATER, now) == [(0, 1), (50, 60)], "the journal has forgotten what came between"
    for kind, why in (("suspended", "no memory"), ("initialised", "nothing was lost")):
        born = told(49, kind, "oci", "o", 0, why)
        assert _spans([born, *LATER], now) == [(0, 60)], "it has forgotten nothing: the store is a new one"
    restarted = told(49, "suspended", "oci", "o", 0, "the server was restarted")
    assert _spans([restarted, *LATER], now) == [(0, 1), (49, 60)]
    assert _spans(LATER, None) == [(0, 1), (50, 51)], "the store does not say how things stand now"
    assert _spans([], None) == [(0, 1)], "nor whether anything came after the record"
    assert _spans([], now) == [(0, 60)]
    assert _spans(LATER, now, record=[]) == [(50, 60)]
    assert _spans([], now, record=[]) == []


def test_what_the_record_lacks_stays_unknown_when_the_recorder_has_caught_up() -> None:
    lack = Span(RECORD[-1].time, LATER[0].time)
    found = known(replace(recorded([*RECORD, *LATER], 64), lacks=[lack]), LATER, END, looked=END)
    assert found.spans == [Span(BEGIN, lack.start), Span(lack.end, END)]


def test_what_should_have_been_recorded_and_was_not_is_told() -> None:
    def late(looked: int) -> int | None:
        return known(recorded(RECORD, 64), [*RECORD, *LATER], END, looked=looked).late

    assert late(LATER[0].time + 1_000) is None, "it may be on its way"
    assert late(END) == LATER[0].time


def test_a_leader_that_is_gone_is_not_up() -> None:
    found = known(recorded(RECORD, 64), RECORD, END, looked=END, gone=BEGIN + 5 * TICK)
    assert (found.leases[-1].ended, found.leases[-1].end_kind) == (BEGIN + 5 * TICK, "expired")


def test_what_is_read_is_what_was_written() -> None:
    given = replace(recorded(RECORD, 64), alerts=[Fired("A", "warning", "x", 1, None)], lacks=[Span(1, 2)])
    assert Recorded.of_json(given.as_json()) == given
    for broken in ("", "{}", "[]", '[[["x"]],[],[],null,[],[],[]]'):
        with pytest.raises((ValueError, TypeError)):
            Recorded.of_json(broken)
    assert Known().since is None
