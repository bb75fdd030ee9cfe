"""The record as an object in a bucket: S3 and what speaks it, Google and Azure, through obstore.

A swap is a conditional PUT: `If-Match` with the version that was seen, `If-None-Match: *` where there was none (S3 API,
PutObject). Nobody tells of changes, so the object is polled with `If-None-Match`, which transfers nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from obstore import delete_async, get_async, put_async
from obstore import list as list_objects
from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from rectbot.errors import ConfigError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.stores.base import Entry, StoreUnavailable, Version
from rectbot.failover.stores.urls import Place

_log = logging.getLogger(__name__)
T = TypeVar("T")
_CONNECT = timedelta(seconds=10)
_SERVER = "bucket"  # a bucket has no incarnations; what fell back to an older record shows by that
_PATIENCE_MS = 10_000  # of who polls, or reads the journal
_HURRY_MS = 500  # between two polls while a change is near
_KEEP = 10_000  # events in the journal
_NEWEST = 2**53
_PARALLEL = 16
_CLOSE_S = 2.0
_LET_GO_S = 0.1


class BucketRegister:
    """A register in a bucket. See Register."""

    def __init__(self, place: Place, name: str, *, poll_ms: int) -> None:
        """`name` is the record's object, and begins those of the journal.

        Raises ConfigError when obstore is missing or refuses the configuration.
        """
        self.where = str(place)
        self.hurry = False
        self._name, self._events = name, f"{name}.events"
        self._poll_ms = poll_ms
        self._store = _open(place)
        self._tried = False  # whether writes are conditional here
        self._seen = Version("", None, _SERVER)
        self._writing: asyncio.Task[None] | None = None  # of the journal
        self._outbox: Sequence[Entry] = ()
        self._journaled = 0  # the last event that is known to be in the journal

    async def read(self, give_up_at: int) -> Version:
        return await self._in_time(self._get(), give_up_at)

    async def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry], give_up_at: int) -> Version:
        version = await self._in_time(self._put(seen, record), give_up_at)
        if version.record == record and outbox and outbox[-1].number > self._journaled:
            self._outbox = outbox
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write_journal())
        return version

    async def watch(self, changed: Callable[[Version | None], None]) -> None:
        told = None
        while True:
            try:
                version = await self._in_time(self._get(self._seen), boottime_ms() + _PATIENCE_MS)
                if version != told:
                    told = version
                    changed(version)
            except (StoreUnavailable, ConfigError) as error:
                _log.debug("polling: %s; the heartbeats do without", error)
            await self._pause()

    async def _pause(self) -> None:
        """Until the next poll; a hurry that begins meanwhile is noticed."""
        slept, nap = 0, min(_HURRY_MS, self._poll_ms)
        while slept < (nap if self.hurry else self._poll_ms):
            await asyncio.sleep(nap / 1000)
            slept += nap

    async def journal(self, count: int) -> list[Entry]:
        return await self._in_time(self._read_journal(count), boottime_ms() + _PATIENCE_MS)

    async def close(self) -> None:
        """Nothing else is held: obstore keeps connections in a pool of its own."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=_CLOSE_S)
            self._writing.cancel()
        # A request that was given up is ended by a thread of obstore's, which needs the interpreter for that: a process
        # that ends at the same moment is aborted (SIGABRT, after all was said and done).
        await asyncio.sleep(_LET_GO_S)

    async def _get(self, known: Version | None = None) -> Version:
        options = {"if_none_match": json.loads(known.token)[0]} if known and known.token else {}
        try:
            found = await get_async(self._store, self._name, options=options)  # type: ignore[arg-type]
            record = bytes(await found.bytes_async())
        except NotModifiedError:
            assert known is not None
            return known
        except FileNotFoundError as error:
            _check_bucket(error, self.where)
            return self._note(Version("", None, _SERVER))
        return self._note(Version(_token(found.meta), record, _SERVER))

    async def _put(self, seen: Version, record: bytes) -> Version:
        await self._probe()
        if seen.server != _SERVER:
            return await self._get()
        try:
            put = await put_async(self._store, self._name, record, mode=_mode(seen.token), use_multipart=False)
        except BaseError as error:
            if not _is_conflict(error):
                raise
            return await self._get()
        return self._note(Version(_token(put), record, _SERVER))

    def _note(self, version: Version) -> Version:
        self._seen = version
        return version

    async def _write_journal(self) -> None:
        """One object for each event. Names sort the newest first, since that is what is asked for."""
        try:
            while new := [entry for entry in self._outbox if entry.number > self._journaled]:
                await put_async(self._store, self._place(new[0].number), new[0].text, use_multipart=False)
                if new[0].number > _KEEP:
                    await delete_async(self._store, self._place(new[0].number - _KEEP))
                self._journaled = new[0].number
        except (BaseError, OSError) as error:
            _log.warning("%s: could not write the journal of events; tries again: %s", self.where, _first_line(error))

    async def _read_journal(self, count: int) -> list[Entry]:
        names: list[str] = []
        async for chunk in list_objects(self._store, self._events, chunk_size=min(count, 1_000)):
            names += [meta["path"] for meta in chunk]
            if len(names) >= count:
                break
        limit = asyncio.Semaphore(_PARALLEL)

        async def fetch(name: str) -> Entry:
            async with limit:
                text = bytes(await (await get_async(self._store, name)).bytes_async())
            return Entry(_NEWEST - int(name.rpartition("/")[2]), text)

        return list(reversed(await asyncio.gather(*map(fetch, sorted(names)[:count]))))

    def _place(self, number: int) -> str:
        return f"{self._events}/{_NEWEST - number:016d}"

    async def _probe(self) -> None:
        """Once: a server that ignores conditions would grant the lead to everybody."""
        if self._tried:
            return
        name = f"{self._name}.probe-{os.urandom(6).hex()}"
        first = _token(await put_async(self._store, name, b"1", mode="create", use_multipart=False))
        try:
            second = _token(await put_async(self._store, name, b"2", mode=_mode(first), use_multipart=False))
            stale = await self._refuses(name, first)
            self._tried = stale and second != first and await self._refuses(name, "")
        finally:
            with suppress(BaseError, OSError):  # it is in nobody's way
                await delete_async(self._store, name)
        if not self._tried:
            raise ConfigError(
                f"{self.where}: this server ignores If-Match or If-None-Match, so two sites could lead at once: use one"
                " with conditional writes (Amazon S3, Cloudflare R2, MinIO, SeaweedFS, ...)"
            )

    async def _refuses(self, name: str, token: str) -> bool:
        try:
            await put_async(self._store, name, b"3", mode=_mode(token), use_multipart=False)
        except BaseError as error:
            if not _is_conflict(error):
                raise
            return True
        return False

    async def _in_time(self, act: Awaitable[T], give_up_at: int) -> T:
        seconds = max(0, give_up_at - boottime_ms()) / 1000
        try:
            async with asyncio.timeout(seconds):
                return await act
        except TimeoutError:
            raise StoreUnavailable(f"{self.where}: no answer within {seconds:.1f} s") from None
        except (BaseError, OSError) as error:
            raise _as_ours(error, self.where) from None


