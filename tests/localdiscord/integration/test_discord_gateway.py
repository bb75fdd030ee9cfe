"""The gateway of the local Discord, frame by frame.

Facts: https://discord.com/developers/docs/events/gateway and .../topics/opcodes-and-status-codes
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from discord_helpers import IDENTIFY, TOKEN, RawGateway, entries, until
from localdiscord.discord import Running, local_discord
from localdiscord.journal import overlaps, sessions


@pytest.fixture
async def discord() -> AsyncIterator[Running]:
    async with local_discord(TOKEN) as running:
        running.discord.logins.window_s = 0
        yield running


async def control(discord: Running, **body: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.post(f"{discord.url}/control", json=body) as answer:
        assert answer.status == 200, await answer.text()
        result: dict[str, Any] = await answer.json()
        return result


async def test_a_login_says_hello_ready_and_guild(discord: Running) -> None:
    async with await RawGateway.connect(discord, site="xserver") as client:
        ready = await client.log_in()
        guild = await client.receive_until(event="GUILD_CREATE")
    assert ready["v"] == 10
    assert ready["guilds"] == [{"id": guild["d"]["id"], "unavailable": True}]
    assert ready["resume_gateway_url"] == f"{discord.url}/sites/xserver/gateway".replace("http", "ws")
    assert (guild["s"], guild["d"]["member_count"]) == (2, 2)
    await until(lambda: bool(entries(discord, "session_close")))
    [session] = sessions(entries(discord))
    assert (session.site, session.session, session.close_code) == ("xserver", ready["session_id"], 1000)


async def test_without_the_guilds_intent_there_is_no_guild(discord: Running) -> None:
    async with await RawGateway.connect(discord) as client:
        await client.log_in(intents=0)
        await client.send(1, 1)
        assert (await client.receive())["op"] == 11  # nothing came between READY and the answer to our heartbeat


SHARDED = {**IDENTIFY, "shard": [2, 2]}
FIRST_FRAMES: list[tuple[Any, int]] = [
    ({"op": 2, "d": {**IDENTIFY, "token": "wrong"}}, 4004),
    ({"op": 2, "d": {"token": TOKEN, "properties": {}}}, 4013),
    ({"op": 2, "d": {**IDENTIFY, "intents": 1 << 40}}, 4013),
    ({"op": 2, "d": {**IDENTIFY, "intents": "all"}}, 4013),
    ({"op": 2, "d": SHARDED}, 4010),
    ({"op": 2, "d": {**IDENTIFY, "shard": "first"}}, 4010),
    ({"op": 2, "d": {"token": TOKEN, "intents": 1}}, 4002),
    ({"op": 2, "d": None}, 4002),
    ({"op": 6, "d": {"token": "wrong", "session_id": "x", "seq": 1}}, 4004),
    ({"op": 3, "d": {"activities": []}}, 4003),
    ({"op": 99, "d": None}, 4001),
    ({"op": "2"}, 4002),
    ({"d": None}, 4002),
    ([], 4002),
    ("not JSON", 4002),
    ({"op": 1, "d": "x" * 4096}, 4002),
]


@pytest.mark.parametrize(("frame", "code"), FIRST_FRAMES)
async def test_wrong_first_frames_close_with_their_code(discord: Running, frame: Any, code: int) -> None:
    async with await RawGateway.connect(discord) as client:
        await client.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        assert await client.close_code() == code
    await until(lambda: bool(entries(discord, "socket_close")))
    assert not entries(discord, "session_open")


async def test_identifying_twice_closes_with_4005(discord: Running) -> None:
    async with await RawGateway.connect(discord) as client:
        await client.log_in()
        await client.send(2, IDENTIFY)
        assert await client.close_code() == 4005


@pytest.mark.parametrize(
    ("query", "code"), [("?v=9", 4012), ("?v=10&encoding=etf", 4002), ("?v=10&compress=gzip", 4002)]
)
async def test_what_the_url_asks_for_is_checked(discord: Running, query: str, code: int) -> None:
    async with await RawGateway.connect(discord, query) as client:
        assert await client.close_code() == code


async def test_disallowed_intents_close_with_4014(discord: Running) -> None:
    privileged = 1 << 15
    async with await RawGateway.connect(discord) as client:
        await client.log_in(intents=privileged)
    await control(discord, privileged_intents=False)
    async with await RawGateway.connect(discord) as client:
        await client.send(2, {**IDENTIFY, "intents": privileged})
        assert await client.close_code() == 4014


async def test_too_many_frames_close_with_4008(discord: Running) -> None:
    async with await RawGateway.connect(discord) as client:
        await client.log_in()
        for _ in range(121):
            await client.send(1, None)
        assert await client.close_code() == 4008


async def test_zlib_stream_is_one_stream(discord: Running) -> None:
    async with await RawGateway.connect(discord, "?v=10&encoding=json&compress=zlib-stream") as client:
        decoder = zlib.decompressobj()
        hello = json.loads(decoder.decompress(await client.socket.receive_bytes(timeout=10)))
        await client.send(2, IDENTIFY)
        ready = json.loads(decoder.decompress(await client.socket.receive_bytes(timeout=10)))
    assert (hello["op"], ready["t"]) == (10, "READY")


async def test_heartbeats_are_acknowledged_and_noted(discord: Running) -> None:
    async with await RawGateway.connect(discord, site="oci") as client:
        assert (await client.receive())["d"]["heartbeat_interval"] == 41_250
        await client.send(1, None)
        assert (await client.receive())["op"] == 11
    [beat] = entries(discord, "heartbeat")
    assert (beat["site"], beat["session"]) == ("oci", None)


async def test_a_client_without_heartbeats_is_a_zombie_and_may_resume(discord: Running) -> None:
    await control(discord, heartbeat_interval_ms=100)
    async with await RawGateway.connect(discord) as client:
        ready = await client.log_in()
        assert await client.close_code() == 4000
    [zombie] = entries(discord, "zombie")
    [opened] = entries(discord, "session_open")
    assert 0.1 <= zombie["mono"] - opened["mono"] < 5
    async with await RawGateway.connect(discord) as client:
        await client.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 2})
        await client.receive_until(event="RESUMED")


async def test_heartbeats_keep_a_client_alive(discord: Running) -> None:
    await control(discord, heartbeat_interval_ms=200)
    async with await RawGateway.connect(discord) as client:
        await client.log_in()
        for _ in range(8):  # twice the time after which it would be a zombie
            await asyncio.sleep(0.1)
            await client.send(1, None)
            await client.receive_until(op=11)
    assert not entries(discord, "zombie")


@pytest.mark.parametrize("code", [4000, 1006])
async def test_resume_replays_what_was_missed(discord: Running, code: int) -> None:
    client = await RawGateway.connect(discord)
    ready = await client.log_in(intents=1 | 1 << 9 | 1 << 15)
    await client.receive_until(event="GUILD_CREATE")
    await client.leave(code)
    await until(lambda: bool(entries(discord, "session_close")))
    async with aiohttp.ClientSession() as http:
        for text in ("one", "two"):
            async with http.post(f"{discord.url}/control/message", json={"content": text}) as answer:
                assert answer.status == 200
    async with await RawGateway.connect(discord) as again:
        await again.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 2})
        replayed = [await again.receive_until(event="MESSAGE_CREATE") for _ in range(2)]
        resumed = await again.receive()
    assert [payload["d"]["content"] for payload in replayed] == ["one", "two"]
    assert [payload["s"] for payload in replayed] == [3, 4]
    assert (resumed["t"], resumed["s"]) == ("RESUMED", 5)
    assert [session.how for session in sessions(entries(discord))] == ["identify", "resume"]
    assert overlaps(entries(discord)) == []
    await client.__aexit__()


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_clean_close_ends_the_session(discord: Running, code: int) -> None:
    client = await RawGateway.connect(discord)
    ready = await client.log_in()
    await client.leave(code)
    await until(lambda: bool(entries(discord, "session_close")))
    async with await RawGateway.connect(discord) as again:
        await again.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 2})
        invalid = await again.receive_until(op=9)
    assert invalid["d"] is False
    await client.__aexit__()


async def test_resuming_with_a_sequence_from_the_future_closes_with_4007(discord: Running) -> None:
    client = await RawGateway.connect(discord)
    ready = await client.log_in()
    await client.leave(4000)
    async with await RawGateway.connect(discord) as again:
        await again.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 99})
        assert await again.close_code() == 4007
    await client.__aexit__()


async def test_a_resume_takes_the_session_from_a_socket_that_still_lives(discord: Running) -> None:
    async with await RawGateway.connect(discord) as first:
        ready = await first.log_in()
        async with await RawGateway.connect(discord) as second:
            closed = asyncio.create_task(first.close_code())
            await second.send(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 2})
            await second.receive_until(event="RESUMED")
            assert await closed == 4000
    assert len(sessions(entries(discord))) == 2
    assert overlaps(entries(discord)) == []


async def test_two_logins_are_both_live_and_the_journal_says_so(discord: Running) -> None:
    """Discord lets one token log in twice: that is the accident that rectbot is for."""
    async with (
        await RawGateway.connect(discord, site="xserver") as first,
        await RawGateway.connect(discord, site="oci") as second,
    ):
        await first.log_in()
        await second.log_in()
    assert len(overlaps(entries(discord))) == 1


async def test_a_second_login_within_five_seconds_gets_an_invalid_session(discord: Running) -> None:
    await control(discord, identify_window_s=5)
    async with await RawGateway.connect(discord) as first, await RawGateway.connect(discord) as second:
        await first.log_in()
        await second.send(2, IDENTIFY)
        invalid = await second.receive_until(op=9)
    assert invalid["d"] is False
    assert len(entries(discord, "session_open")) == 1


async def test_going_past_the_login_limit_costs_the_token_and_all_sessions(discord: Running) -> None:
    await control(discord, identify_limit=1)
    async with await RawGateway.connect(discord) as first, await RawGateway.connect(discord) as second:
        await first.log_in()
        await second.send(2, IDENTIFY)
        codes = await asyncio.gather(first.close_code(), second.close_code())
        assert set(codes) == {4004}
    assert len(entries(discord, "token_reset")) == 1
    async with await RawGateway.connect(discord) as third:
        await third.send(2, IDENTIFY)
        assert await third.close_code() == 4004
    await control(discord, identify_limit=5)
    async with await RawGateway.connect(discord) as fourth:
        await fourth.log_in()


async def test_members_are_sent_when_asked_for(discord: Running) -> None:
    async with await RawGateway.connect(discord) as client:
        ready = await client.log_in()
        await client.send(8, {"guild_id": ready["guilds"][0]["id"], "query": "", "limit": 0, "nonce": "n1"})
        chunk = await client.receive_until(event="GUILD_MEMBERS_CHUNK")
    assert chunk["d"]["nonce"] == "n1"
    assert {member["user"]["username"] for member in chunk["d"]["members"]} == {"rectbot", "alice"}


async def test_sockets_are_dropped_for_one_site_only(discord: Running) -> None:
    async with (
        await RawGateway.connect(discord, site="xserver") as first,
        await RawGateway.connect(discord, site="oci") as second,
    ):
        await first.log_in()
        await second.log_in()
        closed = asyncio.create_task(first.close_code())
        await control(discord, drop_sockets={"site": "xserver", "code": 4000})
        assert await closed == 4000
        await second.send(1, None)
        await second.receive_until(op=11)
    entry = entries(discord, "session_close")[0]
    assert (entry["site"], entry["code"], entry["by_server"]) == ("xserver", 4000, True)


async def test_a_cut_has_no_close_frame(discord: Running) -> None:
    async with await RawGateway.connect(discord) as client:
        await client.log_in()
        await control(discord, drop_sockets={})
        assert await client.close_code() == 1006


async def test_a_client_that_reads_nothing_is_closed_all_the_same(discord: Running) -> None:
    """As a paused one: it never answers the close frame."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(discord.url.rsplit(":", 1)[1]))
    key = "GET /gateway?v=10&encoding=json HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{key}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: bool(discord.discord.connections))
    await control(discord, drop_sockets={"code": 4000})
    await until(lambda: not discord.discord.connections)
    writer.close()


