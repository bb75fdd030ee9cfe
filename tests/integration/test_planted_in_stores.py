"""Faults planted in the stores' adapters: each is found by the test that it names."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any

import pytest

import registers
from integration import test_failover_store as on_redis_only
from integration import test_failover_upgrade as upgrade
from integration import test_register_conformance as conformance
from integration import test_register_errors as errors
from integration.test_register_conformance import debian_redis, memory  # noqa: F401 (fixtures)
from lease_sites import sites_on
from planted import Fault, load
from rectbot.errors import RectbotError
from rectbot.failover.stores import etcd as etcd_module
from rectbot.failover.stores.redis import link, register
from servers import RedisServer

SWAP = "test_a_swap_is_done_when_what_was_seen_is_in_force_and_only_then"
INCARNATION = "test_what_was_seen_of_another_incarnation_is_not_in_force"
FORGETS = "test_a_server_that_may_forget_has_another_name_after_a_restart"
JOURNAL = "test_the_journal_has_each_event_once_in_order"
REFUSED = "test_a_refused_swap_journals_nothing"
WATCH = "test_a_watch_tells_of_each_last_change"
PATIENCE = "test_nobody_waits_longer_than_it_may"
LUA, REGISTER, KEYS = (f"failover/stores/redis/{name}" for name in ("register.lua", "register.py", "keys.py"))
BUCKET, ETCD, GATEWAY, MEMORY = (f"failover/stores/{name}.py" for name in ("bucket", "etcd", "gateway", "memory"))

FAULTS = [
    Fault("redis: the version is not compared", LUA, "token ~= req.token or server", "server", SWAP),
    Fault("redis: the incarnation is not compared", LUA, " or server ~= req.server then", " then", INCARNATION),
    Fault("redis: every server has the same name", LUA, "'run_id:(%w+)')", "'(redis)')", FORGETS),
    Fault("redis: the record is not written", LUA, "redis.call('SET', RECORD, text)\n", "\n", SWAP),
    Fault("redis: nobody is told", LUA, "redis.call('PUBLISH', req.channel,", "local _ = (req.channel ..", WATCH),
    Fault("redis: an event is journaled again", REGISTER, "if entry.number > journaled]", "]", JOURNAL),
    Fault("redis: nothing is journaled", LUA, "  if add().err then", "  if false then", JOURNAL),
    Fault(
        "redis: a leader of an earlier version is not seen",
        LUA,
        "local busy = kind == 'hash' and redis.call('EXISTS', LOCK) == 1",
        "local busy = false",
        "test_an_old_leader_that_comes_back_first_keeps_the_lead",
    ),
    Fault(
        "redis: another program's stream stops the journal",
        LUA,
        "    redis.call('RENAME', EVENTS, EVENTS .. ':aside')\n    add()",
        "    local _ = 0",
        "test_what_another_program_wrote_is_set_aside_and_obeyed_by_nobody[RPUSH rectbot:events x]",
    ),
    Fault(
        "redis: the lock that others read does not expire",
        LUA,
        "req.lock, 'PX', req.lock_ms)",
        "req.lock)",
        "test_the_lock_that_other_programs_read_expires_with_the_lease",
    ),
    Fault(
        "redis: the lock that others read is not renewed",
        KEYS,
        '    elif (lock["owner"], lock["n"]) == writer:\n',
        '    elif lock["since"] == found["wall"]:\n',
        "test_the_lock_that_other_programs_read_expires_with_the_lease",
    ),
    Fault(
        "redis: a swap that was given up is waited for",
        REGISTER,
        "asyncio.timeout(seconds)",
        "asyncio.timeout(None)",
        PATIENCE,
    ),
    Fault("bucket: the version is not compared", BUCKET, "mode=_mode(seen.token), use", 'mode="overwrite", use', SWAP),
    Fault(
        "bucket: an empty place is not compared", BUCKET, '        return "create"', '        return "overwrite"', SWAP
    ),
    Fault("bucket: the incarnation is not compared", BUCKET, "if seen.server != _SERVER:", "if False:", INCARNATION),
    Fault(
        "bucket: a conflict is taken for a swap",
        BUCKET,
        "                raise\n            return await self._get()",
        "                raise\n            return Version(seen.token, record, _SERVER)",
        SWAP,
    ),
    Fault(
        "bucket: conditional writes are not tried",
        BUCKET,
        "        await self._probe()\n",
        "",
        "test_a_bucket_without_conditional_writes_is_refused[]",
    ),
    Fault(
        "bucket: only one condition is tried",
        BUCKET,
        'await self._refuses(name, "")',
        "True",
        "test_a_bucket_without_conditional_writes_is_refused[If-Match]",
    ),
    Fault("bucket: nobody is told", BUCKET, "                    changed(version)\n", "", WATCH),
    Fault("bucket: a refused swap journals", BUCKET, "if version.record == record and outbox", "if outbox", REFUSED),
    Fault("bucket: the oldest events are given", BUCKET, "{_NEWEST - number:016d}", "{number:016d}", JOURNAL),
    Fault("bucket: a server is waited for", BUCKET, "asyncio.timeout(seconds)", "asyncio.timeout(None)", PATIENCE),
    Fault("etcd: the version is not compared", ETCD, "[_is(self._key, seen.record), _is", "[_is", SWAP),
    Fault(
        "etcd: an empty place is not compared",
        ETCD,
        '"result": "EQUAL", "version": "0"}',
        '"result": "GREATER", "version": "-1"}',
        SWAP,
    ),
    Fault("etcd: the incarnation is not compared", ETCD, ", _is(self._mark, mark.encode())]", "]", INCARNATION),
    Fault(
        "etcd: a cluster that was emptied has the same name",
        ETCD,
        "os.urandom(8).hex().encode()",
        'b"mark"',
        "test_a_store_that_was_emptied_has_another_name",
    ),
    Fault(
        "etcd: nobody is told",
        ETCD,
        "                        changed(version)\n",
        "                        pass\n",
        WATCH,
    ),
    Fault(
        "etcd: a refused swap journals",
        ETCD,
        "self._transact(same, write, self._look(), give_up_at)",
        "self._transact(same, write, [*self._write_journal(outbox), *self._look()], give_up_at)",
        REFUSED,
    ),
    Fault(
        "etcd: events are not in order",
        ETCD,
        "return [Entry(int(key[len(self._events) :]), text) for key, text in reversed(found)]",
        "return [Entry(int(key[len(self._events) :]), text) for key, text in found]",
        JOURNAL,
    ),
    Fault(
        "etcd: one member only is asked",
        GATEWAY,
        '                why = f"{where}: {_in_words(error)}"\n                self._at += 1\n',
        '                why = f"{where}: {_in_words(error)}"\n',
        "test_etcd_goes_on_while_any_one_member_is_away",
    ),
    Fault(
        "etcd: a server is waited for",
        GATEWAY,
        "if members > 1 else left\n",
        "if members > 1 else left\n            limit = max(limit, 4.0)\n",
        PATIENCE,
    ),
    Fault(
        "memory: the version is not compared",
        MEMORY,
        "(seen.token, seen.server) != self.seen()[::2][:2]",
        "seen.server != self.seen().server",
        SWAP,
    ),
]
LIMIT_S = 4.0  # a test that hangs has found it, too; without the fault each takes less than one
ON: dict[str, tuple[str, Callable[..., Any]]] = {
    "redis": ("debian_redis", registers.on_redis),
    "bucket": ("bucket", registers.on_bucket),
    "etcd": ("etcd", registers.on_etcd),
    "memory": ("memory", registers.in_memory),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_found(fault: Fault, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(fault, monkeypatch)
    server = request.getfixturevalue(ON[fault.name.partition(":")[0]][0])
    with pytest.raises((AssertionError, TimeoutError, RectbotError, pytest.fail.Exception)) as found:
        async with asyncio.timeout(60 if fault.file == GATEWAY else LIMIT_S):
            await _run(fault, server)
    print(f"{fault.name}: {found.value!r:.200}")


@pytest.mark.parametrize("fault", {fault.found_by + fault.name[:3]: fault for fault in FAULTS}.values(),
                         ids=lambda fault: f"{fault.name[:3]} {fault.found_by}")  # fmt: skip
async def test_without_it_there_is_nothing_to_find(fault: Fault, request: pytest.FixtureRequest) -> None:
    await _run(fault, request.getfixturevalue(ON[fault.name.partition(":")[0]][0]))


def _plant(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault.file == LUA:
        script = fault.planted()
        monkeypatch.setattr(link, "SCRIPT", script)
        monkeypatch.setattr(link, "_SHA", hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest())
        return
    made = load(fault.path, fault.line, fault.instead)
    for module, name in USES[fault.file]:
        monkeypatch.setattr(module, name, getattr(made, name, made))


USES: dict[str, list[tuple[ModuleType, str]]] = {
    REGISTER: [(registers, "RedisRegister")],
    KEYS: [(register, "keys")],
    BUCKET: [(registers, "BucketRegister"), (errors, "BucketRegister")],
    ETCD: [(registers, "EtcdRegister"), (errors, "EtcdRegister")],
    GATEWAY: [(etcd_module, "Gateway")],
    MEMORY: [(conformance, "MemoryServer")],
}


async def _run(fault: Fault, server: Any) -> None:
    """The test that finds it, as pytest would run it."""
    name, _, given = fault.found_by.rstrip("]").partition("[")
    test = next(getattr(m, name) for m in (conformance, errors, on_redis_only, upgrade) if hasattr(m, name))
    wanted = inspect.signature(test).parameters.keys()
    async with AsyncExitStack() as stack:
        have: dict[str, Any] = {"redis": server, "etcd": server, "bucket": server, "heeds": given, "command": given}
        if wanted & {"backend", "lasting", "restarted"}:
            on = ON[fault.name.partition(":")[0]][1]
            backend = await stack.enter_async_context(on(server, f"test/{os.urandom(4).hex()}"))
            have |= {"backend": backend, "lasting": backend, "restarted": backend}
        elif isinstance(server, RedisServer):
            server.command("FLUSHALL")
        if "redis_site" in wanted:
            have["redis_site"] = await stack.enter_async_context(sites_on(server))
        found: Awaitable[None] = test(**{each: have[each] for each in wanted})
        await found
