"""A bot that is started with exactly the settings that the documentation shows logs in under the lease only."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from discord_helpers import TOKEN, until
from docs_commands import Shown, env_table, shown_commands
from localdiscord.discord import Running, local_discord
from rectbot.settings import KNOWN, FailoverSettings, Settings
from servers import PASSWORD, RedisServer, redis_server
from servers_monitoring import make_certificate

SHOWN = shown_commands()
TABLE = env_table("operations.md", "Setting up xserver")
CONTRADICTED = [each for each in SHOWN if each.settings.get("FAILOVER_ENABLED") == "false"]
UNDER_THE_LEASE = [each for each in SHOWN if each not in CONTRADICTED]


@dataclass
class Host:
    """A host that was set up by docs/operations.md, and the Redis of the other one."""

    home: Path
    redis: RedisServer
    discord: Running
    env: dict[str, str]

    def write(self, values: dict[str, str]) -> None:
        (self.home / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    @property
    def program_ran(self) -> Path:
        return self.home / "ran"

    @property
    def takes_part(self) -> bool:
        return self.redis.command("EXISTS rectbot:hb:xserver") == b":1\r\n"

    def logged_in(self) -> bool:
        return self.program_ran.exists() or any(self.discord.discord.sessions.live())

    @asynccontextmanager
    async def started(self, *words: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "RECTBOT_HOME": str(self.home),
            **{name: value for name, value in settings.items() if name != "RECTBOT_HOME"},
            "DISCORD_API_URL": self.discord.api_url("xserver"),  # not the real one
        }
        command = (sys.executable, "-m", "rectbot", *words)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self.home, stderr=asyncio.subprocess.PIPE
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def tls_redis(tmp_path: Path) -> Iterator[tuple[RedisServer, str]]:
    """A Redis with TLS on the port that the documentation takes for granted; on an address that nobody else uses."""
    address = "127." + ".".join(str(random.randint(2, 250)) for _ in range(3))
    make_certificate(tmp_path, (address,))
    more = (
        "tls-port 6379\ntls-auth-clients no\n"
        f"user xserver on >{PASSWORD} ~* &* +@all\n"
        f"tls-cert-file {tmp_path}/tls.crt\ntls-key-file {tmp_path}/tls.key\n"
    )
    with redis_server(tmp_path / "redis", host=address, more=more) as redis:
        yield redis, address


@pytest.fixture
async def host(tmp_path: Path, tls_redis: tuple[RedisServer, str]) -> AsyncIterator[Host]:
    redis, address = tls_redis
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    node = home / "bin" / "node"
    node.write_text(f"#!/bin/sh\necho $$ >>{home}/ran\nexec sleep 60\n")
    node.chmod(0o755)
    prose = {  # what the table tells in words
        "DISCORD_BOT_TOKEN": TOKEN,
        "REDIS_HOST": address,
        "REDIS_PASSWORD": redis.password,
        "REDIS_CACERT": str(tmp_path / "tls.crt"),
        "PUSHGATEWAY_CACERT": str(tmp_path / "tls.crt"),
    }
    async with local_discord(TOKEN) as discord:
        host = Host(home, redis, discord, {name: value or prose.get(name, "") for name, value in TABLE.items()})
        host.write(host.env)
        yield host


def test_the_documentation_names_settings_that_exist() -> None:
    assert {"DISCORD_BOT_TOKEN", "REDIS_HOST", "SITE_ID"} <= TABLE.keys() <= KNOWN
    assert len(UNDER_THE_LEASE) >= 2
    assert {name for each in SHOWN for name in each.settings} <= KNOWN


async def test_the_bot_of_a_documented_site_takes_part_in_the_failover(host: Host) -> None:
    """The store is new, so for one TTL (90 s) nobody may log in; one who forgot the lease would do it at once."""
    async with host.started("bot"):
        await until(lambda: host.takes_part or host.logged_in(), within_s=30)
        assert host.takes_part


@pytest.mark.parametrize("store_only", [False, True])
@pytest.mark.parametrize("shown", UNDER_THE_LEASE, ids=lambda shown: shown.where)
async def test_a_documented_command_takes_part_in_the_failover(shown: Shown, store_only: bool, host: Host) -> None:
    """With the whole of a site's .env; and with nothing in it but the store, where the command brings the rest."""
    if store_only:
        host.write({name: value for name, value in host.env.items() if name.startswith("REDIS_")})
    async with host.started(*shown.words, **shown.settings):
        await until(lambda: host.takes_part or host.logged_in(), within_s=30)
        assert host.takes_part


@pytest.mark.parametrize("shown", CONTRADICTED, ids=lambda shown: shown.where)
async def test_a_documented_second_login_is_one_also_at_a_site(shown: Shown, host: Host) -> None:
    async with host.started(*shown.words, **shown.settings | {"DISCORD_BOT_TOKEN": TOKEN}):
        await until(host.logged_in, within_s=30)


FORGOTTEN = {
    "not there": {},
    "empty": {"FAILOVER_ENABLED": ""},
    "commented out": {"# FAILOVER_ENABLED": "true"},
}


@pytest.mark.parametrize("command", [("bot",), ("failover", "run", "--", "node", "bot.js")], ids=" ".join)
@pytest.mark.parametrize("written", FORGOTTEN.values(), ids=FORGOTTEN)
async def test_without_the_switch_nothing_is_started(
    command: tuple[str, ...], written: dict[str, str], host: Host
) -> None:
    host.write({name: value for name, value in host.env.items() if name != "FAILOVER_ENABLED"} | written)
    async with host.started(*command) as process:
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    (line,) = err.decode().splitlines()
    assert line.startswith("rectbot: FAILOVER_ENABLED is not set, but SITE_ID, REDIS_HOST, REDIS_")
    assert "write FAILOVER_ENABLED=true into" in line
    assert "FAILOVER_ENABLED=false if a second login is wanted" in line
    assert not host.logged_in()
    assert not host.takes_part


def test_every_setting_of_the_failover_is_one_that_needs_the_switch() -> None:
    named = {name for name in Settings.model_fields if name.startswith(("redis", "site", "failover", "lease"))}
    assert named <= FailoverSettings.model_fields.keys()
