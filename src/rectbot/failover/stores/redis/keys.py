"""What is at which key, for our script and for other programs: docs/redis.md."""

from __future__ import annotations

import json
import re
from typing import Any

from rectbot.failover.codec import encode
from rectbot.failover.config import FailoverConfig
from rectbot.failover.record import Operator, Record
from rectbot.failover.stores.base import Entry, StoreUnavailable


def names(config: FailoverConfig) -> list[str]:
    """The script's KEYS."""
    lock = config.lock_key
    old = [f"{lock}:operator", f"{lock}:reserved", f"{lock}:counts"]
    beat = config.heartbeat_key(config.site) if config.site else f"{lock}:observer"
    return [config.record_key, f"{lock}:written", lock, config.events_key, *old, beat]


def mirrored(config: FailoverConfig, record: bytes) -> dict[str, Any]:
    """What becomes of the lock's and the heartbeat's keys with this record: absent, they stay as they are."""
    found = json.loads(record)
    shown: dict[str, Any] = {}
    lock, beat, writer = found["lock"], found["beats"].get(config.site), (found["owner"], found["n"])
    if lock is None:
        shown["lock"] = ""
    elif (lock["owner"], lock["n"]) == writer:
        words = {name: lock[name] for name in ("owner", "site", "epoch", "since", "ttl")}
        shown["lock"], shown["lock_ms"] = json.dumps(words | {"ts": lock["wall"]}), lock["ttl"]
    if beat is None and config.site:
        shown["beat"] = ""
    elif beat is not None and (beat["owner"], beat["n"]) == writer:
        words = {name: beat[name] for name in ("owner", "ttl", "eligible", "waits", "serving")}
        words |= {"site": config.site, "ts": found["wall"], "priority": config.priority.index(config.site)}
        shown["beat"], shown["beat_ms"] = json.dumps(words), round(config.hb_ttl_sec * 1000)
    return shown


def journaled(seen: bytes | None) -> int:
    """The number of the last event of a record: they were journaled together."""
    found = re.search(rb'"number":(\d+)', seen or b"")
    return int(found[1]) if found else 0


def event_fields(entry: Entry) -> dict[str, Any]:
    """As the script writes it to the stream."""
    words = json.loads(entry.text)
    fields = {name: words[name] for name in ("kind", "site", "owner", "epoch", "why")}
    return fields | {"number": entry.number, "ms": round(words["time"] * 1000)}


def entry(words: list[Any]) -> Entry | None:
    """An entry of the stream, as XREVRANGE gives it; None for what is not ours."""
    try:
        fields = [word.decode() for word in words[1]]
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        number = found.get("number") or words[0].decode().partition("-")[0]  # earlier versions wrote none
        event = {
            "id": number,
            "time": int(found["ms"]) / 1000,
            "kind": found["kind"],
            "site": found["site"],
            "owner": found["owner"],
            "epoch": int(found["epoch"]),
            "why": found["why"],
        }
        return Entry(int(number), json.dumps(event).encode())
    except (ValueError, KeyError):
        return None


def of_earlier_version(text: bytes, where: str) -> bytes:
    """What an earlier version remembers, as a record of no server: so it is taken for one that may have forgotten.

    Raises StoreUnavailable while a site of that version leads.
    """
    found = json.loads(text)
    if found["lock"]:
        raise StoreUnavailable(
            f"Redis at {where}: a site with an earlier version of rectbot leads there; this one waits until that site"
            " is stopped. Then update it, too"
        )
    words = found["operator"] or []  # Lua cannot tell an empty list from an empty object
    given = dict(zip(words[::2], words[1::2], strict=True))
    hold = max(0, _number(given.get("hold_until")) - int(found["now"]))
    operator = Operator(
        hold_until=hold,
        hold_site=given.get("hold_site", "") if hold else "",
        hold_why=given.get("hold_why", "") if hold else "",
        pinned=given.get("pinned", ""),
        drained={name[8:]: why for name, why in given.items() if name.startswith("drained:")},
    )
    return encode(Record(epoch=_number(found["epoch"]), number=int(found["now"]), operator=operator))


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 16 else 0
