"""The local Discord under what no good client sends: hostile pages, odd bodies, options of wrong types. Never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discord_helpers import TOKEN, RawGateway, entries
from localdiscord.discord import Running, local_discord
from localdiscord.options import WrongOptionError, check_options
from localdiscord.world import CHANNEL_ID, GUILD_ID, PERSON_ID, World

AUTH = {"Authorization": f"Bot {TOKEN}"}
HOOK = "/api/webhooks/7/secret"
MESSAGES = f"/api/v10/channels/{CHANNEL_ID}/messages"
APPLICATION = "/api/v10/applications/1000000000000000001"


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        yield running


async def ask(discord: Running, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.request(method, discord.url + path, **options) as answer:
        return answer.status, await answer.text()


# --- hostile web pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Referer": "https://evil.example/page"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/control"),
        ("POST", "/control/interaction"),
        ("POST", "/control/message"),
        ("POST", HOOK),
        ("POST", MESSAGES),
        ("GET", "/journal"),
        ("GET", "/webhooks"),
        ("GET", "/api/v10/gateway"),
        ("GET", "/gateway"),
    ],
)
async def test_a_page_of_another_site_is_refused(
    method: str, path: str, headers: dict[str, str], discord: Running
) -> None:
    if method == "GET" and set(headers) == {"Referer"}:
        return  # of a link that somebody follows; what a page may read of it the browser decides
    status, text = await ask(discord, method, path, headers=AUTH | headers, data=b"{}")
    assert status in {403, 421}
    assert text.startswith("refused: ")
    assert not entries(discord, "rest", "control", "webhook", "socket_open")


async def test_a_page_of_another_site_gets_no_socket(discord: Running) -> None:
    async with aiohttp.ClientSession() as http:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{discord.url}/gateway?v=10&encoding=json", headers=headers)
            assert refused.value.status in {403, 421}
    assert not entries(discord, "socket_open")


# --- odd bodies

DEEP = b"[" * 200_000
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
ODD: list[tuple[dict[str, str], bytes]] = [
    (JSON, b""),
    (JSON, DEEP),
    (JSON, b'{"a":' * 100_000),
    (JSON, b'{"content": "x", "flags": ' + b"9" * 5000 + b"}"),
    (JSON, b'{"content": ' + b"9" * 5000 + b"}"),
    (JSON, b'{"content": "x", "flags": 1e999}'),
    (JSON, b'{"content": "x", "flags": -1}'),
    (JSON, b'{"content": "x", "flags": NaN}'),
    (JSON, b'{"content": {"a": 1}}'),
    (JSON, b'{"content": "x", "embeds": {"a": 1}}'),
    (JSON, b'{"content": "x", "embeds": [1, null, []]}'),
    (JSON, b'{"content": "x", "embeds": [{"fields": [1, {"name": []}]}]}'),
    (JSON, b'{"content": "x", "components": 7}'),
    (JSON, b'[{"content": "x"}]'),
    (JSON, b'"text"'),
    (JSON, b"\xff\xfe"),
    ({"Content-Type": "application/json; charset=nonsense"}, b'{"content": "x"}'),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"no gzip"),
    ({"Content-Type": "application/json", "Content-Encoding": "deflate"}, b"no deflate"),
    ({"Content-Type": "text/plain"}, b"x"),
    ({"Content-Type": "nonsense"}, b"x"),
    ({"Content-Type": "multipart/form-data"}, b"x"),
    (FORM, b""),
    (FORM, b"no part at all"),
    (FORM, b"--x\r\n"),
    (FORM, b"--x\r\nContent-Disposition: form-data; name=payload_json\r\n\r\n{\r\n--x--\r\n"),
    (FORM, b"--x\r\nContent-Disposition: nonsense; =\r\n\r\n{}\r\n--x--\r\n"),
    (FORM, b"--x\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=a\r\n\r\n!\r\n--x--\r\n"),
    (FORM, b"--x\r\nContent-Encoding: gzip\r\nContent-Disposition: form-data; name=a\r\n\r\n!\r\n--x--\r\n"),
    ({"Content-Type": "application/x-www-form-urlencoded"}, b"payload_json=%7B"),
    ({"Content-Type": "application/x-www-form-urlencoded"}, b"%ff=%ff&&&="),
]


@pytest.mark.parametrize(
    "command",
    [
        {"type": 2},
        {"type": False},
        {"type": []},
        {"name": "a", "type": 9},
        {"name": {"a": 1}, "type": 3},
        {"name": "a", "description": "d", "options": {"a": 1}},
        {"name": "a", "description": "d", "options": [{}]},
        {"name": "a", "description": "d", "options": [{"name": "b", "type": 3, "options": [7]}]},
        {"name": "a", "description": "d", "options": [{"name": "b", "type": 3, "choices": [7]}]},
        {"name": "a", "description": "d", "options": [{"name": "b", "type": 4, "min_value": "x"}]},
    ],
)
async def test_an_odd_command_is_not_registered(command: dict[str, Any], discord: Running) -> None:
    for method, body in (("POST", command), ("PUT", [command])):
        status, text = await ask(discord, method, f"{APPLICATION}/commands", headers=AUTH, json=body)
        assert (status, json.loads(text)["code"]) == (400, 50035)


@pytest.mark.parametrize("path", [HOOK, MESSAGES, f"{APPLICATION}/commands"])
@pytest.mark.parametrize("number", range(len(ODD)))
async def test_an_odd_body_is_refused_with_a_sentence(number: int, path: str, discord: Running) -> None:
    headers, body = ODD[number]
    status, text = await ask(discord, "POST", path, headers=AUTH | headers, data=body)
    assert status == 400, text[:300]
    answer = json.loads(text)
    assert answer["message"]
    assert isinstance(answer["code"], int)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    "content",
    "embeds",
    "flags",
    "components",
    "username",
    "type",
    "data",
    "name",
    "description",
    "options",
    "value",
)
BODY = (
    st.dictionaries(st.sampled_from(KEYS), ANY, max_size=6)
    | ANY
    | st.lists(st.dictionaries(st.sampled_from(KEYS), ANY))
)


def test_no_body_is_a_500() -> None:
    """Any JSON, to every place that takes some."""

    async def run(bodies: list[Any]) -> None:
        async with local_discord(TOKEN) as discord:
            for body in bodies:
                for method, path in (
                    ("POST", HOOK),
                    ("POST", MESSAGES),
                    ("POST", f"{APPLICATION}/commands"),
                    ("PUT", f"{APPLICATION}/commands"),
                    ("POST", "/control"),
                    ("POST", "/control/interaction"),
                    ("POST", "/control/message"),
                    ("POST", f"{MESSAGES}/bulk-delete"),
                ):
                    discord.discord.rate_limits._windows.clear()
                    discord.discord.faults.__init__()  # type: ignore[misc]
                    status, text = await ask(discord, method, path, headers=AUTH | JSON, data=json.dumps(body).encode())
                    assert status != 500, (path, body, text)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(BODY, min_size=5, max_size=10))
    def check(bodies: list[Any]) -> None:
        asyncio.run(run(bodies))

    check()


# --- reactions


async def test_reactions_are_counted_and_told(discord: Running) -> None:
    async with await RawGateway.connect(discord) as gateway:
        await gateway.log_in(intents=1 << 9 | 1 << 10)
        _, text = await ask(discord, "POST", MESSAGES, headers=AUTH, json={"content": "x"})
        message = json.loads(text)["id"]
        place = f"{MESSAGES}/{message}/reactions"
        for emoji in ("%F0%9F%91%8D", "party:123456789012345678"):
            assert (await ask(discord, "PUT", f"{place}/{emoji}/@me", headers=AUTH))[0] == 204
            added = (await gateway.receive_until(event="MESSAGE_REACTION_ADD"))["d"]
            assert added["message_id"] == message
            await asyncio.sleep(0.3)  # the limit of Discord: one in 250 ms
        assert added["emoji"] == {"id": "123456789012345678", "name": "party"}
        _, text = await ask(discord, "GET", f"{place}/%F0%9F%91%8D?limit=5", headers=AUTH)
        assert [user["bot"] for user in json.loads(text)] == [True]
        _, text = await ask(discord, "GET", f"{MESSAGES}/{message}", headers=AUTH)
        assert [(each["emoji"]["name"], each["count"]) for each in json.loads(text)["reactions"]] == [
            ("👍", 1),
            ("party", 1),
        ]
        assert (await ask(discord, "DELETE", f"{place}/%F0%9F%91%8D/@me", headers=AUTH))[0] == 204
        gone = (await gateway.receive_until(event="MESSAGE_REACTION_REMOVE"))["d"]
        assert gone["emoji"] == {"id": None, "name": "👍"}
        await asyncio.sleep(0.3)
        status, text = await ask(discord, "PUT", f"{place}/nonsense/@me", headers=AUTH)
        assert (status, json.loads(text)["code"]) == (400, 10014)


# --- options

REGISTERED = [
    {"name": "text", "type": 3, "required": True, "max_length": 5},
    {"name": "count", "type": 4, "min_value": 1, "max_value": 9},
    {"name": "sure", "type": 5},
    {"name": "whom", "type": 6},
    {"name": "ratio", "type": 10},
    {"name": "one", "type": 3, "choices": [{"name": "A", "value": "a"}]},
]


@pytest.mark.parametrize(
    ("given_options", "said"),
    [
        ([], "text is required"),
        ([{"name": "text", "value": 5}], "write a text"),
        ([{"name": "text", "value": "too long"}], "the length must be between"),
        ([{"name": "text", "type": 4, "value": "x"}], "text has type 3"),
        ([{"name": "text", "value": "x"}, {"name": "text", "value": "y"}], "there twice"),
        ([{"name": "text", "value": "x"}, {"name": "count", "value": "1"}], "write a whole number"),
        ([{"name": "text", "value": "x"}, {"name": "count", "value": True}], "write a whole number"),
        ([{"name": "text", "value": "x"}, {"name": "count", "value": 10}], "the value must be between 1 and 9"),
        ([{"name": "text", "value": "x"}, {"name": "sure", "value": "true"}], "write true or false"),
        ([{"name": "text", "value": "x"}, {"name": "whom", "value": "1"}], f"write a user's id: .*{PERSON_ID}"),
        ([{"name": "text", "value": "x"}, {"name": "whom", "value": []}], "write a user's id"),
        ([{"name": "text", "value": "x"}, {"name": "ratio", "value": "0.5"}], "write a number"),
        ([{"name": "text", "value": "x"}, {"name": "one", "value": "b"}], "choose one of a"),
        ([{"name": "other", "value": "x"}], "no such option; it has text, count"),
        ([7], "no such option"),
    ],
)
def test_an_option_that_nobody_could_choose_is_refused(given_options: list[Any], said: str) -> None:
    with pytest.raises(WrongOptionError, match=said):
        check_options(REGISTERED, given_options, World())


def test_options_get_their_types_also_in_subcommands() -> None:
    world = World()
    options = [
        {"name": "text", "value": "x"},
        {"name": "whom", "value": PERSON_ID},
        {"name": "count", "type": 4, "value": 3},
    ]
    assert [option["type"] for option in check_options(REGISTERED, options, world)] == [3, 6, 4]
    nested = [{"name": "add", "type": 1, "options": REGISTERED}, {"name": "drop", "type": 1}]
    found = check_options(nested, [{"name": "add", "options": options}], world)
    assert found[0]["options"][1] == {"name": "whom", "type": 6, "value": PERSON_ID}
    with pytest.raises(WrongOptionError, match="choose one of add, drop"):
        check_options(nested, [], world)


async def test_a_wrong_option_is_a_400(discord: Running) -> None:
    commands = [{"name": "give", "description": "d", "options": REGISTERED}]
    await ask(discord, "PUT", f"{APPLICATION}/guilds/{GUILD_ID}/commands", headers=AUTH, json=commands)
    status, text = await ask(discord, "POST", "/control/interaction", json={"command": "give"})
    assert (status, json.loads(text)["error"]) == (400, "options: text is required")
