"""Planted bugs: each is one line of the protocol, or of the store, gone wrong; the simulator has to find every one.

A mutant is made from the very source of production. If its line is not there any more, its test fails: it would prove
nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rectbot.failover import protocol, table

from .chaos import timeline
from .judge import Violation
from .schedule import run

SCHEDULES = 30_000  # by then each must be caught; most are within a hundred


@dataclass(frozen=True)
class Mutant:
    name: str
    module: ModuleType | None  # None: the simulator itself, with a switch
    line: str
    instead: str
    breaks: str  # the invariants that may be broken, of which one must be


MUTANTS = [
    # the store
    Mutant(
        "renewal without compare",
        table,
        "if not mine and not forgotten:",
        "if lock is None and not forgotten:",
        "I1 lock",
    ),
    Mutant(
        "release of another's lock",
        table,
        "mine = lock is not None and lock.owner == config.owner and (request.leaving or lock.epoch == request.epoch)",
        "mine = lock is not None",
        "I1",
    ),
    Mutant(
        "handing over without a reservation",
        table,
        "self.reserved = (request.to, now + config.reserve_ms)",
        "self.reserved = ('', -1)",
        "switch",
    ),
    Mutant(
        "campaign that ignores the order of preference",
        table,
        "return self._ready_other(config, now)",
        "return None",
        "I2 I3 I4",
    ),
    Mutant(
        "grant on an empty store", table, "until = now + config.lock_ttl_ms\n            self.known", "self.known", "I1"
    ),
    Mutant(
        "heartbeat that outlives eligibility",
        table,
        "ttl, now + ttl, since, waits",
        "ttl * 3, now + ttl * 3, since, waits",
        "I3",
    ),
    Mutant("epoch not raised", table, "        epoch += 1\n", "        epoch += 0\n", "I6"),
    Mutant("epochs begin anew in a restarted store", table, "epoch += _LOST_EPOCHS", "epoch = 0", "I6"),
    Mutant(
        "requests that were overtaken take effect",
        table,
        "and newest.number >= seal.number:",
        "and newest.number > seal.number + 10**9:",
        "I1",
    ),
    Mutant(
        "a store's clock set forward ends a lease",
        table,
        "doubt = max(seen, seal.doubt) if foreign or self.suspended_until else 0",
        "doubt = 0",
        "I1",
    ),
    Mutant(
        "a store's clock set back suspends grants for ever",
        table,
        "until = self.suspended_until = min(",
        "until = min(",
        "I3",
    ),
    Mutant(
        "a drained site is granted the lock",
        table,
        "if config.site in self.operator.drained:\n            return Obstructed",
        "if False:\n            return Obstructed",
        "drain",
    ),
    Mutant(
        "release that tells nobody",
        table,
        "del self.beats[config.site]\n        self.announced = True",
        "del self.beats[config.site]\n        self.announced = False",
        "I3",
    ),
    Mutant("no damping", table, "        if losses < 2:\n", "        if True:\n", "I4"),
    Mutant(
        "a login budget that is spent stops nobody",
        table,
        "if (wait := self.next_login_in(config, now)) > 0:\n            return Obstructed",
        "if False:\n            return Obstructed",
        "I4",
    ),
    # the protocol
    Mutant(
        "logins that the store is not told of", protocol, "Renew(state.epoch, state.logins)", "Renew(state.epoch)", "I4"
    ),
    Mutant(
        "logins that an answer cannot have counted",
        protocol,
        "reply.logins_left - since_asked",
        "reply.logins_left",
        "I4",
    ),
    Mutant(
        "no local deadline",
        protocol,
        "if state.deadline is None or now < state.deadline:",
        "if state.deadline is None or now < state.deadline + 10**9:",
        "I1 livelock",
    ),
    Mutant(
        "lease that does not end",
        protocol,
        "state.deadline = state.sent_at + config.lease_ms",
        "state.deadline = state.sent_at + config.lease_ms * 9",
        "I1",
    ),
    Mutant(
        "deadline counted from the answer, not from the request",
        protocol,
        "state.deadline = state.sent_at + config.lease_ms",
        "state.deadline = now + config.lease_ms",
        "I1",
    ),
    Mutant(
        "late answer applied after demotion",
        protocol,
        "if pending is None or pending.id != outcome.id:",
        "if pending is None:",
        "I1 I6 crash",
    ),
    Mutant(
        "release before the workload is gone",
        protocol,
        "    if not state.running or state.deadline is None:\n        _begin_release",
        "    if True:\n        state.running = False\n        _begin_release",
        "I1",
    ),
    Mutant(
        "no waiting after a failure",
        protocol,
        "state.sit_out_until = now + sit_out",
        "state.sit_out_until = now",
        "I5",
    ),
    Mutant(
        "a leader that does not serve stays",
        protocol,
        'fatal=fatal) if state.role == "leader":',
        'fatal=fatal) if state.role == "follower":',
        "I5",
    ),
    Mutant(
        "an expired lock is noticed at the next heartbeat only",
        protocol,
        "_ask_again(config, state, reply.wait_ms, now)",
        "_ask_again(config, state, None, now)",
        "I3",
    ),
    Mutant(
        "a hand-over is not heard by its leader",
        protocol,
        "    if not reply.yield_to and not reply.why:",
        "    if True:",
        "I2 switch drain",
    ),
    # the clock
    Mutant("monotonic clock that stops in suspend", None, "", "", "I1"),
]


def mutated(mutant: Mutant) -> dict[str, Any]:
    """What to hand to the simulator."""
    if mutant.module is None:
        return {"clock_stops": True}
    assert mutant.module.__file__ is not None
    source = Path(mutant.module.__file__).read_text()
    assert source.count(mutant.line) == 1, f"the line of the mutant '{mutant.name}' is not there any more"
    name = mutant.module.__name__.rpartition(".")[2]
    module = ModuleType(f"mutant_{name}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(source.replace(mutant.line, mutant.instead), f"<{mutant.name}>", "exec"), module.__dict__)
    return {name: module}


def hunt(changes: dict[str, Any], schedules: int) -> tuple[int, Exception] | None:
    """The first seed that finds it, and as what."""
    for seed in range(schedules):
        try:
            run(seed, **changes)
        except Exception as error:
            return seed, error
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
@pytest.mark.timeout(120)
def test_the_simulator_finds(mutant: Mutant) -> None:
    caught = hunt(mutated(mutant), SCHEDULES)
    assert caught is not None, f"survived {SCHEDULES} schedules"
    seed, error = caught
    invariant = str(error).partition(":")[0] if isinstance(error, Violation) else "crash"
    assert invariant in mutant.breaks.split(), f"seed {seed}: {error!r}\n{timeline(seed)}"
    print(f"{mutant.name}: seed {seed}, {error}")


def test_there_is_nothing_to_find_in_the_original() -> None:
    for mutant in MUTANTS:
        if mutant.module is not None:
            original = Mutant("the original", mutant.module, mutant.line, mutant.line, "")
            assert hunt(mutated(original), 20) is None
