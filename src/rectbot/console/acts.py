"""The operator's acts: what each will do, told before, and the doing."""

from __future__ import annotations

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


def consequence(words: Words, snapshot: Snapshot, act: Act) -> str:
    """What will happen if it is done now."""
    leader = snapshot.leader.site if snapshot.leader else ""
    match act.name:
        case "switch":
            return _of_switch(words, snapshot, act.site, leader)
        case "hold":
            return words("act.hold.led", leader=leader) if leader else words("act.hold.nobody")
        case "unhold":
            return words("act.unhold")
        case "undrain":
            return words("act.undrain", site=act.site)
        case "drain":
            return _of_drain(words, snapshot, act.site, leader)


def _of_switch(words: Words, snapshot: Snapshot, site: str, leader: str) -> str:
    if leader == site:
        return words("act.switch.pins", site=site)
    if obstacle := _obstacle(words, snapshot, site):
        return words("act.switch.declined", site=site, why=obstacle)
    moved = words("act.switch.moves", leader=leader, site=site) if leader else words("act.switch.starts", site=site)
    return f"{moved} {words('act.switch.stays', site=site)}"


def _obstacle(words: Words, snapshot: Snapshot, site: str) -> str:
    """Why the store would decline a switch to this site."""
    if site in snapshot.drained:
        return words("obstacle.drained")
    found = snapshot.sites.get(site)
    if found is None:
        return words("obstacle.silent")
    if not found.eligible:
        return words("obstacle.ineligible")
    return ""


def _of_drain(words: Words, snapshot: Snapshot, site: str, leader: str) -> str:
    if leader != site:
        return words("act.drain.standby", site=site)
    ready = [
        name
        for name, found in sorted(snapshot.sites.items(), key=lambda entry: entry[1].priority)
        if name != site and found.eligible and name not in snapshot.drained
    ]
    held = snapshot.hold is not None
    if not ready or held:
        return words("act.drain.nobody", site=site)
    return words("act.drain.moves", site=site, heir=ready[0])
