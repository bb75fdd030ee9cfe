"""What the parts of the failover say to each other.

A site and the rules: one request and one reply for each atomic transition of the record (rules.py); what is called
`_ms` is a duration, as one clock's time means nothing to another. An operator and the rules: commands. The protocol and
its runner: events in, actions out. Any other time is milliseconds of the site's CLOCK_BOOTTIME.

What a step takes and makes is a tuple, if it holds anything: that is made in half the time, millions of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

# --- a site asks


@dataclass(frozen=True, slots=True)
class Logins:
    """Logins of a process, but those that a grant has paid for: the first under each lease."""

    count: int = 0  # since it began, so that they may be told twice
    left: int | None = None  # how many the service itself allowed at the last; None: it did not say, or that is told
    told: int = 0  # so many are known to be entered


NO_LOGINS = Logins()


class Campaign(NamedTuple):
    """Heartbeat of a site that does not lead. Wins the lock if `eligible` and nothing stands in the way."""

    eligible: bool
    epoch_seen: int  # the highest that this site knows of, for a record that was lost
    logins: Logins = NO_LOGINS


class Renew(NamedTuple):
    """Heartbeat of the leader: keeps the lock for another TTL if it is still its own."""

    epoch: int
    logins: Logins = NO_LOGINS


Ending = Literal["released", "handed-over", "renew-failed", "workload-failed"]


class Release(NamedTuple):
    """Gives the lock up, if it is still held. The workload is gone."""

    epoch: int  # of the lock that is released
    why: str
    to: str = ""  # keep the lock for this site, shortly
    eligible: bool = False  # what the heartbeat says from now on
    leaving: bool = False  # the site goes away: no heartbeat stays behind
    ending: Ending = "released"  # the last two are losses, and damp the site
    logins: Logins = NO_LOGINS
    unused: bool = False  # nothing ever ran under the lease: it cost no login


Request = Campaign | Renew | Release

# --- and is answered; `sent_at` is when it was worked out what to write, on the site's own clock


class Granted(NamedTuple):
    epoch: int
    sent_at: int
    logins_left: int | None = None  # in the login budget, after this one; None: there is no budget


Obstacle = Literal[
    "held",  # another site leads
    "reserved",  # the lock is handed over to another site
    "preferred",  # a more preferred site stands ready
    "suspended",  # the store may have lost its memory, and a lease with it
    "ineligible",  # this site itself does not want to
    "drained",  # an operator does not want this site to lead
    "on hold",  # an operator wants no moves
    "damped",  # this site lost its lead repeatedly, and another stands ready
    "budget",  # the login budget is spent
    "twin",  # another process runs as this site
]


class Refused(NamedTuple):
    why: Obstacle
    wait_ms: int | None  # when this obstacle will be gone by itself; None: not by waiting
    epoch: int  # the last that was granted
    by: str = ""  # the site that stands in the way; of a twin, its owner
    notice: str = ""  # what does not fit together, for the operator


class Renewed(NamedTuple):
    sent_at: int
    extends: bool = True  # False: the store has forgotten, and not all have shown up: the old deadline holds
    yield_to: str = ""  # a site that is to be handed the lead: preferred and due, or an operator's choice
    yield_in_ms: int | None = None  # when a preferred one will be due, as things stand
    why: str = ""  # an operator's act: with `yield_to`, or without, when this site is to give up the lead all the same
    logins_left: int | None = None
    notice: str = ""


class Lost(NamedTuple):
    """The lock is no longer the asker's."""

    holder: str


@dataclass(frozen=True, slots=True)
class Released:
    """Done; also when there was nothing to release."""


Reply = Granted | Refused | Renewed | Lost | Released

# --- an operator commands


@dataclass(frozen=True, slots=True)
class Command:
    """One atomic act of an operator, journaled with who and why.

    switch   `site` is to lead, and to keep the lead from preferred sites until it loses it
    hold     only the site that leads now is granted the lock, for `for_ms` or until unhold; a switch is obeyed
    drain    `site` does not lead, until undrain
    """

    act: Literal["switch", "hold", "unhold", "drain", "undrain"]
    by: str
    why: str = ""
    site: str = ""
    for_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    changed: bool  # False: it was so already


@dataclass(frozen=True, slots=True)
class Declined:
    why: str


Outcome = Accepted | Declined

# --- events: what happened at a site


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


class Answered(NamedTuple):
    id: int
    reply: Reply


class Failed(NamedTuple):
    """A request was not answered in time, or could not be sent. It may have taken effect all the same."""

    id: int
    why: str


class Changed(NamedTuple):
    """The record did. A hint only: it may get lost, or come twice."""

    due_ms: int | None = 0  # when a request would achieve something, as things stand; None: not by waiting


@dataclass(frozen=True, slots=True)
class Serves:
    """The workload is ready, or has ceased to be: to be told at once."""


class LoggedIn(NamedTuple):
    """The workload logs in; a `count` of 0 for the first login under a lease."""

    logins: Logins


class WorkloadEnded(NamedTuple):
    reason: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class WorkloadStopped:
    """Nothing of the workload is left."""


class Stop(NamedTuple):
    """This site is to stop."""

    why: str = "stopped"


Event = Tick | Answered | Failed | Changed | Serves | LoggedIn | WorkloadEnded | WorkloadStopped | Stop

# --- actions: what is to be done at a site


class Send(NamedTuple):
    """Send a request; answer with Answered, or with Failed at `give_up_at` at the latest."""

    id: int
    request: Request
    give_up_at: int


class Start(NamedTuple):
    """Start the workload under a new lease."""

    epoch: int
    deadline: int
    logins_left: int | None = None


class Extend(NamedTuple):
    """The workload may go on until this deadline."""

    deadline: int
    logins_left: int | None = None


class StopWorkload(NamedTuple):
    """Stop the workload, by then at the latest; answer with WorkloadStopped."""

    by: int


@dataclass(frozen=True, slots=True)
class Kill:
    """The lease is over and the workload is not: end it this instant; answer with WorkloadStopped."""


class Note(NamedTuple):
    """Something that an operator wants to read."""

    text: str
    warning: bool = False


class Finish(NamedTuple):
    """This site is out. `error` says why if it was not asked to stop."""

    error: str


Action = Send | Start | Extend | StopWorkload | Kill | Note | Finish
