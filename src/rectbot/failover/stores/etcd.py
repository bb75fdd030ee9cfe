"""The record in etcd v3, for those who have three machines: any one of them may be away.

A swap is a transaction that compares the whole record, which no other has the same bytes as, and the cluster's mark: a
random word that whoever comes first writes beside the record. Without the mark the keys were emptied, or the address
names another cluster. The journal is written by the same transaction.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from typing import Any

from rectbot.errors import ConfigError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.stores.base import Entry, Version
from rectbot.failover.stores.gateway import Gateway, Refused
from rectbot.failover.stores.urls import Cluster

_log = logging.getLogger(__name__)
_KEEP = 10_000  # events in the journal
_SWEEP_EVERY = 100
_JOURNAL_MS = 5_000


class EtcdRegister:
    """A register in etcd. See Register."""

    def __init__(self, cluster: Cluster, key: str, *, retry_ms: int, silence_ms: int) -> None:
        """`key` is the record's, and begins those of mark and journal.

        A member that has not answered for `retry_ms` is passed over. A watch that was silent for `silence_ms` is opened
        anew, at the next member. Raises ConfigError for a wrong certificate file.
        """
        self.where = f"etcd at {cluster}"
        self.hurry = False
        self._key, self._mark, self._events = key, f"{key}/mark", f"{key}/events/"
        self._retry_s, self._silence_s = retry_ms / 1000, silence_ms / 1000
        self._gateway = Gateway(cluster, retry_ms)
        self._watching = Gateway(cluster, retry_ms)
        self._server = ""
        self._journaled = 0  # the last event that is known to be in the journal

    async def read(self, give_up_at: int) -> Version:
        there = {"key": _word(self._mark), "target": "VERSION", "result": "GREATER", "version": "0"}
        mark = _put(self._mark, os.urandom(8).hex().encode())
        return await self._transact([there], self._look(), [mark, *self._look()], give_up_at)

    async def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry], give_up_at: int) -> Version:
        mark = seen.server.partition(":")[2]
        same = [_is(self._key, seen.record), _is(self._mark, mark.encode())]
        write = [_put(self._key, record), *self._write_journal(outbox), *self._look()]
        version = await self._transact(same, write, self._look(), give_up_at)
        if version.record == record and outbox:
            self._journaled = outbox[-1].number
        if version.server.endswith(":"):
            return await self.read(give_up_at)  # leaves a mark, for there was none
        return version

    async def watch(self, changed: Callable[[Version | None], None]) -> None:
        ask = {"create_request": {"key": _word(self._key)}}
        while True:
            try:
                async for told in self._watching.stream("/v3/watch", ask, self._silence_s):
                    for version in self._read_told(told):
                        changed(version)
            except (OSError, HTTPException, ValueError, KeyError, Refused, ConfigError) as error:
                _log.debug("announcements: %s; the heartbeats do without", error or "no answer")
            await asyncio.sleep(self._retry_s)

    async def journal(self, count: int) -> list[Entry]:
        asked = {"key": _word(self._events), "range_end": _word(_end(self._events)), "limit": str(count)}
        asked |= {"sort_order": "DESCEND", "sort_target": "KEY"}
        answer = await self._gateway.call("/v3/kv/range", asked, boottime_ms() + _JOURNAL_MS)
        found = [(_bytes(each["key"]), _bytes(each["value"])) for each in answer.get("kvs", [])]
        return [Entry(int(key[len(self._events) :]), text) for key, text in reversed(found)]

    async def close(self) -> None:
        self._gateway.close()
        self._watching.close()

    def _look(self) -> list[dict[str, Any]]:
        return [{"request_range": {"key": _word(name)}} for name in (self._key, self._mark)]

    def _write_journal(self, outbox: Sequence[Entry]) -> list[dict[str, Any]]:
        new = [entry for entry in outbox if entry.number > self._journaled]
        acts = [_put(f"{self._events}{entry.number:016d}", entry.text) for entry in new]
        if any(entry.number % _SWEEP_EVERY == 0 for entry in new):
            old = f"{self._events}{max(0, new[-1].number - _KEEP):016d}"
            acts.append({"request_delete_range": {"key": _word(self._events), "range_end": _word(old)}})
        return acts

    async def _transact(self, when: list[Any], then: list[Any], otherwise: list[Any], give_up_at: int) -> Version:
        """A transaction that ends with a look at record and mark."""
        body = {"compare": when, "success": then, "failure": otherwise}
        answer = await self._gateway.call("/v3/kv/txn", body, give_up_at)
        record, mark = (each["response_range"].get("kvs", [None])[0] for each in answer["responses"][-2:])
        name = _bytes(mark["value"]).decode() if mark else ""
        self._server = f"{answer['header']['cluster_id']}:{name}"
        if record is None:
            return Version("", None, self._server)
        return Version(record["mod_revision"], _bytes(record["value"]), self._server)

    def _read_told(self, told: dict[str, Any]) -> Iterator[Version | None]:
        """Raises ValueError when the watch has been ended."""
        if told.get("canceled"):
            raise ValueError(told.get("cancel_reason", "the watch was ended"))
        if told.get("created"):
            yield None  # something may have changed before we listened
        ours = self._server.startswith(f"{told['header']['cluster_id']}:")
        for event in told.get("events", []):
            kv = event["kv"]
            gone = event.get("type") == "DELETE" or not ours
            yield None if gone else Version(kv["mod_revision"], _bytes(kv["value"]), self._server)


def _word(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _bytes(word: str) -> bytes:
    return base64.b64decode(word)


def _end(prefix: str) -> str:
    """The first key after all that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _put(key: str, value: bytes) -> dict[str, Any]:
    return {"request_put": {"key": _word(key), "value": base64.b64encode(value).decode()}}


def _is(key: str, value: bytes | None) -> dict[str, Any]:
    """Whether the key has this value; None: whether it is not there."""
    if value is None:
        return {"key": _word(key), "target": "VERSION", "result": "EQUAL", "version": "0"}
    return {"key": _word(key), "target": "VALUE", "result": "EQUAL", "value": base64.b64encode(value).decode()}
