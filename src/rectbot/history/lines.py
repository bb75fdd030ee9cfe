"""Events as JSON lines, for people and for other programs: `rectbot history export` and `import`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rectbot.errors import ConfigError
from rectbot.failover.events import iso
from rectbot.history.story import Told

LATEST_MS = 253_402_300_799_999  # the end of the year 9999
_MOST = 2**53  # beyond which JSON's numbers are not exact
_TEXTS = ("kind", "site", "owner", "why")


def line_of(event: Told) -> str:
    """`time` in ISO 8601 with milliseconds, `kind`, `site`, `owner`, `epoch`, `why`, and `last_renewal` if known."""
    words: dict[str, Any] = {"time": iso(event.time)}
    words |= {name: getattr(event, name) for name in ("kind", "site", "owner", "epoch", "why")}
    if event.last_renewal is not None:
        words["last_renewal"] = iso(event.last_renewal)
    return json.dumps(words, ensure_ascii=True)


def read_lines(lines: Iterable[str], where: str) -> Iterator[Told]:
    """The events of such lines; empty ones are passed over. Raises ConfigError that names the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _event(json.loads(line))
        except json.JSONDecodeError:
            raise ConfigError(f"{where}:{number}: is not JSON; write one event a line") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}:{number}: {error}") from None


def _event(found: object) -> Told:
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - it is the value of a line
    texts = {name: _text(found, name) for name in _TEXTS}
    if not texts["kind"]:
        raise ValueError("kind is empty")
    renewal = found.get("last_renewal")
    return Told(
        time=moment(found.get("time"), "time"),
        epoch=_number(found.get("epoch", 0)),
        last_renewal=None if renewal is None else moment(renewal, "last_renewal"),
        **texts,
    )


def _text(found: dict[str, Any], name: str) -> str:
    text = found.get(name, None if name in ("kind", "site") else "")
    if not isinstance(text, str):
        raise ValueError(f"{name} is missing, or not a text")  # noqa: TRY004
    return storable(text)


def storable(text: str) -> str:
    """A text that every database takes: no NUL, and no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable_event(event: Told) -> Told:
    """The event with such texts."""
    kind, site, owner, why = map(storable, (event.kind, event.site, event.owner, event.why))
    return event._replace(kind=kind, site=site, owner=owner, why=why)


def _number(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not -_MOST <= found <= _MOST:
        raise ValueError("epoch is not a whole number")
    return found


def moment(text: object, name: str) -> int:
    """ms since 1970 of a time in ISO 8601, in UTC where it does not say. Raises ValueError."""
    how = f"{name} is not a time: write 2026-11-27T19:30:00.123Z"
    if not isinstance(text, str) or len(text) > 64:
        raise ValueError(how)
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        ms = (found - _EPOCH) // _MS
    except (ValueError, OverflowError):
        raise ValueError(how) from None
    if not 0 <= ms <= LATEST_MS:
        raise ValueError(how)
    return ms


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = datetime.resolution * 1000
