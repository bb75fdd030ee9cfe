"""The state machine by itself: each rule of its description, with times given by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from rectbot.failover import messages as m
from rectbot.failover import protocol as p
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import (
    Campaign,
    Granted,
    Logins,
    Lost,
    Obstacle,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
)

CONFIG = FailoverConfig(
    site="a", priority=("a", "b"), lock_ttl_ms=10_000, renew_interval_ms=3_000, stop_timeout_ms=2_000
)
SENT = -1  # stands for when the request was sent


class Walk:
    """A walk of one site through the protocol; keeps the state and the last actions."""

    def __init__(self, config: FailoverConfig = CONFIG) -> None:
        self.config = config
        self.state = p.State()
        self.actions: tuple[m.Action, ...] = ()
        self.now = 1_000

    def at(self, now: int, event: m.Event | None = None) -> Walk:
        assert now >= self.now
        self.now = now
        self.state, self.actions = p.step(self.config, self.state, event or m.Tick(), now)
        return self

    def answered(self, now: int, reply: Reply) -> Walk:
        assert self.state.pending is not None
        if isinstance(reply, Granted | Renewed) and reply.sent_at == SENT:
            reply = reply._replace(sent_at=self.state.sent_at)
        return self.at(now, m.Answered(self.state.pending.id, reply))

    def failed(self, now: int) -> Walk:
        assert self.state.pending is not None
        return self.at(now, m.Failed(self.state.pending.id, "test"))

    def led(self) -> Walk:
        """Leads since 1100, by a request that was sent at 1000."""
        self.at(1_000) if self.state.pending is None else None
        return self.answered(1_100, Granted(7, SENT))

    @property
    def sent(self) -> list[object]:
        return [action.request for action in self.actions if isinstance(action, m.Send)]

    @property
    def done(self) -> list[m.Action]:
        """What was done beside sending and telling."""
        return [action for action in self.actions if not isinstance(action, m.Send | m.Note)]

    @property
    def wake_at(self) -> int | None:
        return p.wake_at(self.config, self.state)


LEASE_MS = 9_780  # 10 s less 2 % less 20 ms


def test_the_lease_counts_from_before_the_request_was_sent() -> None:
    walk = Walk().led()
    assert walk.done == [m.Start(7, 1_000 + LEASE_MS)]
    walk.at(4_000)
    assert walk.sent == [Renew(7)]
    walk.answered(6_500, Renewed(SENT))
    assert walk.done == [m.Extend(4_000 + LEASE_MS)]


def test_a_leader_that_cannot_renew_stops_its_workload_before_the_lease_ends() -> None:
    walk = Walk().led().at(4_000).failed(5_000)
    while walk.state.role == "leader":
        assert walk.wake_at is not None
        walk.at(walk.wake_at)
        if walk.state.pending and walk.state.role == "leader":
            walk.failed(walk.now + 10)
    assert walk.now == 1_000 + LEASE_MS - CONFIG.stop_timeout_ms
    assert walk.done == [m.StopWorkload(1_000 + LEASE_MS)]
    walk.at(walk.now + 500, m.WorkloadStopped())
    assert walk.sent == [Release(7, "could not renew the lease in time", eligible=True, ending="renew-failed")]


@pytest.mark.parametrize("late", [0, 1, 3_600_000])
def test_whatever_event_comes_first_after_the_deadline_the_workload_is_killed_before_all_else(late: int) -> None:
    events: list[m.Event] = [
        m.Tick(),
        m.Changed(),
        m.Answered(2, Renewed(SENT)),
        m.WorkloadStopped(),
        m.WorkloadEnded("x"),
        m.Stop(),
    ]
    for event in events:
        walk = Walk().led().at(4_000)
        walk.at(1_000 + LEASE_MS + late, event)
        acts = [action for action in walk.actions if not isinstance(action, m.Note)]
        assert acts[0] == m.Kill(), event
        assert m.Extend not in map(type, acts), event


def test_an_answer_to_an_earlier_request_changes_nothing() -> None:
    walk = Walk().led().at(4_000)
    old = walk.state.pending
    assert old is not None
    walk.failed(5_000).at(walk.wake_at or 0)
    before = walk.state
    assert walk.at(walk.now, m.Answered(old.id, Renewed(SENT))).state == before
    assert walk.at(walk.now, m.Failed(old.id, "x")).state == before


def test_a_renewal_answered_after_the_drain_began_does_not_bring_the_lead_back() -> None:
    walk = Walk().led().at(4_000)
    number = walk.state.requests
    walk.at(4_100, m.WorkloadEnded("crashed")).at(4_200, m.Answered(number, Renewed(SENT)))
    assert walk.state.role == "draining"
    assert walk.done == []


def test_a_grant_that_took_too_long_is_given_back_unused() -> None:
    walk = Walk().at(1_000).answered(1_000 + LEASE_MS - CONFIG.stop_timeout_ms, Granted(7, SENT))
    assert walk.done == []
    assert walk.sent == [Release(7, "the grant took too long to arrive", eligible=True, unused=True)]
    assert walk.answered(walk.now + 1, Released()).sent == [Campaign(True, 7)]


def test_a_refused_site_asks_again_at_the_moment_when_the_obstacle_is_gone() -> None:
    walk = Walk().at(1_000).answered(1_100, Refused("held", 1_500, 3, "b"))
    assert walk.wake_at == 2_600
    assert walk.at(2_600).sent == [Campaign(True, 3)]
    walk.answered(2_700, Refused("held", 60_000, 3, "b"))
    assert walk.wake_at == 2_600 + 2 * CONFIG.renew_interval_ms, "but not later than its next heartbeat"


def test_every_obstacle_is_told_in_words_and_once() -> None:
    for obstacle in get_args(Obstacle):
        walk = Walk().at(1_000).answered(1_100, Refused(obstacle, 1_500, 3, "b"))
        [note] = walk.actions
        assert isinstance(note, m.Note)
        assert note.text.startswith(f"waits ({obstacle}): ")
        assert note.text.endswith(", for 1.5 s")
        walk.at(2_600).answered(2_700, Refused(obstacle, 400, 3, "b"))
        assert walk.actions == ()


def test_a_change_elsewhere_is_looked_at_when_it_is_due() -> None:
    walk = Walk().at(1_000).answered(1_100, Refused("held", 9_000, 3, "b"))
    assert walk.at(1_200, m.Changed(0)).sent == [Campaign(True, 3)]
    walk.answered(1_220, Refused("held", 9_000, 3, "b"))
    assert walk.at(1_300, m.Changed(500)).sent == []
    assert walk.wake_at == 1_800
    assert walk.at(1_400, m.Changed(None)).wake_at == 1_800, "what is not due by waiting changes nothing"


def test_that_the_workload_serves_is_told_at_once() -> None:
    walk = Walk().led().at(1_200, m.Serves())
    assert walk.sent == [Renew(7)]
    assert walk.at(1_210, m.LoggedIn(Logins(1))).sent == [], "one request at a time"
    assert walk.answered(1_220, Renewed(SENT)).sent == [Renew(7, Logins(1))], "and logins, too"
    walk.answered(1_230, Renewed(SENT))
    assert walk.wake_at == 1_220 + CONFIG.renew_interval_ms


def test_a_grant_counts_from_when_it_was_worked_out_whenever_it_is_heard_of() -> None:
    walk = Walk().at(1_000).failed(4_000).at(5_000).answered(5_010, Granted(7, 1_000))
    assert walk.state.deadline == 1_000 + LEASE_MS


def test_a_renewal_that_does_not_extend_leaves_the_deadline_where_it_is() -> None:
    walk = Walk().led().at(4_000).answered(4_010, Renewed(SENT, extends=False))
    assert walk.state.deadline == 1_000 + LEASE_MS


def test_what_does_not_fit_together_is_said_once_and_taken_back() -> None:
    walk = Walk().at(1_000).answered(1_100, Refused("held", 900, 3, "b", "odd"))
    assert m.Note("odd", True) in walk.actions
    walk.at(2_000).answered(2_010, Refused("held", 900, 3, "b", "odd"))
    assert list(walk.actions) == []
    walk.at(2_910).answered(2_920, Refused("held", 900, 3, "b"))
    assert walk.actions == (m.Note("what did not fit together does now", True),)


def test_the_lead_is_handed_to_a_preferred_site_after_the_workload_is_gone() -> None:
    walk = Walk().led().at(4_000).answered(4_010, Renewed(SENT, yield_in_ms=700))
    assert walk.at(4_710).sent == [Renew(7)]
    walk.answered(4_720, Renewed(SENT, yield_to="b"))
    assert walk.done == [m.Extend(4_710 + LEASE_MS), m.StopWorkload(4_720 + CONFIG.stop_timeout_ms)]
    assert walk.sent == []
    walk.at(5_000, m.WorkloadStopped())
    assert walk.sent == [Release(7, "hands over to b", to="b", eligible=True, ending="handed-over")]
    assert walk.answered(5_010, Released()).state.role == "candidate"


def test_a_release_that_was_not_heard_is_repeated_while_the_lock_may_live() -> None:
    walk = (
        Walk().led().at(4_000).answered(4_010, Renewed(SENT, yield_to="b")).at(4_100, m.WorkloadStopped()).failed(5_000)
    )
    assert walk.at(walk.wake_at or 0).sent == [
        Release(7, "hands over to b", to="b", eligible=True, ending="handed-over")
    ]
    walk.at(4_010 + CONFIG.lock_ttl_ms)
    assert walk.state.role == "candidate"
    assert walk.sent == [], "it does not get in its heir's way"
    assert walk.wake_at == walk.now + CONFIG.renew_interval_ms


def test_a_lost_lock_ends_the_lead_and_is_not_released() -> None:
    walk = Walk().led().at(4_000).answered(4_010, Lost("b"))
    assert walk.done == [m.StopWorkload(4_010 + CONFIG.stop_timeout_ms)]
    assert walk.at(4_100, m.WorkloadStopped()).sent == [Campaign(True, 7)]


def test_a_failing_workload_makes_its_site_sit_out_longer_and_longer() -> None:
    walk = Walk()
    pauses: list[int] = []
    walk.at(1_000)
    for epoch in range(1, 10):
        walk.answered(walk.now, Granted(epoch, SENT)).at(walk.now, m.WorkloadEnded("crashed"))
        began = walk.now
        walk.at(walk.now, m.WorkloadStopped()).answered(walk.now, Released())
        assert walk.state.role == "follower"
        assert walk.sent == [Campaign(False, epoch)]
        while walk.state.role == "follower":
            if walk.state.pending:
                walk.answered(walk.now, Refused("ineligible", None, epoch))
            walk.at(walk.wake_at or 0)
        pauses.append(walk.now - began)
        if walk.state.pending and walk.state.pending.request != Campaign(True, epoch):
            walk.answered(walk.now, Refused("ineligible", None, epoch)).at(walk.wake_at or 0)
    assert pauses[:3] == [5_000, 10_000, 20_000]
    assert pauses[-1] == CONFIG.sit_out_max_ms


def test_a_workload_that_cannot_ever_run_ends_the_site() -> None:
    walk = Walk().led().at(2_000, m.WorkloadEnded("wrong token", fatal=True)).at(2_100, m.WorkloadStopped())
    assert walk.sent == [Release(7, "the workload ended: wrong token", leaving=True, ending="workload-failed")]
    assert walk.answered(2_200, Released()).done == [m.Finish("wrong token")]


def test_a_stop_drains_releases_and_finishes() -> None:
    walk = Walk().led().at(2_000, m.Stop())
    assert walk.done == [m.StopWorkload(4_000)]
    assert walk.at(2_500, m.WorkloadStopped()).sent == [Release(7, "stopped", leaving=True)]
    assert walk.answered(2_510, Released()).done == [m.Finish("")]
    assert walk.state.role == "gone"
    assert walk.wake_at is None


def test_a_stop_waits_for_a_campaign_in_flight_and_gives_its_lock_back() -> None:
    walk = Walk().at(1_000).at(1_010, m.Stop())
    assert walk.actions == (m.Note("stopped"),)
    walk.answered(1_020, Granted(9, SENT))
    assert walk.done == []
    assert walk.sent == [Release(9, "stopped", leaving=True, unused=True)]


@pytest.mark.parametrize("answers", [True, False])
def test_a_stop_does_not_wait_for_a_silent_store_for_long(answers: bool) -> None:
    walk = Walk().at(1_000).at(1_010, m.Stop())
    if answers:
        walk.answered(1_100, Refused("held", 9_000, 3, "b"))
        assert walk.sent == [Release(0, "stopped", leaving=True, unused=True)]
    while walk.state.role != "gone":
        assert walk.wake_at is not None
        walk.at(walk.wake_at)
    assert walk.now <= 1_010 + 2_000
    assert walk.done == [m.Finish("")]


def test_time_standing_still_never_makes_a_request_twice() -> None:
    walk = Walk().at(1_000)
    assert len(walk.sent) == 1
    assert walk.at(1_000).sent == []
    assert walk.led().at(1_100).sent == []


def test_step_is_pure() -> None:
    state = p.State()
    first = p.step(CONFIG, state, m.Tick(), 1_000)
    assert state == p.State()
    assert p.step(CONFIG, p.State(), m.Tick(), 1_000) == first


def test_a_copy_of_the_state_has_all_of_it() -> None:
    state = p.State()
    for field in fields(p.State):
        setattr(state, field.name, object())
    assert vars(state.copy()) == vars(state)


def test_an_operator_has_the_lead_moved_or_given_up() -> None:
    walk = Walk().led().at(4_000).answered(4_010, Renewed(SENT, yield_to="b", why="switch by eve: new kernel"))
    walk.at(4_100, m.WorkloadStopped())
    assert walk.sent == [Release(7, "hands over to b: switch by eve: new kernel", "b", True, ending="handed-over")]
    walk = Walk().led().at(4_000).answered(4_010, Renewed(SENT, why="drained by eve"))
    walk.at(4_100, m.WorkloadStopped())
    assert walk.sent == [Release(7, "gives up: drained by eve", eligible=True)]


def test_the_store_is_told_of_each_login_at_once_and_until_it_has_answered() -> None:
    walk = Walk().led().at(1_200, m.LoggedIn(Logins(0, 990)))
    assert walk.sent == [Renew(7, Logins(0, 990))]
    walk.at(2_000, m.LoggedIn(Logins(1, 980))).answered(2_010, Renewed(SENT))
    assert walk.sent == [Renew(7, Logins(1, 980))]
    walk.at(2_011, m.LoggedIn(Logins(1, 979))).failed(5_000).at(walk.wake_at or 0)
    assert walk.sent == [Renew(7, Logins(2, 979))], "the first answer was lost: told once more, which costs nothing"
    walk.at(walk.now + 1, m.LoggedIn(Logins(1, 978))).answered(walk.now + 5, Renewed(SENT, logins_left=40))
    assert walk.done == [m.Extend(walk.now - 6 + LEASE_MS, 39)], "without the one that the answer cannot have counted"
    assert walk.sent == [Renew(7, Logins(3, 978, told=2))]
    walk.answered(walk.now, Renewed(SENT)).at(walk.wake_at or 0)
    assert walk.sent == [Renew(7, Logins(3, told=3))], "what the service allowed was true when it said so"
    walk.at(walk.now, m.LoggedIn(Logins(1))).at(walk.now, m.WorkloadEnded("x")).at(walk.now, m.WorkloadStopped())
    assert walk.sent == [Release(7, "the workload ended: x", ending="workload-failed", logins=Logins(4, told=3))]


def test_logins_whose_release_was_not_answered_are_told_with_the_next_request() -> None:
    walk = (
        Walk().led().at(2_000, m.LoggedIn(Logins(2, 7))).at(2_001, m.WorkloadEnded("x")).at(2_002, m.WorkloadStopped())
    )
    while walk.state.role == "draining":
        walk = walk.failed(walk.now + 100) if walk.state.pending else walk.at(walk.wake_at or 0)
    if walk.state.pending is None:
        walk.at(walk.wake_at or 0)
    pending = walk.state.pending
    assert pending is not None
    assert isinstance(pending.request, Campaign)
    assert pending.request.logins == Logins(2, 7)
