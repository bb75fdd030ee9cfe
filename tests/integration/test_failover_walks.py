"""The same random requests to the scripts in a real Redis and to their model in memory: they must answer alike.

The simulator proves things of the model; this is why they hold for the scripts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rectbot.failover import FailoverConfig
from rectbot.failover.codec import decode, decode_event, decode_outcome, encode, encode_command
from rectbot.failover.link import Script
from rectbot.failover.messages import (
    Campaign,
    Command,
    Ending,
    Granted,
    Logins,
    Outcome,
    Refused,
    Release,
    Renew,
    Renewed,
    Reply,
    Request,
)
from rectbot.failover.orders import obey
from rectbot.failover.resp import Connection
from rectbot.failover.store import open_store
from rectbot.failover.table import LeaseTable
from rectbot.failover.watch import Seal
from servers import PASSWORD, RedisServer, redis_server

WALKS, STEPS = 24, 120
NEAR_MS = 6  # Redis reckons expiries from when it began to work off what had arrived, the scripts from when they began
NAMES = ("a", "b", "c")
ENDINGS: list[Ending] = [
    "released",
    "released",
    "released",
    "released",
    "handed-over",
    "renew-failed",
    "workload-failed",
]


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_server(folder, persistent=False) as server:
        yield server


class Walk:
    """One walk: what was done on both sides, and what each said."""

    def __init__(self, redis: RedisServer, seed: int) -> None:
        self.rng = Random(seed)
        self.configs = {
            name: FailoverConfig(
                site=name,
                priority=NAMES,
                lock_key=f"walk{seed}:leader",
                hb_prefix=f"walk{seed}:hb:",
                lock_ttl_ms=500,
                failback_delay_sec=0.1,
                login_budget=500 if seed % 3 else 40,
                hb_ttl_sec=0.7,
                owner=f"{name}0",
            )
            for name in NAMES
        }
        self.stores = {
            name: open_store(config, port=redis.port, password=PASSWORD) for name, config in self.configs.items()
        }
        self.table = LeaseTable()
        self.numbers = dict.fromkeys(NAMES, 0)
        self.epochs = dict.fromkeys(NAMES, 0)
        self.now = self.era = 0
        self.replies: set[str] = set()

    async def go(self) -> None:
        self.link = await Connection.open(self.stores["a"].endpoint)
        for _ in range(STEPS):
            await asyncio.sleep(self.rng.choice((0, 0, 0.005, 0.02, 0.06, 0.15)))
            await self.step()
        entries = await self.link.call("XRANGE", self.configs["a"].events_key, "-", "+")
        told = [(e.kind, e.site, e.owner, e.epoch, e.why) for e in map(decode_event, entries)]
        assert told == [(e.kind, e.site, e.owner, e.epoch, e.why) for e in self.table.journal]
        self.link.abort()

    async def step(self) -> None:
        rng, name = self.rng, self.rng.choice(NAMES)
        dice = rng.random()
        if dice < 0.08:
            await self.command(name)
        elif dice < 0.10:
            self.table.run += 1  # with its data
        elif dice < 0.11 and len(self.table.journal) > 5:
            await self.forget()
        elif dice < 0.13:
            life = int(self.configs[name].owner[1:]) + 1
            self.configs[name] = replace(self.configs[name], owner=f"{name}{life}")
            self.numbers[name] = 0
        else:
            await self.request(name, self.some_request(name))

    def some_request(self, name: str) -> Request:
        rng = self.rng
        epoch = self.epochs[name] if rng.random() < 0.9 else self.epochs[rng.choice(NAMES)]
        logins = Logins(rng.randrange(3), rng.choice((None, None, 100, 5)))
        kind = rng.choice(("campaign", "campaign", "campaign", "renew", "renew", "release"))
        if kind == "campaign":
            return Campaign(rng.random() < 0.85, rng.choice((0, epoch)), logins)
        if kind == "renew":
            return Renew(epoch, logins)
        to = rng.choice(("", "", "", "", *NAMES))
        return Release(epoch, "why", to, rng.random() < 0.7, rng.random() < 0.2, rng.choice(ENDINGS), logins)

    async def run(self, name: str, script: str, fields: dict[str, Any]) -> dict[str, Any]:
        """As Link does, but with what it says of itself made up."""
        store = self.stores[name]
        given = store._fields | fields | {"owner": self.configs[name].owner, "term": f":{self.table.run}", "report": {}}
        source = Script("common", script).source
        text = json.dumps(given | {"not_after": 2**52})
        answer: dict[str, Any] = json.loads(await self.link.call("EVAL", source, len(store._keys), *store._keys, text))
        self.now, self.era = answer["now"], answer["era"]
        return answer

    async def request(self, name: str, request: Request) -> None:
        rng = self.rng
        if rng.random() < 0.95:
            self.numbers[name] += 1
        heard = None if rng.random() < 0.1 else self.now
        seal = Seal(self.numbers[name], heard, rng.choice((0, 0, 10, 100, 600)), rng.choice((0, 0, 0, 40)))
        era, models_era = (self.era, self.table.era) if rng.random() < 0.8 else (1, 1)
        script, fields = encode(request)
        answer = await self.run(name, script, fields | seal._replace(era=era).fields())
        said = None if answer["status"] == "overtaken" else decode(answer)
        for off in sorted(range(-NEAR_MS, NEAR_MS + 1), key=abs):
            model = self.table.copy()
            done = model.handle(self.configs[name], request, self.now + off, seal._replace(era=models_era))
            if alike(said, done[0] if done else None):
                self.table = model
                break
        else:
            raise AssertionError(f"{name}: {request} {seal} -> {said}, but the model says {done}")
        if isinstance(said, Granted):
            self.epochs[name] = said.epoch
        self.replies.add(f"{answer['status']} {said.why}" if isinstance(said, Refused) else answer["status"])

    async def command(self, name: str) -> None:
        act: Any = self.rng.choice(("switch", "switch", "hold", "unhold", "unhold", "drain", "undrain", "undrain"))
        command = Command(act, "eve", "", self.rng.choice(NAMES), self.rng.choice((100, 300)))
        fields = encode_command(command, NAMES, 1_000)
        answer = await self.run(name, "command", fields | {"number": 2**40})
        said: Outcome = decode_outcome(answer)
        for off in sorted(range(-NEAR_MS, NEAR_MS + 1), key=abs):
            model = self.table.copy()
            if obey(model, self.configs[name], command, self.now + off) == said:
                self.table = model
                break
        else:
            raise AssertionError(f"{command} -> {said}, but the model disagrees")
        self.replies.add(answer["status"])

    async def forget(self) -> None:
        config, run = self.configs["a"], self.table.run
        keys = [config.lock_key, config.epoch_key, config.reserved_key, config.events_key, config.operator_key]
        await self.link.call("DEL", *keys, config.counts_key, *map(config.heartbeat_key, NAMES))
        self.table = LeaseTable(run=run)


def alike(said: Reply | None, modelled: Reply | None) -> bool:
    """The same but for a few milliseconds."""
    if isinstance(said, Refused) and isinstance(modelled, Refused):
        return near(said.wait_ms, modelled.wait_ms) and said._replace(wait_ms=None) == modelled._replace(wait_ms=None)
    if isinstance(said, Renewed) and isinstance(modelled, Renewed):
        same = said._replace(yield_in_ms=None) == modelled._replace(yield_in_ms=None)
        return same and near(said.yield_in_ms, modelled.yield_in_ms)
    return said == modelled


def near(one: int | None, other: int | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= 4 * NEAR_MS)


async def test_the_scripts_and_their_model_answer_alike(shared_redis: RedisServer) -> None:
    walks = [Walk(shared_redis, seed) for seed in range(WALKS)]
    for few in range(0, WALKS, 12):
        await asyncio.gather(*(walk.go() for walk in walks[few : few + 12]))
    seen = set().union(*(walk.replies for walk in walks))
    whys = ("held", "preferred", "suspended", "in doubt", "ineligible", "drained")
    assert seen >= {f"refused {why}" for why in whys}, "a walk that never goes there proves nothing about it"
    assert seen >= {"granted", "renewed", "lost", "released", "overtaken", "accepted", "declined"}
