"""REST, webhooks and control of the local Discord, over HTTP as clients use it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from discord_helpers import TOKEN, entries
from localdiscord.discord import Running, local_discord
from localdiscord.errors import CannotServeError

AUTH = {"Authorization": f"Bot {TOKEN}"}
HOOK = "/api/webhooks/7/secret-hook-token"


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(http: aiohttp.ClientSession, method: str, url: str, **kwargs: Any) -> tuple[int, Any, dict[str, str]]:
    async with http.request(method, url, **kwargs) as answer:
        text = await answer.text()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, json.loads(text) if text else None, headers


async def test_the_api_wants_the_token(discord: Running, http: aiohttp.ClientSession) -> None:
    me = f"{discord.url}/api/v10/users/@me"
    for headers in ({}, {"Authorization": "Bot wrong"}, {"Authorization": f"Bearer {TOKEN}"}):
        status, body, _ = await ask(http, "GET", me, headers=headers)
        assert (status, body) == (401, {"message": "401: Unauthorized", "code": 0})
    status, body, headers = await ask(http, "GET", me, headers=AUTH)
    assert (status, body["bot"]) == (200, True)
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v9/users/@me", 400, 50041),
        ("/api/v10/nonsense", 404, 0),
        ("/api/v10/users/1", 404, 10013),
        ("/api/v10/guilds/1", 404, 10004),
        ("/api/v10/channels/1/messages", 404, 10003),
        ("/api/v10/applications/1/commands", 404, 10002),
    ],
)
async def test_what_does_not_exist(
    discord: Running, http: aiohttp.ClientSession, path: str, status: int, code: int
) -> None:
    got, body, _ = await ask(http, "GET", discord.url + path, headers=AUTH)
    assert (got, body["code"]) == (status, code)


async def test_the_gateway_is_found_under_the_prefix_of_the_site(discord: Running, http: aiohttp.ClientSession) -> None:
    _, body, _ = await ask(http, "GET", f"{discord.api_url('oci')}/gateway/bot", headers=AUTH)
    assert body["url"] == discord.url.replace("http", "ws") + "/sites/oci/gateway"
    assert body["session_start_limit"] == {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
    _, body, _ = await ask(http, "GET", f"{discord.api_url()}/gateway")
    assert body["url"] == discord.url.replace("http", "ws") + "/gateway"
    assert [entry["site"] for entry in entries(discord, "rest")] == ["oci", None]


async def test_commands_keep_their_ids_when_registered_again(discord: Running, http: aiohttp.ClientSession) -> None:
    _, application, _ = await ask(http, "GET", f"{discord.api_url()}/applications/@me", headers=AUTH)
    url = f"{discord.api_url()}/applications/{application['id']}/commands"
    ping, status = ({"name": name, "description": "d"} for name in ("ping", "status"))
    _, first, _ = await ask(http, "PUT", url, headers=AUTH, json=[ping])
    _, second, _ = await ask(http, "PUT", url, headers=AUTH, json=[status, ping])
    assert second[1]["id"] == first[0]["id"]
    _, listed, _ = await ask(http, "GET", url, headers=AUTH)
    assert [command["name"] for command in listed] == ["status", "ping"]
    got, body, _ = await ask(http, "PUT", url, headers=AUTH, json=[{"name": "Ping Me", "description": ""}])
    assert got == 400
    assert set(body["errors"]["0"]) == {"name", "description"}


async def test_messages_are_limited_per_channel(discord: Running, http: aiohttp.ClientSession) -> None:
    guild = discord.discord.world.guild
    channel = guild["system_channel_id"]
    url = f"{discord.api_url()}/channels/{channel}/messages"
    answers = [await ask(http, "POST", url, headers=AUTH, json={"content": f"m{number}"}) for number in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert [headers["x-ratelimit-remaining"] for _, _, headers in answers] == ["4", "3", "2", "1", "0", "0"]
    _, body, headers = answers[-1]
    assert 0 < body["retry_after"] <= 5
    assert int(headers["retry-after"]) >= body["retry_after"]
    assert headers["x-ratelimit-scope"] == "user"
    _, listed, _ = await ask(http, "GET", url, headers=AUTH)
    assert [message["content"] for message in listed] == ["m4", "m3", "m2", "m1", "m0"]


async def test_a_webhook_keeps_what_it_was_sent(discord: Running, http: aiohttp.ClientSession) -> None:
    status, body, headers = await ask(http, "POST", discord.url + HOOK, json={"content": "hello"})
    assert (status, body) == (204, None)
    assert headers["x-ratelimit-limit"] == "5"
    status, body, _ = await ask(
        http, "POST", f"{discord.api_url()}/webhooks/7/secret-hook-token?wait=true", json={"embeds": [{"title": "t"}]}
    )
    assert (status, body["embeds"][0]["title"]) == (200, "t")
    _, received, _ = await ask(http, "GET", f"{discord.url}/webhooks")
    assert [(sent["status"], sent["payload"]) for sent in received] == [
        (204, {"content": "hello"}),
        (200, {"embeds": [{"title": "t"}]}),
    ]
    assert "secret-hook-token" not in json.dumps([received, entries(discord)])


async def test_a_webhook_takes_files(discord: Running, http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    form.add_field("payload_json", json.dumps({"content": "with a file"}))
    form.add_field("files[0]", b"data", filename="log.txt", content_type="text/plain")
    status, body, _ = await ask(http, "POST", f"{discord.url}{HOOK}?wait=true", data=form)
    assert (status, body["content"], body["attachments"][0]["filename"]) == (200, "with a file", "log.txt")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"data": b"{not json", "headers": {"Content-Type": "application/json"}}, 400, 50109),
        ({"data": b"content=x", "headers": {"Content-Type": "text/plain"}}, 400, 50035),
        ({"json": {"content": "x" * 2001}}, 400, 50035),
        ({"json": {}}, 400, 50006),
    ],
)
async def test_a_webhook_refuses_what_discord_refuses(
    discord: Running, http: aiohttp.ClientSession, request_: dict[str, Any], status: int, code: int
) -> None:
    got, body, _ = await ask(http, "POST", discord.url + HOOK, **request_)
    assert (got, body["code"]) == (status, code)
    [entry] = entries(discord, "webhook")
    assert entry["status"] == status


async def test_a_webhook_knows_its_token(discord: Running, http: aiohttp.ClientSession) -> None:
    await ask(http, "POST", discord.url + HOOK, json={"content": "x"})
    status, body, _ = await ask(http, "POST", f"{discord.url}/api/webhooks/7/other", json={"content": "x"})
    assert (status, body["code"]) == (401, 50027)
    status, body, _ = await ask(http, "POST", f"{discord.url}/api/webhooks/name/other", json={"content": "x"})
    assert (status, body["code"]) == (404, 10015)


async def test_a_webhook_is_limited_to_five_in_two_seconds(discord: Running, http: aiohttp.ClientSession) -> None:
    answers = [await ask(http, "POST", discord.url + HOOK, json={"content": "x"}) for _ in range(6)]
    assert [status for status, _, _ in answers] == [204] * 5 + [429]
    assert 0 < answers[-1][1]["retry_after"] <= 2


async def test_a_webhook_fails_on_request_and_recovers(discord: Running, http: aiohttp.ClientSession) -> None:
    fail = {"webhook_fail": {"status": 429, "times": 2, "retry_after": 0.25}}
    await ask(http, "POST", f"{discord.url}/control", json=fail)
    answers = [await ask(http, "POST", discord.url + HOOK, json={"content": "x"}) for _ in range(3)]
    assert [status for status, _, _ in answers] == [429, 429, 204]
    assert answers[0][1]["retry_after"] == 0.25
    assert answers[0][2]["retry-after"] == "1"
    await ask(http, "POST", f"{discord.url}/control", json={"webhook_fail": {"status": 500, "times": 9}})
    assert (await ask(http, "POST", discord.url + HOOK, json={"content": "x"}))[0] == 500
    await ask(http, "POST", f"{discord.url}/control", json={"webhook_fail": None})
    assert (await ask(http, "POST", discord.url + HOOK, json={"content": "x"}))[0] == 204


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"refuse_login": True}, "refuse_login: Extra inputs"),
        ({"refuse_logins": "yes"}, "refuse_logins: Input should be a valid boolean"),
        ({"delay_ms": -1}, "delay_ms: Input should be greater"),
        ({"drop_sockets": {"code": 1005}}, "drop_sockets.code: Value error, a close code is"),
        ({"webhook_fail": {"status": 418}}, "webhook_fail.status"),
        ([1], "body: Input should be"),
    ],
)
async def test_control_says_what_is_wrong(discord: Running, http: aiohttp.ClientSession, body: Any, told: str) -> None:
    before = await ask(http, "GET", f"{discord.url}/control")
    status, answer, _ = await ask(http, "POST", f"{discord.url}/control", json=body)
    assert status == 400
    assert told in answer["error"]
    assert (await ask(http, "GET", f"{discord.url}/control"))[1] == before[1]


async def test_faults_of_a_site_and_of_all(discord: Running, http: aiohttp.ClientSession) -> None:
    for fault in ({"site": "xserver", "delay_ms": 1}, {"refuse_logins": True}, {"site": "oci", "refuse_logins": False}):
        await ask(http, "POST", f"{discord.url}/control", json=fault)
    for site, status in (("xserver", 503), ("oci", 200), (None, 503)):
        assert (await ask(http, "GET", f"{discord.api_url(site)}/users/@me", headers=AUTH))[0] == status
    await ask(http, "POST", f"{discord.url}/control", json={"refuse_logins": False})
    _, shown, _ = await ask(http, "GET", f"{discord.url}/control")
    assert shown["sites"] == {"xserver": {"delay_ms": 1}}


async def test_the_journal_is_filtered(discord: Running, http: aiohttp.ClientSession) -> None:
    await ask(http, "GET", f"{discord.api_url('xserver')}/users/@me", headers=AUTH)
    await ask(http, "POST", discord.url + HOOK, json={"content": "x"})
    async with http.get(f"{discord.url}/journal", params={"event": "webhook,rest"}) as answer:
        lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [(line["event"], line["site"]) for line in lines] == [("rest", "xserver"), ("webhook", None), ("rest", None)]
    assert all(abs(line["time"] - lines[0]["time"]) < 60 for line in lines)
    later = {"since": str(lines[-1]["time"] + 60)}
    async with http.get(f"{discord.url}/journal", params=later) as answer:
        assert await answer.text() == ""
    assert (await ask(http, "GET", f"{discord.url}/journal?since=yesterday"))[0] == 400


async def test_commands_need_a_bot(discord: Running, http: aiohttp.ClientSession) -> None:
    status, body, _ = await ask(http, "POST", f"{discord.url}/control/interaction", json={"command": "ping"})
    assert (status, "no slash command /ping" in body["error"]) == (409, True)


async def test_a_taken_port_is_named(discord: Running) -> None:
    port = int(discord.url.rsplit(":", 1)[1])
    with pytest.raises(CannotServeError, match=f"port {port} on 127.0.0.1 is in use"):
        async with local_discord(TOKEN, port=port):
            raise AssertionError("it served on a port that is taken")


async def test_the_journal_is_appended_to_a_file(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    file = tmp_path / "journal.jsonl"
    for _ in range(2):
        async with local_discord(TOKEN, journal=file) as running:
            await ask(http, "GET", f"{running.api_url()}/users/@me", headers=AUTH)
    assert [json.loads(line)["path"] for line in file.read_text().splitlines()] == ["/api/v10/users/@me"] * 2