def _open(place: Place) -> S3Store | GCSStore | AzureStore:
    options: dict[str, Any] = dict(place.options)
    if place.url.startswith("s3:"):
        options["disable_bulk_delete"] = "true"  # not every server that speaks S3 has it
    if place.endpoint:
        options |= {"endpoint": place.endpoint, "virtual_hosted_style_request": "false"}
    make: Any = from_url  # its types tell the providers apart by literals
    try:
        store: S3Store | GCSStore | AzureStore = make(
            place.url,
            config=options,
            client_options={"allow_http": place.endpoint.startswith("http:"), "connect_timeout": _CONNECT},
            retry_config={"max_retries": 0, "retry_timeout": _CONNECT},  # the protocol tries again
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"LEASE_URL: {_first_line(error)}") from None
    return store


def _token(meta: Any) -> str:
    """The e-tag, and the version where that is what conditions look at (Google's generation)."""
    return json.dumps([meta["e_tag"], meta["version"]])


def _mode(token: str) -> Any:
    if not token:
        return "create"
    e_tag, version = json.loads(token)
    return {name: value for name, value in (("e_tag", e_tag), ("version", version)) if value is not None}


def _check_bucket(error: FileNotFoundError, where: str) -> None:
    """Raises ConfigError when it is not the object but the whole bucket that is missing."""
    if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error) or "bucket does not exist" in str(error):
        raise ConfigError(f"{where}: {_MENDS['NoSuchBucket']}") from None


def _is_conflict(error: Exception) -> bool:
    """409 is what Amazon answers while another conditional write to the same object is under way."""
    return isinstance(error, AlreadyExistsError | PreconditionError) or "409 Conflict" in _first_line(error)


_MENDS = {
    "RequestTimeTooSkewed": "this host's clock is wrong: set it (timedatectl set-ntp true)",
    "InvalidAccessKeyId": "there is no such key: correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the key does not fit: correct AWS_SECRET_ACCESS_KEY",
    "NoSuchBucket": "there is no such bucket: create it, or correct LEASE_URL",
    "PermanentRedirect": "the bucket is in another region: correct AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: correct AWS_REGION",
    "AccessDenied": "the credentials may not do this: allow them to get, put and delete objects in the bucket",
}


def _as_ours(error: Exception, where: str) -> StoreUnavailable | ConfigError:
    text = str(error)
    for code, mend in _MENDS.items():
        if f"<Code>{code}</Code>" in text:
            return ConfigError(f"{where}: {mend}")
    if "401 Unauthorized" in text or "403 Forbidden" in text:
        return ConfigError(f"{where}: the credentials are refused: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return StoreUnavailable(f"{where}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
