"""Planted bugs: each is one line of the rules, the scribe or the protocol, gone wrong; the simulator finds every one.

A mutant is made from the very source of production. If its line is not there any more, its test fails: it would prove
nothing. What only a real server can show, conformance and integration tests find.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from planted import load
from rectbot.failover import budget, protocol, rules, scribe, view

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
    only: tuple[str, ...] = ()  # the faults that may show it; none: all
    odd: float | None = None  # how the sites are configured: see build()


MUTANTS = [
    # what keeps a second leader away
    Mutant(
        "a lock is taken from its holder",
        rules,
        "return max(lock.ttl, config.lock_ttl_ms) - view.lock_ms",
        "return 0",
        "I1 lock I2",
    ),
    Mutant(
        "a lock is watched for half its time",
        rules,
        "return max(lock.ttl, config.lock_ttl_ms) - view.lock_ms",
        "return max(lock.ttl, config.lock_ttl_ms) // 2 - view.lock_ms",
        "I1 lock I2",
    ),
    Mutant(
        "the shorter TTL counts where two disagree",
        rules,
        "return max(lock.ttl, config.lock_ttl_ms) - view.lock_ms",
        "return min(lock.ttl, config.lock_ttl_ms) - view.lock_ms",
        "I1",
        only=("crash", "pause", "cut", "suspend"),
        odd=0.03,
    ),
    Mutant(
        "release of another's lock",
        rules,
        "mine = lock is not None and lock.owner == config.owner and (request.leaving or lock.epoch == request.epoch)",
        "mine = lock is not None",
        "I1 I4 I6 I2 lock",
    ),
    Mutant(
        "a renewal that is no other than the one before",
        rules,
        "Lock(config.owner, config.site, epoch, view.n, ttl, record.t",
        "Lock(config.owner, config.site, epoch, 1, ttl, record.t",
        "I1 lock I2",
    ),
    Mutant(
        "grant on a store that has forgotten",
        rules,
        "max(view.absent_ms, view.away_ms, max(record.suspended.ttl, config.lock_ttl_ms) - view.quiet_ms)",
        "view.absent_ms",
        "I1 lock I2",
    ),
    Mutant(
        "a suspension that nobody enters",
        scribe,
        "if self._forgot or record is None:",
        "if record is None:",
        "I1 lock I3",
    ),
    Mutant(
        "another incarnation is not noticed",
        scribe,
        "if record.server != seen.server or (known is not None and known.server != seen.server):",
        "if False:",
        "I1 lock I6",
        only=("store_promotion", "crash", "copy"),
    ),
    Mutant(
        "an older record is not noticed",
        scribe,
        'return "" if record.seq > before.seq or same else "an older record"',
        'return ""',
        "I1 lock I6",
        only=("store_restart", "store_loses_all", "store_promotion", "store_falls_back", "store_flips"),
    ),
    Mutant(
        "a leader goes on at a server where others have not shown up",
        rules,
        "extends, said = view.absent_ms <= 0, notice",
        "extends, said = True, notice",
        "I1",
        only=("store_flips", "suspend", "cut", "pause"),
    ),
    Mutant(
        "who was away for a TTL goes on as if it had not been",
        scribe,
        "return now - self._heard_at >= self._least_ttl * 98 // 100",
        "return False",
        "I1 I6 lock",
        only=("store_flips", "fade", "cut"),
    ),
    Mutant(
        "a watch goes on over a failure, though the leader does not know of it",
        scribe,
        "            self._lock.since = min(now,",
        "            self._lock.since = min(self._lock.since,",
        "I1 lock",
        only=("store_flips", "cut"),
    ),
    Mutant(
        "seeing a lock again begins a new watch",
        view,
        "if self.n != n or self.owner != owner:",
        "if True:",
        "I3",
    ),
    Mutant(
        "a new renewal does not begin a new watch",
        view,
        "if self.n != n or self.owner != owner:",
        "if self.owner != owner:",
        "I1 lock I2",
    ),
    Mutant(
        "who has just started has seen it all",
        view,
        "self.owner, self.n, self.since = owner, n, now\n            return True",
        "self.since = now if self.owner else 0; self.owner, self.n = owner, n\n            return True",
        "I1 lock I2",
    ),
    Mutant(
        "two records with the same name",
        scribe,
        "        self.number()\n        view",
        "        self._writes = 1\n        view",
        "I1 lock I2 I3 I4 I6 crash",
    ),
    Mutant(
        "a swap that another has forestalled is taken for done",
        scribe,
        "        if not won:\n            return self._let_be",
        "        if False:\n            return self._let_be",
        "I1 I6 I2 lock crash",
    ),
    Mutant(
        "a grant found late counts from when it was found",
        scribe,
        "return Granted(lock.epoch, worked_out,",
        "return Granted(lock.epoch, now,",
        "I1",
        only=("late_answers", "fade", "crash"),
    ),
    Mutant(
        "a lock of our own is taken for a grant, whatever became of it",
        scribe,
        "worked_out = self._grants.pop(lock.n, None)",
        "worked_out = self._grants.pop(lock.n, now)",
        "I1 I6 I5",
    ),
    Mutant(
        "a grant that was heard is found again",
        scribe,
        "        self._grants.clear()\n",
        "",
        "I1 I4 I5 I6",
    ),
    Mutant("epoch not raised", rules, "    record.epoch += 1\n", "    record.epoch += 0\n", "I6"),
    # who leads, and when
    Mutant(
        "campaign that ignores the order of preference",
        rules,
        "return _ready_other(config, record, view)",
        "return None",
        "I2 I3 I4",
    ),
    Mutant(
        "handing over without a reservation",
        rules,
        "record.reserved, record.reserved_until = request.to, view.t + min(its_time, config.lock_ttl_ms)",
        "pass",
        "switch",
    ),
    Mutant(
        "a drained site is granted the lock",
        rules,
        "if config.site in record.operator.drained:\n        return Obstructed",
        "if False:\n        return Obstructed",
        "drain",
    ),
    Mutant(
        "no damping",
        budget,
        "losses_of(config, record, site, t)) < 2:",
        "losses_of(config, record, site, t)) < 99:",
        "I4",
    ),
    Mutant(
        "a login budget that is spent stops nobody",
        rules,
        "if (wait := next_login_in(config, record, view.t)) > 0:\n        return Obstructed",
        "if False:\n        return Obstructed",
        "I4",
    ),
    Mutant(
        "an unheard grant costs a login, and is given back twice",
        rules,
        "max(0, record.owed_until - config.login_ms)",
        "max(0, record.owed_until - 3 * config.login_ms)",
        "I4",
        only=("late_answers", "storm", "fade", "reconnect"),
    ),
    Mutant(
        "a change is not looked at",
        scribe,
        "view) <= 0):\n            return 0\n        if obstacle.why",
        "view) <= 0):\n            return None\n        if obstacle.why",
        "I3 I2",
    ),
    Mutant(
        "a leader does not look whether somebody is due",
        scribe,
        "return 0 if reply.yield_to or reply.why else reply.yield_in_ms",
        "return None",
        "I2",
        only=("crash", "stop"),
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
        "deadline = grant.sent_at + config.lease_ms",
        "deadline = grant.sent_at + config.lease_ms * 9",
        "I1",
    ),
    Mutant(
        "a grant's deadline counted from the answer, not from before it was worked out",
        protocol,
        "deadline = grant.sent_at + config.lease_ms",
        "deadline = now + config.lease_ms",
        "I1",
        only=("late_answers", "storm", "fade", "cut"),
    ),
    Mutant(
        "a renewal's deadline counted from the answer",
        protocol,
        "max(state.deadline, reply.sent_at + config.lease_ms)",
        "max(state.deadline, now + config.lease_ms)",
        "I1",
    ),
    Mutant(
        "a renewal that does not extend extends",
        protocol,
        "    if reply.extends:\n",
        "    if True:\n",
        "I1",
        only=("store_flips", "suspend", "cut", "pause"),
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
        "a hand-over is not heard by its leader",
        protocol,
        "    if not reply.yield_to and not reply.why:",
        "    if True:",
        "I2 switch drain",
    ),
    # the clock, and the register
    Mutant("monotonic clock that stops in suspend", None, "clock_stops", "", "I1"),
    Mutant("a register that does not compare", None, "compares_not", "", "I1 I6 lock crash"),
]


def mutated(mutant: Mutant) -> dict[str, Any]:
    """What to hand to the simulator."""
    if mutant.module is None:
        return {mutant.line: True}
    given: dict[str, Any] = {"only": mutant.only, "odd": mutant.odd}
    name = mutant.module.__name__.rpartition(".")[2]
    made = {name: _load(mutant.module, mutant.line, mutant.instead)}
    if mutant.module is budget:  # the rules have their names from there, and the scribe from the rules
        _load(rules, "from rectbot.failover.budget import", "from planted_budget import")
        name = "rules"
    if mutant.module in (budget, rules, view):
        made = {"scribe": _load(scribe, f"from rectbot.failover.{name} import", f"from planted_{name} import")}
    return given | made


def _load(module: ModuleType, line: str, instead: str) -> ModuleType:
    assert module.__file__ is not None
    return load(Path(module.__file__), line, instead)


def hunt(changes: dict[str, Any], schedules: int) -> tuple[int, Exception] | None:
    """The first seed that finds it, and as what."""
    for seed in range(schedules):
        try:
            run(seed, **changes).end()
        except Exception as error:
            return seed, error
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
@pytest.mark.timeout(300)
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