async def test_reconnect_and_invalid_session_are_sent_on_request(discord: Running) -> None:
    async with await RawGateway.connect(discord, site="xserver") as client:
        await client.log_in()
        await control(discord, reconnect={"site": "oci"})
        await control(discord, reconnect=True)
        await client.receive_until(op=7)
        await control(discord, invalid_session={"resumable": True})
        assert (await client.receive_until(op=9))["d"] is True
        await control(discord, invalid_session=True)
        assert (await client.receive_until(op=9))["d"] is False
    assert len(entries(discord, "reconnect")) == 1


async def test_logins_are_refused_on_request_for_one_site(discord: Running) -> None:
    await control(discord, site="xserver", refuse_logins=True)
    async with await RawGateway.connect(discord, site="xserver") as client:
        await client.send(2, IDENTIFY)
        assert await client.close_code() == 4000
    async with await RawGateway.connect(discord, site="oci") as client:
        await client.log_in()
    await control(discord, refuse_logins=False)
    async with await RawGateway.connect(discord, site="xserver") as client:
        await client.log_in()


async def test_the_token_is_wrong_on_request(discord: Running) -> None:
    await control(discord, invalid_token=True)
    async with await RawGateway.connect(discord) as client:
        await client.send(2, IDENTIFY)
        assert await client.close_code() == 4004


async def test_answers_are_late_on_request(discord: Running) -> None:
    await control(discord, delay_ms=150)
    async with await RawGateway.connect(discord) as client:
        await client.log_in()
    [open_], [ready] = entries(discord, "session_open"), entries(discord, "ready")
    assert ready["mono"] - open_["mono"] >= 0.15


async def test_heartbeats_get_no_answer_on_request(discord: Running) -> None:
    await control(discord, ack_heartbeats=False)
    async with await RawGateway.connect(discord) as client:
        await client.log_in(intents=0)
        await client.send(1, None)
        await until(lambda: bool(entries(discord, "heartbeat")))
        await control(discord, reconnect=True)
        assert (await client.receive())["op"] == 7  # no ACK came before it


async def test_stopping_the_server_closes_the_sockets() -> None:
    async with local_discord(TOKEN) as running:
        client = await RawGateway.connect(running)
        await client.log_in()
        closed = asyncio.create_task(client.close_code())
    assert await closed == 1001
    await client.__aexit__()
