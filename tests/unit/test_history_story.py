"""Leaderships, switches and gaps from events: what can be odd about events, one case each."""

from __future__ import annotations

import pytest

from rectbot.failover.events import Event
from rectbot.history.story import Leadership, Span, Told, gaps, leaderships, switches, told, up

A, B = ("xserver", "xserver:1"), ("oci", "oci:1")


def _at(time: int, kind: str, who: tuple[str, str], epoch: int, why: str = "", renewed: int | None = None) -> Told:
    return Told(time, kind, *who, epoch, why, renewed)


def _ends(events: list[Told]) -> list[tuple[str, int, int | None, int | None, str]]:
    return [(each.site, each.began, each.ready, each.ended, each.end_kind) for each in leaderships(events)]


LEAD = [_at(0, "acquired", A, 1), _at(3, "ready", A, 1)]
NEXT = [_at(100, "acquired", B, 2), _at(103, "ready", B, 2)]


@pytest.mark.parametrize(
    ("between", "end"),
    [
        ([_at(90, "released", A, 1)], (90, "released")),
        ([_at(90, "handed-over", A, 1)], (90, "handed-over")),
        ([_at(90, "renew-failed", A, 1)], (90, "renew-failed")),
        ([_at(90, "renew-failed", A, 1, "", 30)], (30, "renew-failed")),  # told when the store was back
        ([_at(90, "workload-failed", A, 1)], (90, "workload-failed")),
        ([_at(90, "renew-refused", A, 1)], (90, "renew-refused")),
        ([_at(100, "expired", A, 1, "", 40)], (40, "expired")),
        ([_at(100, "expired", A, 1)], (100, "expired")),  # of an older version
        ([_at(100, "expired", A, 7, "", 40)], (40, "expired")),  # it names the last epoch, not the lock's
        ([_at(100, "expired", A, 1, "", 250)], (100, "expired")),  # that site's clock is ahead
        ([_at(100, "expired", A, 1, "", -5)], (0, "expired")),  # or behind
        ([_at(100, "expired", A, 1, "", 40), _at(150, "renew-refused", A, 1)], (40, "expired")),  # it was paused
        ([_at(120, "released", A, 1)], (100, "released")),  # its clock is ahead: the next lease tells better
        ([_at(90, "released", A, 9)], (100, "followed")),  # of another lease
        ([_at(90, "released", ("xserver", "xserver:2"), 1)], (100, "followed")),  # of another process
        ([], (100, "followed")),
        ([_at(50, "suspended", B, 1, "no memory")], (50, "forgotten")),
        ([_at(50, "suspended", B, 1, "another server process")], (50, "forgotten")),
        ([_at(50, "suspended", B, 1, "no memory"), _at(60, "restored", A, 1)], (100, "followed")),
        ([_at(50, "ready", A, 1), _at(90, "released", A, 1)], (90, "released")),
        ([_at(90, "damped", A, 1), _at(90, "refused-by-priority", B, 1)], (100, "followed")),
    ],
)
def test_how_a_leadership_ends(between: list[Told], end: tuple[int, str]) -> None:
    events = sorted([*LEAD, *between, *NEXT], key=lambda event: event.time)
    assert _ends(events) == [("xserver", 0, 3, *end), ("oci", 100, 103, None, "")]


def test_the_order_of_events_of_one_moment_does_not_matter() -> None:
    events = [_at(100, "expired", A, 1, "", 40), *NEXT[:1]]
    for order in (events, events[::-1]):
        assert _ends([*LEAD, *order]) == [("xserver", 0, 3, 40, "expired"), ("oci", 100, None, None, "")]
    at_once = [_at(0, "released", A, 1), _at(0, "acquired", A, 1)]
    assert _ends(at_once) == [("xserver", 0, None, 0, "released")]


def test_a_leadership_that_began_before_the_first_event_counts_from_its_first_sign() -> None:
    assert _ends([_at(7, "ready", A, 3), _at(9, "released", A, 3)]) == [("xserver", 7, 7, 9, "released")]
    assert _ends([_at(7, "restored", A, 3)]) == [("xserver", 7, 7, None, "")]
    assert _ends([_at(9, "released", A, 3), _at(9, "expired", B, 3, "", 2)]) == []


@pytest.mark.parametrize(
    ("why", "ended"),
    [("no memory", 50), ("what is there is no record: it is not JSON", 50), ("another server process", None)],
)
def test_a_leader_that_nobody_followed_goes_on_unless_nothing_of_it_is_left(why: str, ended: int | None) -> None:
    assert leaderships([*LEAD, _at(50, "suspended", B, 1, why)])[0].ended == ended
    assert leaderships([*LEAD, _at(50, "suspended", B, 1, why), _at(51, "restored", A, 1)])[0].ended is None


def test_a_switch_is_planned_when_the_lead_was_given_up_and_names_who_asked() -> None:
    asked = _at(80, "switch", ("oci", "ann@desk"), 1, "updates")
    over = [asked, _at(90, "handed-over", A, 1, "updates")]
    events = [*LEAD, *over, *NEXT]
    [switch] = switches(leaderships(events), events)
    assert (switch.at, switch.from_site, switch.to_site, switch.planned, switch.gap) == (
        100,
        "xserver",
        "oci",
        True,
        13,
    )
    assert (switch.who, switch.kind, switch.why) == ("ann@desk", "handed-over", "updates")
    crash = [*LEAD, asked, _at(100, "expired", A, 1, "", 90), *NEXT]
    [switch] = switches(leaderships(crash), crash)
    assert (switch.planned, switch.who) == (False, "")
    drained = [*LEAD, _at(85, "drain", ("xserver", "bob@desk"), 1), _at(90, "released", A, 1), *NEXT]
    assert switches(leaderships(drained), drained)[0].who == "bob@desk"


def test_the_bot_is_up_from_ready_to_the_end() -> None:
    leases = [
        Leadership("a", "1", 1, 0, 5, 20),
        Leadership("b", "1", 2, 20, 20, 30),  # no gap before it
        Leadership("a", "2", 3, 31, None, 40),  # never logged in
        Leadership("b", "2", 4, 41, 44, 44),
        Leadership("a", "3", 5, 50, 55),
    ]
    assert up(leases, 70) == [Span(5, 20), Span(20, 30), Span(55, 70)]
    assert up(leases, 52) == [Span(5, 20), Span(20, 30)]
    assert gaps(up(leases, 70), Span(0, 70)) == [Span(0, 5), Span(30, 55)]
    assert gaps(up(leases, 70), Span(10, 40)) == [Span(30, 40)]
    assert gaps(up(leases, 70), Span(6, 6)) == []
    assert gaps([], Span(0, 9)) == [Span(0, 9)]


def test_the_journal_s_expired_says_when_the_lease_was_last_renewed() -> None:
    event = Event("7", 1764243000.5, "expired", *A, 3, "not renewed since 2025-11-27T11:30:00.123Z")
    assert told(event) == Told(1764243000500, "expired", *A, 3, event.why, 1764243000123)
    for why in ("not renewed since yesterday", "", "not renewed since"):
        assert told(event._replace(why=why)).last_renewal is None
    assert told(event._replace(kind="released")).last_renewal is None
    late = event._replace(kind="renew-failed", why=f"could not renew the lease in time; {event.why}")
    assert told(late).last_renewal == 1764243000123
