"""Requests, replies and snapshots as the scripts in lua/ read and write them: JSON objects."""

from __future__ import annotations

import json
from typing import Any

from rectbot.failover.events import Event, Hold, Leader, Renewals, Site, Snapshot, iso
from rectbot.failover.messages import (
    Accepted,
    Campaign,
    Command,
    Declined,
    Granted,
    Logins,
    Lost,
    Outcome,
    Refused,
    Release,
    Released,
    Renew,
    Renewed,
    Reply,
    Request,
)


def encode(request: Request) -> tuple[str, dict[str, Any]]:
    """The script's name, and what it is given beside the site's configuration."""
    match request:
        case Campaign(eligible, epoch_seen, logins):
            return "campaign", {"eligible": eligible, "epoch_seen": epoch_seen, **_logins(logins)}
        case Renew(epoch, logins):
            return "renew", {"epoch": epoch, **_logins(logins)}
        case Release():
            fields = {
                "epoch": request.epoch,
                "reason": request.why,
                "to": request.to,
                "eligible": request.eligible,
                "leaving": request.leaving,
                "ending": request.ending,
            }
            return "release", fields | _logins(request.logins)


def _logins(logins: Logins) -> dict[str, int]:
    return {"logins": logins.count, "allowed": -1 if logins.left is None else max(0, logins.left)}


def decode(answer: dict[str, Any]) -> Reply:
    match answer["status"]:
        case "granted":
            return Granted(answer["epoch"], answer["logins_left"])
        case "refused":
            return Refused(answer["why"], _duration(answer["wait"]), answer["epoch"], answer["by"])
        case "renewed":
            return Renewed(answer["yield_to"], _duration(answer["yield_in"]), answer["why"], answer["logins_left"])
        case "lost":
            return Lost(answer["holder"])
        case "released":
            return Released()
    raise AssertionError(f"no script answers {answer}")


def _duration(ms: float) -> int | None:
    return None if ms < 0 else round(ms)


def encode_command(command: Command, sites: tuple[str, ...], switch_ms: int) -> dict[str, Any]:
    """`switch_ms` is how long a switch is tried for."""
    return {
        "act": command.act,
        "by": command.by,
        "reason": command.why,
        "to": command.site,
        "to_place": sites.index(command.site) + 1 if command.site in sites else 0,
        "for_ms": switch_ms if command.act == "switch" else command.for_ms or 0,
    }


def decode_outcome(answer: dict[str, Any]) -> Outcome:
    return Accepted(answer["changed"]) if answer["status"] == "accepted" else Declined(answer["why"])


def decode_snapshot(found: dict[str, Any]) -> Snapshot:
    now = found["now"]
    counts = found["counts"] or []  # Lua cannot tell an empty list from an empty object
    return Snapshot(
        leader=_leader(found["lock"], found["left"]),
        sites={
            site["name"]: _site(site, now, place)
            for place, site in enumerate(found["sites"])
            if site["beat"] is not None
        },
        suspended_ms=found["suspended"],
        epoch=found["epoch"],
        hold=Hold(found["hold"] / 1000, found["hold_site"] or "", found["hold_why"]) if found["hold"] else None,
        switch_to=found["switch_to"] or "",
        pinned=found["pinned"] or "",
        drained={site["name"]: site["drained"] for site in found["sites"] if site["drained"]},
        logins_left=found["logins_left"],
        next_login_s=found["next_login"] / 1000,
        counts={name: int(count) for name, count in zip(counts[::2], counts[1::2], strict=True)},
    )


def _leader(text: str | bool, left: int) -> Leader | None:
    if not isinstance(text, str):
        return None
    try:
        lock = json.loads(text)
        since = iso(lock.get("since") or lock["ts"])
        return Leader(lock["site"], lock["owner"], lock["epoch"], since, max(0, left))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Leader("unknown", text[:80], 0, iso(0), max(0, left))


def _site(found: dict[str, Any], now: int, priority: int) -> Site:
    beat = found["beat"]
    report = beat.get("report") or {}
    trips = report.get("renewals")
    return Site(
        heartbeat_age_s=max(0, now - beat["ts"]) / 1000,
        eligible=found["ready"],
        priority=priority,
        owner=beat["owner"],
        waits=beat["waits"],
        damped_s=found["damped"] / 1000,
        losses=found["losses"],
        serving=report.get("serving"),
        renewals=Renewals(tuple(trips["counts"]), trips["total_ms"] / 1000, trips["failed"]) if trips else None,
    )


def decode_event(entry: list[Any]) -> Event:
    """An entry of the event stream, as XREVRANGE gives it."""
    names = [word.decode() for word in entry[1]]
    found = dict(zip(names[::2], names[1::2], strict=True))
    return Event(
        id=entry[0].decode(),
        time=int(found["ms"]) / 1000,
        kind=found["kind"],
        site=found["site"],
        owner=found["owner"],
        epoch=int(found["epoch"]),
        why=found["why"],
    )
