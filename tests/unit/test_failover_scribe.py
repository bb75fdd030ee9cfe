"""The scribe alone: what it takes from what it hears, and what time it writes."""

from __future__ import annotations

import pytest

from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Campaign, Granted, Refused, Renew, Renewed, Reply, Request
from rectbot.failover.record import Beat, Draft, Seen
from rectbot.failover.rules import LOST_EPOCHS, initialise
from rectbot.failover.scribe import Scribe
from rectbot.failover.view import RollCall, View

TTL_MS = 9_000
CONFIG = FailoverConfig(site="a", priority=("a", "b"), lock_ttl_ms=TTL_MS, owner="a:1").validate()


class Register:
    """One that answers as it is told to."""

    def __init__(self, server: str = "m") -> None:
        self.version, self.server = 0, server
        record = initialise(FailoverConfig(site="", owner="o"), None, View(0, 0, 0, 0, {}), server)
        self.seen = Seen("0", server, record)

    def swap(self, draft: Draft) -> Seen:
        if draft.seen.token == self.seen.token:
            self.version += 1
            self.seen = Seen(str(self.version), self.server, draft.record)
        return self.seen


def ask(scribe: Scribe, register: Register, request: Request, asked: int, answered: int) -> Reply:
    """A request, each of whose answers comes at `answered`. Fails when it takes more than a read and a swap."""
    for _ in range(3):
        made = scribe.propose(request, asked, 0)
        if made is None:
            scribe.has_read(register.seen, scribe.mark, answered)
        elif not isinstance(made, Draft):
            return made
        elif (reply := scribe.settle(made, register.swap(made), answered)) is not None:
            return reply
    raise AssertionError("one swap was not enough")


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def leader(register: Register) -> Scribe:
    scribe = Scribe(CONFIG)
    assert isinstance(ask(scribe, register, Campaign(True, 0), 1_000, 1_000), Granted)
    return scribe


def test_what_is_announced_late_or_twice_changes_nothing(register: Register, leader: Scribe) -> None:
    """Our own swaps are announced to us, too; a renewal is one swap all the same, and the watch goes on."""
    told = [register.seen]
    for turn in range(1, 5):
        now = 1_000 + 1_000 * turn
        assert isinstance(ask(leader, register, Renew(1), now, now), Renewed)
        told.append(register.seen)
        for seen in (*told, *reversed(told)):
            assert not leader.overhear(seen, now + 10)
        assert leader.known == register.seen
        made = leader.propose(Renew(1), now + 20, 0)
        assert isinstance(made, Draft)
        assert made.seen == register.seen


def test_an_announcement_without_a_record_makes_the_next_thing_a_read(register: Register, leader: Scribe) -> None:
    assert leader.overhear(None, 2_000)
    assert leader.propose(Renew(1), 2_000, 0) is None


def test_the_record_s_time_never_runs_ahead_of_a_clock_however_late_answers_come(register: Register) -> None:
    """What is written is the time at which it was worked out, before it was sent."""
    leader = Scribe(CONFIG)
    ask(leader, register, Campaign(True, 0), 1_000, 1_000)
    assert register.seen.record is not None
    first = register.seen.record.t
    for turn in range(1, 20):
        asked = 1_000 + 3_000 * turn
        ask(leader, register, Renew(1), asked, asked + 2_000)
        assert register.seen.record is not None
        assert register.seen.record.t - first == asked - 1_000


def test_a_standby_counts_from_when_it_first_saw_a_renewal(register: Register, leader: Scribe) -> None:
    """However often it reads the same one; by its own clock, which began elsewhere."""
    standby = Scribe(FailoverConfig(site="b", priority=("a", "b"), lock_ttl_ms=TTL_MS, owner="b:1").validate())
    ask(standby, register, Campaign(True, 0), 499_000, 499_000)
    ask(leader, register, Renew(1), 3_000, 3_000)
    for after in range(0, TTL_MS, 1_000):
        standby.failed()
        refused = ask(standby, register, Campaign(True, 0), 500_000 + after, 500_000 + after)
        assert isinstance(refused, Refused)
        assert refused.why == "held"
        assert refused.wait_ms == TTL_MS - after
    standby.failed()
    end = 500_000 + TTL_MS
    assert isinstance(ask(standby, register, Campaign(True, 0), end, end), Granted)


