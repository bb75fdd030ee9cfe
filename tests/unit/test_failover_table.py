"""The model of the store, where only a clock that is set can show what is meant; the walks hold the scripts to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import NO_LOGINS, Campaign, Granted, Refused, Renew, Renewed, Reply
from rectbot.failover.table import LeaseTable
from rectbot.failover.watch import Watch

TTL = 1_000
A = FailoverConfig(site="a", owner="a1", priority=("a", "b"), lock_ttl_ms=TTL)
B = replace(A, site="b", owner="b1")
CAMPAIGN = Campaign(eligible=True, epoch_seen=0)


class Stage:
    """A store whose clock can be set, and two sites whose clock shows the time that has passed."""

    def __init__(self) -> None:
        self.table = LeaseTable(known_run=0, epoch=0)
        self.t = 0
        self.set_by = 1_000_000
        self.watches = {"a": Watch(), "b": Watch()}

    def ask(self, config: FailoverConfig, request: Campaign | Renew) -> Reply:
        watch, now = self.watches[config.site], self.t + self.set_by
        done = self.table.handle(config, request, now, watch.seal(watch.number(), self.t))
        assert done is not None
        reply, doubt = done
        watch.heard(self.t, now, self.table.era, doubt)
        return reply


@pytest.mark.parametrize("by", [150, 100_000])
def test_a_clock_set_back_and_forward_again_ends_no_lease(by: int) -> None:
    """The standby hears nothing in between, and the one clock agrees with the other when it asks again."""
    stage = Stage()
    assert isinstance(stage.ask(A, CAMPAIGN), Granted)
    assert isinstance(stage.ask(B, CAMPAIGN), Refused)
    stage.t, stage.set_by = 300, stage.set_by - by
    assert isinstance(stage.ask(A, Renew(1, NO_LOGINS)), Renewed)
    stage.t, stage.set_by = 300 + TTL - 140, stage.set_by + by  # A's lease has 0.1 s to go
    refused = stage.ask(B, CAMPAIGN)
    assert isinstance(refused, Refused)
    assert refused.why == "in doubt"


def test_a_crash_is_taken_over_at_the_locks_end_when_no_clock_was_set() -> None:
    stage = Stage()
    assert isinstance(stage.ask(A, CAMPAIGN), Granted)
    assert isinstance(stage.ask(B, CAMPAIGN), Refused)
    stage.t = 300
    assert isinstance(stage.ask(A, Renew(1, NO_LOGINS)), Renewed)
    stage.t = 700
    assert isinstance(stage.ask(B, CAMPAIGN), Refused)
    stage.t = 300 + TTL + 1
    assert isinstance(stage.ask(B, CAMPAIGN), Granted)


def test_a_lost_memory_starts_an_era_that_no_site_has_heard_of() -> None:
    stage = Stage()
    assert isinstance(stage.ask(A, CAMPAIGN), Granted)
    before = stage.table.era
    stage.t, stage.table = 5, LeaseTable(run=1)
    stage.ask(B, CAMPAIGN)
    assert stage.table.era > before
