"""The users that `rectbot init` makes, on a real server with the project's files: what a stolen site can do."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis as redis_py
from dotenv import dotenv_values

from checkout import lay_out
from rectbot.failover.clock import boottime_ms
from rectbot.failover.config import FailoverConfig
from rectbot.failover.messages import Campaign, Command, Granted, Release, Renew
from rectbot.failover.store import LeaseStore, open_store
from rectbot.failover.wiring import failover_config, open_store_from_settings
from rectbot.lists import parse_logins
from rectbot.settings import load_settings
from rectbot.stack import configuration, redis_users
from rectbot.stack.init import init
from rectbot.stack.layout import Layout
from servers import free_port
from servers_monitoring import ROOT, running

# DEBUG and MODULE are refused to everybody, in other words than by the rights.
REFUSED = "(no permissions|No permissions|this user|(DEBUG|MODULE) command not allowed)"


@dataclass
class Redis:
    """A server started from what init and the native engine wrote."""

    layout: Layout
    port: int
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def env(self) -> dict[str, str]:
        return {name: value or "" for name, value in dotenv_values(self.layout.env_file).items()}

    def login(self, user: str) -> str:
        env = self.env
        return env["REDIS_PASSWORD"] if user == env["REDIS_USER"] else parse_logins(env["REDIS_PASSWORDS"])[user]

    def start(self) -> None:
        def ready() -> bool:
            try:
                return bool(self.client("hub").ping())
            except redis_py.ConnectionError:
                return False

        command = ["redis-server", str(self.layout.folder("redis") / "redis.conf")]
        self.stack.enter_context(running(command, self.layout.home / "redis.log", ready))

    def restart(self) -> None:
        self.stack.close()
        self.start()

    def client(self, user: str, password: str | None = None) -> redis_py.Redis:
        password = self.login(user) if password is None else password
        return redis_py.Redis(port=self.port, username=user, password=password, protocol=2)


@contextmanager
def server(home: Path, env: str | None = None) -> Iterator[Redis]:
    lay_out(home, ".env.example", "docker/monitoring/redis")
    layout = Layout(home, home / "var" / "main")
    port = free_port()
    if env is not None:
        layout.env_file.write_text(env)
    list(init(layout))
    redis = Redis(layout, port)
    settings = load_settings(rectbot_home=home, redis_port=port)
    configuration._redis(settings, layout)
    with redis.stack:
        redis.start()
        yield redis


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with server(tmp_path_factory.mktemp("redis")) as started:
        yield started


def store_of(redis: Redis, user: str, config: FailoverConfig) -> LeaseStore:
    return open_store(config, port=redis.port, username=user, password=redis.login(user))


HOSTILE = """\
ACL SETUSER me on nopass ~* &* +@all
ACL SETUSER xserver ~* +@all
ACL DELUSER oci
ACL LIST
ACL GETUSER hub
ACL SAVE
ACL LOAD
CONFIG SET appendonly no
CONFIG SET appendfsync no
CONFIG SET requirepass x
CONFIG SET dir /tmp
CONFIG SET protected-mode no
CONFIG GET *
CONFIG REWRITE
CONFIG RESETSTAT
DEBUG SLEEP 0
DEBUG JMAP
SHUTDOWN NOSAVE
FLUSHALL
FLUSHDB
SWAPDB 0 1
REPLICAOF 127.0.0.1 1
SLAVEOF 127.0.0.1 1
FAILOVER
CLUSTER INFO
MODULE LOAD /tmp/x.so
MODULE LIST
FUNCTION LOAD x
FUNCTION FLUSH
SCRIPT FLUSH
SCRIPT KILL
CLIENT KILL TYPE normal
CLIENT KILL ID 1
CLIENT LIST
CLIENT PAUSE 100000
CLIENT NO-EVICT on
MONITOR
SAVE
BGSAVE
BGREWRITEAOF
KEYS *
SCAN 0
RANDOMKEY
DBSIZE
LATENCY RESET
SLOWLOG GET
MIGRATE 127.0.0.1 1 rectbot:leader 0 1
RESTORE rectbot:leader 0 x
DUMP rectbot:leader
RENAME rectbot:leader others:leader
COPY others:secret rectbot:copy
MOVE rectbot:leader 1
OBJECT FREQ others:secret
GET others:secret
SET others:secret x
DEL others:secret
HGETALL others:secret
PTTL others:secret
PEXPIRE others:secret 1
XRANGE others:stream - +
GET rectbo
GET rectbotx:leader
GET xrectbot:leader
SUBSCRIBE others:changed
PSUBSCRIBE *
PUBLISH others:changed x
WAIT 1 0
SYNC
PSYNC ? -1
""".splitlines()


@pytest.mark.parametrize("user", ["xserver", "oci"])
@pytest.mark.parametrize("line", HOSTILE)
def test_a_stolen_site_may_do_nothing_but_take_part_in_the_lease(redis: Redis, user: str, line: str) -> None:
    with redis.client(user) as client, pytest.raises(redis_py.ResponseError, match=REFUSED):
        client.execute_command(*line.split(" "))


@pytest.mark.parametrize("line", HOSTILE)
def test_not_in_a_script_either(redis: Redis, line: str) -> None:
    words = ", ".join(repr(word) for word in line.split(" "))
    refused = "can't (run this command|access at least one|publish)|not allowed from script"
    with redis.client("xserver") as client, pytest.raises(redis_py.ResponseError, match=refused):
        client.eval(f"return redis.call({words})", 0)


@pytest.mark.parametrize("line", [line for line in HOSTILE if not line.startswith("CONFIG GET")])
def test_the_hub_may_little_more(redis: Redis, line: str) -> None:
    with redis.client("hub") as client, pytest.raises(redis_py.ResponseError, match=REFUSED):
        client.execute_command(*line.split(" "))


@pytest.mark.parametrize("login", [(), ("default",), ("default", "")])
def test_default_is_off(redis: Redis, login: tuple[str, ...]) -> None:
    with redis_py.Redis(port=redis.port) as client:
        if login:
            with pytest.raises(redis_py.RedisError):
                client.execute_command("AUTH", *login, *(["x"] if len(login) == 1 else []))
        for line in ("PING", "GET rectbot:leader", "INFO"):
            with pytest.raises(redis_py.AuthenticationError):
                client.execute_command(*line.split(" "))


@pytest.mark.parametrize(
    ("user", "whose"), [("xserver", "oci"), ("xserver", "hub"), ("hub", "oci"), ("default", "hub")]
)
def test_a_password_is_one_user_s(redis: Redis, user: str, whose: str) -> None:
    with redis.client(user, redis.login(whose)) as client, pytest.raises(redis_py.AuthenticationError):
        client.ping()


@pytest.mark.parametrize("user", ["xserver", "oci", "hub"])
async def test_the_rights_are_enough_for_the_whole_of_the_store(redis: Redis, user: str) -> None:
    with redis.client("hub") as client:  # each user begins with an empty store
        for key in ("rectbot:leader", *(f"rectbot:leader:{n}" for n in ("epoch", "reserved", "operator", "counts"))):
            client.delete(key)
    store = store_of(redis, user, FailoverConfig(site="xserver", lock_ttl_ms=3_000))
    heard = asyncio.Event()
    ears = asyncio.create_task(store.listen(heard.set))
    try:
        await store.initialise()
        async with asyncio.timeout(20):
            granted = await store.request(Campaign(True, 0), boottime_ms() + 2_000)
            while not isinstance(granted, Granted):
                await asyncio.sleep(0.05)
                granted = await store.request(Campaign(True, 0), boottime_ms() + 2_000)
            await heard.wait()
        await store.request(Renew(granted.epoch), boottime_ms() + 2_000)
        await store.command(Command("hold", "eve", for_ms=1_000))
        await store.command(Command("unhold", "eve"))
        await store.request(Release(granted.epoch, "test", leaving=True), boottime_ms() + 2_000)
        assert (await store.snapshot()).leader is None
        assert await store.events()
    finally:
        ears.cancel()
        await store.close()


@pytest.mark.parametrize("env", [None, "REDIS_PASSWORD=the-old-one\n"], ids=["new", "upgraded"])
async def test_what_a_site_wrote_is_still_there_after_a_restart(tmp_path: Path, env: str | None) -> None:
    with server(tmp_path, env) as redis:
        store = store_of(redis, "xserver", FailoverConfig(site="xserver"))
        await store.command(Command("hold", "eve", for_ms=600_000))
        before = await store.events()
        assert [event.kind for event in before][-1] == "hold"
        with redis.client("xserver") as client:
            record = client.get("rectbot:state")
        await store.close()
        redis.restart()
        with redis.client("xserver") as client:
            assert client.get("rectbot:state") == record
        store = store_of(redis, "oci", FailoverConfig(site="oci"))
        assert await store.events() == before
        await store.close()


def test_nobody_gets_in_without_a_name(redis: Redis) -> None:
    for password in (None, "", "x", redis.login("hub")):
        with redis_py.Redis(port=redis.port, password=password, protocol=2) as client:
            for words in (("PING",), ("GET", "rectbot:leader"), ("ACL", "WHOAMI")):
                with pytest.raises((redis_py.AuthenticationError, redis_py.exceptions.NoPermissionError)):
                    client.execute_command(*words)


def test_the_documentation_names_the_same_rights() -> None:
    rule = re.search(r"^ACL SETUSER rectbot (.*)$", (ROOT / "docs" / "redis.md").read_text(), re.MULTILINE)
    assert rule
    assert {word[1:] for word in rule[1].split() if word.startswith("+")} == set(redis_users.COMMANDS)


def test_the_files_hold_no_password_and_only_their_owner_reads_them(redis: Redis) -> None:
    folder = redis.layout.folder("redis")
    for path in (redis.layout.env_file, folder / "redis.conf", folder / "users.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    users = (folder / "users.conf").read_text()
    assert users == (redis.layout.container_secrets / "redis-auth.conf").read_text(), "both engines have the same"
    assert not any(redis.login(user) in users for user in ("hub", "xserver", "oci"))


@pytest.mark.parametrize(
    "names",
    [
        {"LEADER_LOCK_KEY": "bots:alpha:leader", "HB_PREFIX": "bots:alpha:hb:"},
        {"LEADER_LOCK_KEY": "lock", "HB_PREFIX": "beats-"},
        {"LEADER_LOCK_KEY": "a*b?[c]:leader", "HB_PREFIX": "a*b?[c]:hb:"},
        {"LEADER_LOCK_KEY": "with blank:leader", "HB_PREFIX": "with blank:'hb':"},
    ],
    ids=lambda names: names["LEADER_LOCK_KEY"],
)
async def test_rights_follow_the_keys_of_the_settings(tmp_path: Path, names: dict[str, str]) -> None:
    with server(tmp_path, "".join(f'{name}="{value}"\n' for name, value in names.items())) as redis:
        settings = load_settings(rectbot_home=tmp_path, redis_port=redis.port, redis_user="oci")
        store = open_store_from_settings(settings, failover_config(settings, observer=True))
        try:
            assert (await store.snapshot()).leader is None
        finally:
            await store.close()
        with redis.client("oci") as client:
            client.set(names["LEADER_LOCK_KEY"], "x")
            client.set(f"{names['HB_PREFIX']}oci", "x")
            for other in ("rectbot:leader", "aXb:leader", "bots:beta:leader", "abc:leader"):
                with pytest.raises(redis_py.exceptions.NoPermissionError):
                    client.get(other)


async def test_an_older_env_file_is_upgraded_and_the_other_host_is_not_locked_out(tmp_path: Path) -> None:
    with server(tmp_path, "REDIS_PASSWORD=the-old-one\n") as redis:
        env = redis.env
        assert env["REDIS_USER"] == "hub"
        assert "the-old-one" not in (env["REDIS_PASSWORD"], *parse_logins(env["REDIS_PASSWORDS"]).values())
        with redis_py.Redis(port=redis.port, password="the-old-one") as client:
            client.set("rectbot:hb:xserver", "x")
            with pytest.raises(redis_py.exceptions.NoPermissionError):
                client.config_get("dir")
    list(init(redis.layout, rotate="redis"))
    after = redis.env
    assert not after["REDIS_DEFAULT_PASSWORD"]
    assert all(after[name] != env[name] for name in ("REDIS_PASSWORD", "REDIS_PASSWORDS"))
    assert "user default off" in (redis.layout.container_secrets / "redis-auth.conf").read_text()
