"""The failover protocol of one site: a pure function of (state, event, now).

No clock, no socket, no store, so that the simulator runs the very code that runs in production. `now` and all times are
milliseconds of CLOCK_BOOTTIME. After each step the caller performs the actions in order and wakes the protocol up, with
a `Tick`, at `wake_at(state)` at the latest. A step works on a copy of the state; what it calls changes that copy.

The roles of a site, and what moves it from one to the next:

    FOLLOWER    Sends heartbeats and does not want to lead: it sits out after a failure.
                -> CANDIDATE when that time has passed
    CANDIDATE   Sends heartbeats, each of which wins the lock if it is free for this site.
                -> LEADER when it did
    LEADER      Runs the workload and renews the lease.
                -> DRAINING when the lease was lost, or could not be renewed until `stop_timeout` before its deadline,
                   or a more preferred site is due, or an operator wants it, or the workload ended, or this site is
                   to stop
    DRAINING    First stops the workload; only then releases the lock.
                -> CANDIDATE, or FOLLOWER after the workload failed, or GONE when this site is to stop
    GONE        Nothing happens any more.

Why there is never a second session: rules.py says it. This module's part is the deadline. The workload runs from the
answer to a grant until `deadline`, which lies one TTL (less 2 % for the clocks' rates, and 20 ms) after the moment at
which the last request that got through was worked out. Every step begins with that deadline. Only the answer to the one
request in flight counts; any other is too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import (
    NO_LOGINS,
    Action,
    Answered,
    Campaign,
    Changed,
    Ending,
    Event,
    Extend,
    Failed,
    Finish,
    Granted,
    Kill,
    LoggedIn,
    Logins,
    Lost,
    Note,
    Obstacle,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
    Request,
    Send,
    Serves,
    Start,
    Stop,
    StopWorkload,
    WorkloadEnded,
    WorkloadStopped,
)

_WAITS: dict[Obstacle, str] = {
    "held": "{by} leads",
    "reserved": "the lead is handed over to {by}",
    "preferred": "{by} goes first",
    "suspended": "the store may have lost its memory, and a lease with it",
    "ineligible": "it does not want to lead",
    "drained": "an operator does not want this site to lead",
    "on hold": "an operator wants no moves: only {by} may lead",
    "damped": "it lost the lead repeatedly, and {by} stands ready",
    "budget": "too many logins in 24 h",
    "twin": "another process runs, or ran just now, as this site",
}
_NEVER = 1 << 60
_FINISH_MS = 2_000  # a site that stops tries this long to say so to the store


Role = Literal["follower", "candidate", "leader", "draining", "gone"]


@dataclass
class State:
    role: Role = "candidate"
    epoch: int = 0  # of the lease that is held, else the highest seen
    running: bool = False  # the workload was started and is not known to be gone
    deadline: int | None = None  # by then the workload must be gone
    held_until: int = 0  # after that our lock, if we had one, has expired in the store
    leads_since: int = 0
    next_at: int = 0  # when the next request is due
    requests: int = 0  # sent so far; numbers them
    pending: Send | None = None  # the request in flight
    sent_at: int = 0  # when it was sent
    again: bool = False  # something is to be told, but a request was in flight
    used: bool = False  # a workload was started under the lease
    notice: str = ""  # what does not fit together
    why: str = ""  # it drains, or was refused
    ending: Ending = "released"  # why it drains, in one word
    logins: Logins = NO_LOGINS
    hand_to: str = ""  # the site to release to
    failures: int = 0  # of the workload, in a row
    sit_out_until: int = 0
    release_by: int = 0  # while it drains without a workload: when to give up telling the store
    stopping: bool = False  # this site is to stop
    error: str = ""  # and that is why, if nobody asked for it

    def copy(self) -> State:
        """As dataclasses.replace does, which takes longer than the rest of a step: and the simulator makes millions."""
        twin = State.__new__(State)
        twin.role, twin.epoch, twin.running, twin.deadline = self.role, self.epoch, self.running, self.deadline
        twin.held_until, twin.leads_since, twin.next_at = self.held_until, self.leads_since, self.next_at
        twin.requests, twin.pending, twin.sent_at = self.requests, self.pending, self.sent_at
        twin.again, twin.used, twin.notice, twin.why = self.again, self.used, self.notice, self.why
        twin.ending = self.ending
        twin.logins, twin.hand_to = self.logins, self.hand_to
        twin.failures, twin.sit_out_until, twin.release_by = self.failures, self.sit_out_until, self.release_by
        twin.stopping, twin.error = self.stopping, self.error
        return twin


Actions = tuple[Action, ...]


def drain_at(config: FailoverConfig, deadline: int) -> int:
    """When the workload must be told to stop, so that it is gone by the deadline."""
    return deadline - config.stop_timeout_ms


def wake_at(config: FailoverConfig, state: State) -> int | None:
    """When the next Tick is due; None: only an event can change anything."""
    due = _NEVER
    if state.deadline is not None:
        due = drain_at(config, state.deadline) if state.role == "leader" else state.deadline
    if state.role == "follower":
        due = min(due, state.sit_out_until)
    if _may_release(state):
        due = min(due, state.release_by)
    if _may_send(state):
        due = min(due, state.next_at)
    return due if due < _NEVER else None


def step(config: FailoverConfig, state: State, event: Event, now: int) -> tuple[State, Actions]:
    """The protocol: what happened at `now` makes a new state, and actions that are to be performed in order."""
    state = state.copy()
    expired = _on_deadline(state, now)
    answered = _on_event(config, state, event, now)
    due = _on_time(config, state, now)
    return state, expired + answered + due


def _on_deadline(state: State, now: int) -> Actions:
    """First of all, whatever else happened: no workload outlives its lease."""
    if state.deadline is None or now < state.deadline:
        return ()
    late = now - state.deadline
    if state.role == "leader":
        state.role, state.why, state.ending = "draining", "lease over", "renew-failed"
    state.deadline = state.pending = None
    return Note(f"the lease of epoch {state.epoch} is over, {late} ms ago: killing the workload", True), Kill()


def _on_event(config: FailoverConfig, state: State, event: Event, now: int) -> Actions:
    match event:
        case Answered() | Failed():
            return _on_outcome(config, state, event, now)
        case Changed(due_ms=due) if state.role in ("candidate", "leader") and due is not None:
            state.next_at = min(state.next_at, now + due)
        case Serves() if state.role == "leader":
            _tell(state, now)
        case LoggedIn(logins=new) if state.running:
            state.logins = Logins(state.logins.count + new.count, new.left, state.logins.told)
            if state.role == "leader":
                _tell(state, now)
        case WorkloadEnded(reason=reason, fatal=fatal) if state.role == "leader":
            return _on_workload_ended(config, state, reason, fatal, now)
        case WorkloadStopped() if state.running:
            state.running, state.deadline = False, None
            _begin_release(state, now)
        case Stop(why=why) if not state.stopping:
            state.stopping = True
            return _on_stop(config, state, why, now)
    return ()


def _tell(state: State, now: int) -> None:
    """The next request is due at once."""
    state.again = state.pending is not None
    state.next_at = now


def _on_outcome(config: FailoverConfig, state: State, outcome: Answered | Failed, now: int) -> Actions:
    pending = state.pending
    if pending is None or pending.id != outcome.id:
        return ()  # too late: things have moved on since it was asked
    state.pending = None
    if isinstance(outcome, Failed):
        return _on_failure(config, state, outcome.why, now)
    return _on_reply(config, state, pending, outcome.reply, now)


def _on_reply(config: FailoverConfig, state: State, pending: Send, reply: Reply, now: int) -> Actions:
    told, logins = pending.request.logins, state.logins
    if logins is not told or told.left is not None or told.told != told.count:
        left = None if logins == told else logins.left  # what the service allowed then is told, and gets old
        state.logins = Logins(logins.count, left, told.count)
    match reply:
        case Granted():
            return _on_granted(config, state, reply, now)
        case Refused():
            return _on_refused(config, state, reply, now)
        case Renewed() if state.role == "leader":
            return _on_renewed(config, state, reply, pending, now)
        case Lost(holder=holder) if state.role == "leader":
            state.held_until = 0
            return _drain(config, state, f"lost the lock to {holder or 'nobody'}", now)
        case Released() if state.role == "draining":
            return _rest(config, state, now)
    raise AssertionError(f"{reply} is no answer to {pending.request} of a {state.role}")


def _on_granted(config: FailoverConfig, state: State, grant: Granted, now: int) -> Actions:
    deadline = grant.sent_at + config.lease_ms
    state.used = False
    state.epoch, state.held_until = grant.epoch, now + config.lock_ttl_ms
    state.again = False
    if state.role == "draining":  # told to stop while it was asking
        _begin_release(state, now)
        return ()
    if now >= drain_at(config, deadline):
        return _drain(config, state, "the grant took too long to arrive", now)
    state.role, state.running, state.deadline, state.used = "leader", True, deadline, True
    state.leads_since, state.next_at, state.why = now, grant.sent_at + config.renew_interval_ms, ""
    return Note(f"leads with epoch {grant.epoch}"), Start(grant.epoch, deadline, grant.logins_left)


def _on_refused(config: FailoverConfig, state: State, reply: Refused, now: int) -> Actions:
    """Asks again at the next heartbeat, or at the very moment when the obstacle is gone."""
    if state.role == "draining":
        state.next_at = now
        return ()
    state.epoch = max(state.epoch, reply.epoch)
    _ask_again(config, state, reply.wait_ms, now)
    if reply.why == "held" and state.next_at == state.sent_at + config.renew_interval_ms:
        state.next_at += config.renew_interval_ms  # sooner, right after the leader has renewed: see Scribe.due()
    notes = _notice(state, reply.notice)
    why = f"{reply.why} by {reply.by}" if reply.by else reply.why
    if why == state.why:
        return notes
    state.why = why
    return (*notes, _waits(reply))


def _notice(state: State, text: str) -> Actions:
    """Says once what does not fit together, and when it does again."""
    if text == state.notice:
        return ()
    state.notice = text
    return (Note(text or "what did not fit together does now", True),)


def _ask_again(config: FailoverConfig, state: State, wait_ms: int | None, now: int) -> None:
    """One interval after the last request; sooner when something is due by then, at once when something changed."""
    state.next_at = state.sent_at + config.renew_interval_ms
    if wait_ms is not None:
        state.next_at = min(state.next_at, now + wait_ms)
    if state.again:
        state.next_at, state.again = now, False


def _waits(reply: Refused) -> Note:
    wait = "" if reply.wait_ms is None else f", for {reply.wait_ms / 1000:.1f} s"
    why = _WAITS[reply.why].replace("{by}", reply.by or "nobody")
    return Note(f"waits ({reply.why}): {why}{wait}")


def _on_renewed(config: FailoverConfig, state: State, reply: Renewed, pending: Send, now: int) -> Actions:
    assert state.deadline is not None
    if reply.extends:
        state.deadline = max(state.deadline, reply.sent_at + config.lease_ms)
    state.held_until = now + config.lock_ttl_ms
    state.why = ""
    if now - state.leads_since >= config.sit_out_max_ms:
        state.failures = 0
    _ask_again(config, state, reply.yield_in_ms, now)
    since_asked = state.logins.count - pending.request.logins.count  # the answer cannot have counted these
    left = None if reply.logins_left is None else reply.logins_left - since_asked
    extend = (Extend(state.deadline, left), *_notice(state, reply.notice))
    if not reply.yield_to and not reply.why:
        return extend
    why = ": ".join(filter(None, (f"hands over to {reply.yield_to}" if reply.yield_to else "gives up", reply.why)))
    state.hand_to = reply.yield_to
    return extend + _drain(config, state, why, now, "handed-over" if reply.yield_to else "released")


def _on_failure(config: FailoverConfig, state: State, why: str, now: int) -> Actions:
    """Asks again soon. What the request may have done all the same, the scribe will see in the record."""
    state.next_at, state.again = now + config.retry_ms, False
    if state.role == "leader" and state.deadline is not None:
        left = state.deadline - now
        return (Note(f"could not renew the lease, {left / 1000:.1f} s left: {why}", True),)
    note = Note(f"no answer from the store: {why}", True)
    if state.role == "draining":  # its `why` is the reason of the release
        return (note,)
    if why == state.why:
        return ()
    state.why = why
    return (note,)


def _on_workload_ended(config: FailoverConfig, state: State, reason: str, fatal: bool, now: int) -> Actions:
    if fatal:
        state.stopping, state.error = True, reason
    sit_out = min(config.sit_out_ms << min(state.failures, 30), config.sit_out_max_ms)
    state.failures += 1
    state.sit_out_until = now + sit_out
    return _drain(config, state, f"the workload ended: {reason}", now, "workload-failed")


def _on_stop(config: FailoverConfig, state: State, why: str, now: int) -> Actions:
    if state.role != "draining":
        return _drain(config, state, why, now)
    if not state.running:
        _begin_release(state, now)
    return ()


def _on_time(config: FailoverConfig, state: State, now: int) -> Actions:
    actions: Actions = ()
    if state.role == "leader" and state.deadline is not None and now >= drain_at(config, state.deadline):
        actions = _drain(config, state, "could not renew the lease in time", now, "renew-failed")
    if state.role == "follower" and now >= state.sit_out_until:
        state.role, state.next_at = "candidate", now
    if _may_release(state) and now >= state.release_by:
        actions += _rest(config, state, now)
    if _may_send(state) and now >= state.next_at:
        actions += (_send(config, state, now),)
    return actions


def _may_release(state: State) -> bool:
    return state.role == "draining" and not state.running


def _may_send(state: State) -> bool:
    """One request at a time; and while the workload stops there is nothing to say."""
    return state.pending is None and state.role != "gone" and (state.role != "draining" or not state.running)


def _send(config: FailoverConfig, state: State, now: int) -> Send:
    give_up_at = now + 2 * config.patience_ms
    request: Request
    if state.role == "leader" and state.deadline is not None:
        request = Renew(state.epoch, state.logins)
        give_up_at = drain_at(config, state.deadline)
    elif state.role == "draining":
        request = Release(
            state.epoch,
            state.why,
            to=state.hand_to,
            eligible=not state.stopping and now >= state.sit_out_until,
            leaving=state.stopping,
            ending=state.ending,
            logins=state.logins,
            unused=not state.used,
        )
        give_up_at = min(give_up_at, state.release_by)
    else:
        request = Campaign(state.role == "candidate", state.epoch, state.logins)
    state.requests += 1
    state.pending, state.sent_at = Send(state.requests, request, give_up_at), now
    return state.pending


def _drain(config: FailoverConfig, state: State, why: str, now: int, ending: Ending = "released") -> Actions:
    """Ends the lead, if there is one, then releases. A renewal in flight is forgotten; a campaign may still win."""
    if state.pending is not None and not isinstance(state.pending.request, Campaign):
        state.pending = None
    state.role, state.why, state.ending, state.again = "draining", why, ending, False
    if not state.running or state.deadline is None:
        _begin_release(state, now)
        return (Note(why),)
    by = min(now + config.stop_timeout_ms, state.deadline)
    return Note(f"stops the workload: {why}"), StopWorkload(by)


def _begin_release(state: State, now: int) -> None:
    """The workload is gone: tell the store, but not for longer than the lock can last, nor than a stop may take."""
    state.next_at = now
    state.release_by = now + _FINISH_MS if state.stopping else state.held_until


def _rest(config: FailoverConfig, state: State, now: int) -> Actions:
    """The lead is over and done with."""
    handed_over, state.held_until, state.hand_to, state.why = bool(state.hand_to), 0, "", ""
    state.pending = None
    state.next_at = now + config.renew_interval_ms if handed_over else now  # it must not get in its heir's way
    if state.stopping:
        state.role = "gone"
        return (Finish(state.error),)
    if now < state.sit_out_until:
        state.role = "follower"
        return (Note(f"sits out for {(state.sit_out_until - now) / 1000:.1f} s", True),)
    state.role = "candidate"
    return ()
