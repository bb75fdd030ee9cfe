"""--app module:factory: what is found, and the one line that says what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import discord
import pytest

from rectbot.bot.app import load_app
from rectbot.bot.client import RectbotClient
from rectbot.errors import ConfigError
from rectbot.failover import Lease

LEASE = Lease("oci", "oci:test", 4, None)
GOOD = """
import discord
made = []
def make():
    made.append(1)
    return discord.Client(intents=discord.Intents.none())
def make_with(lease):
    client = make()
    client.epoch = lease.epoch
    return client
class Bot(discord.Client):
    def __init__(self):
        super().__init__(intents=discord.Intents.none())
instance = make()
async def coroutine():
    return make()
def nothing():
    pass
def broken():
    raise ValueError("no settings\\nsecond line")
def own_connector():
    return discord.Client(intents=discord.Intents.none(), connector=object())
text = "text"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes modules into the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_without_an_app_it_is_our_bot() -> None:
    client = load_app(None)(LEASE)
    assert isinstance(client, RectbotClient)
    assert client.lease is LEASE


@pytest.mark.parametrize("factory", ["make", "Bot"])
def test_each_lease_gets_a_fresh_client(module: Callable[[str, str], None], factory: str) -> None:
    module("userbot_good", GOOD)
    make = load_app(f"userbot_good:{factory}")
    first, second = make(LEASE), make(LEASE)
    assert isinstance(first, discord.Client)
    assert first is not second


def test_a_factory_may_take_the_lease(module: Callable[[str, str], None]) -> None:
    module("userbot_lease", GOOD)
    assert load_app("userbot_lease:make_with")(LEASE).epoch == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("app", "told"),
    [
        ("userbot", "write module:factory"),
        (":make", "write module:factory"),
        ("userbot:", "write module:factory"),
        ("no_such_bot:make", "there is no module no_such_bot in "),
        ("userbot.sub:make", "there is no module userbot.sub in "),
        ("userbot:absent", r"userbot \(.*userbot\.py\) has no absent"),
        ("userbot:text", "text is not a function"),
        ("userbot:instance", "instance is a client; name a function that makes one"),
        ("needs:make", "needs needs the module not_installed_here; install it"),
        ("wrong:make", "wrong cannot be imported: SyntaxError"),
        ("raises:make", "raises cannot be imported: RuntimeError: at import"),
    ],
)
def test_what_cannot_be_found_is_told_at_once(module: Callable[[str, str], None], app: str, told: str) -> None:
    module("userbot", GOOD)
    module("needs", "import not_installed_here")
    module("wrong", "def make(:")
    module("raises", "raise RuntimeError('at import')")
    with pytest.raises(ConfigError, match=told) as caught:
        load_app(app)
    assert str(caught.value).startswith(f"--app {app}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("nothing", "must return a discord.Client, it returned NoneType"),
        ("coroutine", "it returned a coroutine: make it a plain function"),
        ("broken", "the factory failed: ValueError: no settings"),
        ("own_connector", "has its own connector, which the lease cannot guard"),
    ],
)
def test_what_a_factory_returns_is_checked(module: Callable[[str, str], None], factory: str, told: str) -> None:
    module("userbot_returns", GOOD)
    make = load_app(f"userbot_returns:{factory}")
    with pytest.raises(ConfigError, match=told) as caught:
        make(LEASE)
    assert "\n" not in str(caught.value)
