"""The journal of the local Discord: what happened, when, from which site; and the judge that reads it.

Every entry is a JSON object with `time` (epoch seconds), `mono` (seconds of CLOCK_BOOTTIME, comparable between the
processes of one machine), `event`, `session` (gateway session id or null), `site` (or null), and details of the event.

The judge's rule: a session is live from the moment its IDENTIFY or RESUME was received until its socket was closed.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import urllib3

from localdiscord.errors import CannotServeError, LocalDiscordError

Entry = dict[str, Any]

CAPACITY = 50_000


@dataclass(frozen=True)
class Moment:
    """One point in time on both clocks, in seconds."""

    time: float
    mono: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


class Journal:
    """Keeps the newest entries in memory and, if a file is named, appends every entry to it as a line of JSON."""

    def __init__(self, file: Path | None = None, capacity: int = CAPACITY) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)
        self._added = 0
        try:
            self._file = file.open("a", encoding="utf-8", buffering=1) if file else None
        except OSError as error:
            raise CannotServeError(
                f"{file}: the journal cannot be written ({error.strerror}); name a file you may write"
            ) from None

    @property
    def dropped(self) -> int:
        """How many entries were pushed out of memory by newer ones."""
        return self._added - len(self._entries)

    def add(
        self,
        event: str,
        *,
        site: str | None = None,
        session: str | None = None,
        at: Moment | None = None,
        **details: Any,
    ) -> None:
        """Adds an entry, dated `at`, or now."""
        moment = at or Moment.now()
        entry = {"time": moment.time, "mono": moment.mono, "event": event, "session": session, "site": site, **details}
        self._entries.append(entry)
        self._added += 1
        if self._file:
            self._file.write(json.dumps(entry) + "\n")

    def read(self, events: Collection[str] = (), since: float = 0) -> Iterator[Entry]:
        """The entries of these events (default all) at or after an epoch time, oldest first.

        When older entries were dropped, the first one says how many: `{"event": "journal_dropped", "count": N, ...}`.
        """
        # A call to REST is entered when it is answered but dated when it arrived.
        kept = sorted(self._entries, key=lambda entry: entry["mono"])
        if self.dropped and kept:
            first = kept[0]
            yield {**_stamp(first), "event": "journal_dropped", "session": None, "site": None, "count": self.dropped}
        for entry in kept:
            if entry["time"] >= since and (not events or entry["event"] in events):
                yield entry

    def close(self) -> None:
        if self._file:
            self._file.close()


def _stamp(entry: Mapping[str, Any]) -> Entry:
    return {"time": entry["time"], "mono": entry["mono"]}


@dataclass(frozen=True)
class Session:
    """One stretch of time in which a client was logged in over one socket; times in seconds of CLOCK_BOOTTIME."""

    site: str | None
    session: str
    opened: float
    closed: float | None
    opened_time: float
    """Epoch seconds of `opened`."""
    how: str
    """`identify` or `resume`."""
    shard: tuple[int, int] | None = None
    close_code: int | None = None

    def overlaps(self, other: Session) -> bool:
        """Whether both were live at one moment.

        Of one site these are one login, not two: its shards, and two sockets of one session, of which a RESUME over the
        second ends the first.
        """
        if self.site == other.site and (self.shard != other.shard or self.session == other.session):
            return False
        return self.opened < _end(other) and other.opened < _end(self)


def _end(session: Session) -> float:
    return float("inf") if session.closed is None else session.closed


def sessions(entries: Iterable[Entry]) -> list[Session]:
    """The sessions of a journal in the order of their opening; `closed` is None while one is live.

    A session whose opening was dropped from the journal counts as open since the first entry: the judge may then
    complain wrongly, but never acquits wrongly.
    """
    found: list[Session] = []
    live: dict[str, int] = {}
    first: Entry | None = None
    for entry in entries:
        first = first or entry
        if entry["event"] == "session_open":
            live[entry["connection"]] = len(found)
            found.append(_opened(entry, entry))
        elif entry["event"] == "session_close":
            index = live.pop(entry["connection"], None)
            if index is None:
                index = len(found)
                found.append(_opened(entry, first))
            found[index] = replace(found[index], closed=entry["mono"], close_code=entry["code"])
    return sorted(found, key=lambda session: session.opened)


def _opened(entry: Entry, since: Entry) -> Session:
    shard = entry.get("shard")
    return Session(
        site=entry["site"],
        session=entry["session"],
        opened=since["mono"],
        closed=None,
        opened_time=since["time"],
        how=entry["how"],
        shard=(shard[0], shard[1]) if shard else None,
    )


def overlaps(entries: Iterable[Entry]) -> list[tuple[Session, Session]]:
    """Every pair of sessions that were live at the same moment: empty when there was never more than one."""
    return [(first, second) for first, second in combinations(sessions(entries), 2) if first.overlaps(second)]


def fetch(base_url: str, events: Collection[str] = (), since: float = 0, timeout: float = 5) -> list[Entry]:
    """Reads the journal of the local Discord at `http://HOST:PORT`. Raises LocalDiscordError when it is silent."""
    fields = {"event": ",".join(events), "since": repr(since)}
    try:
        answer = urllib3.request(
            "GET", f"{base_url.rstrip('/')}/journal", fields=fields, timeout=timeout, retries=False
        )
    except urllib3.exceptions.HTTPError:
        raise LocalDiscordError(f"no local Discord answers at {base_url}; is it running?") from None
    if answer.status != 200:
        raise LocalDiscordError(f"{base_url}/journal answered {answer.status}; is that the local Discord?")
    return [json.loads(line) for line in answer.data.splitlines()]
