"""The operator's acts: what each will do, told before, and the doing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from rectbot.console.auth import Auth, Session
from rectbot.console.desk import Desk
from rectbot.console.words import Words
from rectbot.errors import RectbotError
from rectbot.failover.events import Snapshot
from rectbot.failover.messages import Command
from rectbot.failover.operator import perform, who

ActName = Literal["switch", "hold", "unhold", "drain", "undrain"]
MAX_WHY = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Act:
    """What an operator may order; `site` is empty for hold and unhold. A hold without hours is until unhold."""

    name: ActName
    site: str = ""
    hours: float = 0


class NotAllowed(RectbotError):  # noqa: N818 - a refusal
    """The session may not act (a read-only one), or not any more (it has ended)."""


async def carry_out(desk: Desk, auth: Auth, session: Session, act: Act, why: str = "") -> bool:
    """Orders it; False if it was so already. Raises NotAllowed, or RectbotError with the store's reason."""
    allow(auth, session)
    for_ms = round(act.hours * 3_600_000) or None
    command = Command(act.name, by(session), clean(why), act.site, for_ms)
    return await perform(desk.store, desk.config, command)


def allow(auth: Auth, session: Session) -> None:
    """Raises NotAllowed unless this session may act now; every act asks, whatever its page shows."""
    if not auth.may_act(session):
        raise NotAllowed("this session may not act: log in as the administrator")


def by(session: Session) -> str:
    """Whom the journal names."""
    return f"console ({session.role.value}) {who()}"


def clean(text: str) -> str:
    """One short line."""
    return _CONTROL.sub(" ", text).strip()[:MAX_WHY]


@dataclass(frozen=True)
class Consequence:
    """What an act would do now; `verb` is its name, as on its button; `possible`: whether the store would take it."""

    text: str
    verb: str
    possible: bool = True


def consequence(words: Words, snapshot: Snapshot, act: Act) -> Consequence:
    """What will happen if it is done in this state."""
    leader = snapshot.leader.site if snapshot.leader else ""
    verb, possible = words(f"act.go.{act.name}", site=act.site), True
    match act.name:
        case "switch":
            text, possible = _of_switch(words, snapshot, act.site, leader)
        case "hold":
            text = words("act.hold.led", leader=leader) if leader else words("act.hold.nobody")
            verb = words("act.go.hold.at", site=leader) if leader else verb
        case "unhold":
            text = words("act.unhold")
        case "undrain":
            text = words("act.undrain", site=act.site)
        case "drain":
            text = _of_drain(words, snapshot, act.site, leader)
    return Consequence(text, verb, possible)


def _of_switch(words: Words, snapshot: Snapshot, site: str, leader: str) -> tuple[str, bool]:
    if obstacle := _obstacle(words, snapshot, site):
        return words("act.switch.declined", site=site, why=obstacle), False
    if leader == site:
        return words("act.switch.pins", site=site), True
    moved = words("act.switch.moves", leader=leader, site=site) if leader else words("act.switch.starts", site=site)
    return f"{moved} {words('act.switch.stays', site=site)}", True


def _obstacle(words: Words, snapshot: Snapshot, site: str) -> str:
    """Why the store would decline a switch to this site; in the order in which it looks."""
    found = snapshot.sites.get(site)
    if site in snapshot.drained:
        return words("obstacle.drained")
    if found is None or 0 < found.ttl_ms <= found.heartbeat_age_s * 1000:
        return words("obstacle.silent")
    if not found.eligible:
        return words("obstacle.ineligible")
    leads = snapshot.leader is not None and snapshot.leader.site == site
    if snapshot.next_login_s > 0 and not leads:
        return words("obstacle.budget", minutes=math.ceil(snapshot.next_login_s / 60))
    return ""


def _of_drain(words: Words, snapshot: Snapshot, site: str, leader: str) -> str:
    if leader != site:
        return words("act.drain.standby", site=site)
    ready = [
        name
        for name, found in sorted(snapshot.sites.items(), key=lambda entry: entry[1].priority)
        if name != site and found.eligible and (snapshot.hold is None or snapshot.hold.site == name)
    ]
    return words("act.drain.moves", site=site, heir=ready[0]) if ready else words("act.drain.nobody", site=site)
