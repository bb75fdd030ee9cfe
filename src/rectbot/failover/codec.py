"""The record, and the events of the journal, as JSON.

What is read may have been written by anything: another program, a hand, a later version. A record is taken as a whole
or not at all; `decode` says what is wrong with it, and rules.py then starts afresh as for a store that has forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from rectbot.failover.events import Event
from rectbot.failover.record import Beat, Lock, Losses, Operator, Record, Suspension, Twin
from rectbot.failover.stores.base import Entry

T = TypeVar("T")

_FORM = 1  # of the record; one with another is not understood
_MOST = 2**53  # beyond which JSON's numbers are not exact
_LONGEST_TTL_MS = 86_400_000


class _Wrong(ValueError):  # noqa: N818 (what it is)
    """What is there is not what it should be."""


def encode(record: Record) -> bytes:
    words = {
        "form": _FORM,
        "seq": record.seq,
        "owner": record.owner,
        "n": record.n,
        "server": record.server,
        "lineage": record.lineage,
        "t": record.t,
        "wall": record.wall,
        "epoch": record.epoch,
        "lock": record.lock._asdict() if record.lock else None,
        "suspended": record.suspended._asdict() if record.suspended else None,
        "reserved": [record.reserved, record.reserved_until],
        "order": record.order,
        "beats": {site: beat._asdict() for site, beat in record.beats.items()},
        "twins": {site: twin._asdict() for site, twin in record.twins.items()},
        "owed_until": record.owed_until,
        "losses": {site: losses._asdict() for site, losses in record.losses.items()},
        "operator": {name: getattr(record.operator, name) for name in Operator.__slots__},
        "counts": record.counts,
        "number": record.number,
        "outbox": record.outbox,
    }
    return json.dumps(words, separators=(",", ":")).encode()


def decode(text: bytes) -> Record:
    """Raises ValueError that says why it is not a record."""
    try:
        words = json.loads(text)
    except ValueError:
        raise _Wrong("it is not JSON") from None
    found = _mapping(words, "it")
    if found.get("form") != _FORM:
        raise _Wrong(f"it has the form {found.get('form')!r}, not {_FORM}")
    try:
        return _record(found)
    except KeyError as error:
        raise _Wrong(f"{error.args[0]} is missing") from None


def _record(found: Mapping[str, Any]) -> Record:
    reserved, until = _list(found["reserved"], "reserved", 2)
    return Record(
        seq=_int(found["seq"], "seq"),
        owner=_str(found["owner"], "owner"),
        n=_int(found["n"], "n"),
        server=_str(found["server"], "server"),
        lineage=_str(found["lineage"], "lineage"),
        t=_int(found["t"], "t"),
        wall=_int(found["wall"], "wall"),
        epoch=_int(found["epoch"], "epoch"),
        lock=_maybe(found["lock"], _lock),
        suspended=_maybe(found["suspended"], _suspension),
        reserved=_str(reserved, "reserved"),
        reserved_until=_int(until, "reserved"),
        order=tuple(_str(site, "order") for site in _list(found["order"], "order")),
        beats=_each(found["beats"], "beats", _beat),
        twins=_each(
            found["twins"], "twins", lambda words: Twin(_str(words["owner"], "twin"), _int(words["t"], "twin"))
        ),
        owed_until=_int(found["owed_until"], "owed_until"),
        losses=_each(
            found["losses"], "losses", lambda words: Losses(_int(words["times"], "losses"), _int(words["at"], "losses"))
        ),
        operator=_operator(_mapping(found["operator"], "operator")),
        counts={_str(name, "counts"): _int(n, "counts") for name, n in _mapping(found["counts"], "counts").items()},
        number=_int(found["number"], "number"),
        outbox=tuple(_event(words) for words in _list(found["outbox"], "outbox")),
    )


def _lock(words: Mapping[str, Any]) -> Lock:
    return Lock(
        owner=_str(words["owner"], "lock.owner"),
        site=_str(words["site"], "lock.site"),
        epoch=_int(words["epoch"], "lock.epoch"),
        n=_int(words["n"], "lock.n"),
        ttl=_ttl(words["ttl"], "lock.ttl"),
        t=_int(words["t"], "lock.t"),
        since=_int(words["since"], "lock.since"),
        wall=_int(words["wall"], "lock.wall"),
    )


def _suspension(words: Mapping[str, Any]) -> Suspension:
    return Suspension(
        owner=_str(words["owner"], "suspended.owner"),
        n=_int(words["n"], "suspended.n"),
        ttl=_ttl(words["ttl"], "suspended.ttl"),
        t=_int(words["t"], "suspended.t"),
    )


def _beat(words: Mapping[str, Any]) -> Beat:
    return Beat(
        owner=_str(words["owner"], "beat.owner"),
        n=_int(words["n"], "beat.n"),
        t=_int(words["t"], "beat.t"),
        ttl=_ttl(words["ttl"], "beat.ttl"),
        every=_int(words["every"], "beat.every"),
        eligible=_bool(words["eligible"], "beat.eligible"),
        wait_ms=_int(words["wait_ms"], "beat.wait_ms"),
        lag_ms=_int(words["lag_ms"], "beat.lag_ms"),
        waits=_str(words["waits"], "beat.waits"),
        logins=_int(words["logins"], "beat.logins"),
        serving=None if words["serving"] is None else _bool(words["serving"], "beat.serving"),
        trips=None if words["trips"] is None else _trips(words["trips"]),
        unsure_ms=_int(words.get("unsure_ms", 0), "beat.unsure_ms"),  # earlier versions have none
    )


def _trips(found: Any) -> dict[str, Any]:
    words = _mapping(found, "beat.trips")
    counts = [_int(count, "beat.trips") for count in _list(words["counts"], "beat.trips")]
    return {
        "counts": counts,
        "total_ms": _int(words["total_ms"], "beat.trips"),
        "failed": _int(words["failed"], "beat.trips"),
    }


def _operator(words: Mapping[str, Any]) -> Operator:
    return Operator(
        hold_until=_int(words["hold_until"], "hold_until"),
        hold_site=_str(words["hold_site"], "hold_site"),
        hold_why=_str(words["hold_why"], "hold_why"),
        switch_to=_str(words["switch_to"], "switch_to"),
        switch_until=_int(words["switch_until"], "switch_until"),
        switch_why=_str(words["switch_why"], "switch_why"),
        pinned=_str(words["pinned"], "pinned"),
        drained={site: _str(why, "drained") for site, why in _mapping(words["drained"], "drained").items()},
    )


@lru_cache(maxsize=64)  # most are in the outbox of many records
def encode_event(event: Event) -> Entry:
    """For the journal."""
    return Entry(int(event.id), json.dumps(event._asdict(), separators=(",", ":")).encode())


def decode_event(entry: Entry) -> Event | None:
    """None for what is no event of ours."""
    try:
        words = _mapping(json.loads(entry.text), "event")
        return _event([words[name] for name in Event._fields])
    except (ValueError, KeyError):
        return None


def _event(found: Any) -> Event:
    number, time, kind, site, owner, epoch, why = _list(found, "event", len(Event._fields))
    if not isinstance(time, int | float) or isinstance(time, bool):
        raise _Wrong("event.time is not a number")
    words = [_str(word, "event") for word in (number, kind, site, owner, why)]
    return Event(words[0], float(time), words[1], words[2], words[3], _int(epoch, "event.epoch"), words[4])


# --- each says which part is not what it should be


def _str(found: Any, what: str) -> str:
    if not isinstance(found, str):
        raise _Wrong(f"{what} is not a text")
    return found


def _bool(found: Any, what: str) -> bool:
    if not isinstance(found, bool):
        raise _Wrong(f"{what} is neither true nor false")
    return found


def _int(found: Any, what: str) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or abs(found) > _MOST:
        raise _Wrong(f"{what} is not a whole number")
    return found


def _ttl(found: Any, what: str) -> int:
    if not 0 < _int(found, what) <= _LONGEST_TTL_MS:
        raise _Wrong(f"{what} is no time to live")
    return int(found)


def _list(found: Any, what: str, length: int | None = None) -> list[Any]:
    if not isinstance(found, list) or (length is not None and len(found) != length):
        raise _Wrong(f"{what} is not a list as it should be")
    return found


def _mapping(found: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise _Wrong(f"{what} is not an object")
    return found


def _maybe(found: Any, read: Callable[[Mapping[str, Any]], T]) -> T | None:
    return None if found is None else read(_mapping(found, "part of it"))


def _each(found: Any, what: str, read: Callable[[Mapping[str, Any]], T]) -> dict[str, T]:
    return {name: read(_mapping(words, what)) for name, words in _mapping(found, what).items()}