def test_a_standby_that_the_leader_did_not_know_of_watches_anew_after_a_failure(
    register: Register, leader: Scribe
) -> None:
    """But not for ever: with failures at every turn it takes an abandoned lock after twice the time."""
    standby = Scribe(FailoverConfig(site="b", priority=("a", "b"), lock_ttl_ms=TTL_MS, owner="b:1").validate())
    for after in range(0, 2 * TTL_MS, 1_000):
        standby.failed()
        refused = ask(standby, register, Campaign(True, 0), 500_000 + after, 500_000 + after)
        assert isinstance(refused, Refused)
        assert (refused.why, refused.wait_ms) == ("held", TTL_MS if after < TTL_MS else 2 * TTL_MS - after)
    end = 500_000 + 2 * TTL_MS
    assert isinstance(ask(standby, register, Campaign(True, 0), end, end), Granted)


def test_a_grant_whose_answer_was_lost_is_found_and_counts_from_when_it_was_worked_out(register: Register) -> None:
    scribe = Scribe(CONFIG)
    scribe.has_read(register.seen, 0, 1_000)
    made = scribe.propose(Campaign(True, 0), 1_000, 0)
    assert isinstance(made, Draft)
    register.swap(made)
    scribe.failed()
    found = ask(scribe, register, Campaign(True, 0), 4_000, 4_000)
    assert isinstance(found, Granted)
    assert (found.epoch, found.sent_at) == (1, 1_000)
    assert register.version == 1, "nothing had to be written"


def test_a_server_that_knows_less_than_another_one_did_begins_far_above_both(register: Register) -> None:
    """An address that named another server for a while: who leads here now has an epoch that nobody had there."""
    scribe, there = Scribe(CONFIG), register.seen.record
    assert there is not None
    there.epoch = 7_000
    scribe.has_read(register.seen, 0, 1_000)
    here = initialise(FailoverConfig(site="", owner="p"), None, View(0, 0, 0, 0, {}), "n0")
    scribe.has_read(Seen("0", "n1", here), 0, 2_000)
    made = scribe.propose(Campaign(True, 0), 2_000, 0)
    assert isinstance(made, Draft)
    assert made.record.epoch == 7_000 + LOST_EPOCHS


def test_an_address_that_leads_back_leads_to_a_lock_of_which_nothing_is_known(register: Register) -> None:
    """It is free here, and may be so since before the other site was granted it there, where that still leads."""
    scribe, third = (Scribe(FailoverConfig(site=site, priority=("a", "b", "c"), owner=f"{site}:1",
                                           lock_ttl_ms=TTL_MS).validate()) for site in "bc")  # fmt: skip
    ask(scribe, register, Campaign(False, 0), 1_000, 1_000)
    there, leader = Register("n"), Scribe(CONFIG)
    ask(leader, there, Campaign(True, 0), 2_000, 2_000)
    for now in (2_100, 2_200):
        ask(leader, there, Renew(1), now, now)
        scribe.has_read(there.seen, 0, now)
    for now in range(2_300, 2_800, 100):  # so that nothing but the server's name tells that this is not what was there
        ask(third, register, Campaign(False, 0), now, now)
    for now in range(3_000, 3_000 + TTL_MS, 3_000):
        scribe.failed()
        assert isinstance(ask(scribe, register, Campaign(True, 0), now, now), Refused), now
    now += 3_000
    assert isinstance(ask(scribe, register, Campaign(True, 0), now, now), Granted)


def test_only_a_heartbeat_that_was_not_there_before_counts_as_showing_up() -> None:
    """The old one may be all that is left of a site that leads elsewhere."""
    calls, beats = RollCall(), dict[str, Beat]()
    for owner, n in (("b:1", 7), ("b:2", 1)):
        beats["b"] = Beat(owner, n, 0, TTL_MS, 3_000, eligible=True, wait_ms=0, lag_ms=0, waits="")
        calls.begin(beats, "a", TTL_MS)
        calls.look(beats)
        assert calls.missed
        assert calls.wait_ms(1_000) == TTL_MS - 1_000
    beats["b"] = beats["b"]._replace(n=2)
    calls.look(beats)
    assert not calls.missed
    assert calls.wait_ms(1_000) == 0
