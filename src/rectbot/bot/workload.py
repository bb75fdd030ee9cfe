"""The Discord client as a workload of the failover: a fresh client for each lease, gone when the lease is."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
import discord

from rectbot.bot.api import discord_api, use_gateway
from rectbot.bot.app import ClientFactory, load_app
from rectbot.bot.pace import pace_connections
from rectbot.bot.sockets import SocketGuard
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover import Ended, Lease

if TYPE_CHECKING:
    from discord.types.gateway import SessionStartLimit

_log = logging.getLogger(__name__)

LOGIN_TIMEOUT_S = 60.0
AWAY_LIMIT_S = 60.0
LOGIN_RESERVE = 20
"""Logins left in 24 hours below which we do not try: Discord resets the token of a bot that uses up all of them."""
_LOOK_EVERY_S = 1.0
_GRACEFUL_SHARE = 0.8  # of the time to stop; the rest is for closing what is left by force

_BAD_LOGIN = "Discord refuses DISCORD_BOT_TOKEN: copy the token anew from the bot's page in the developer portal"
_FATAL_CLOSES = {
    4004: _BAD_LOGIN,
    4010: "Discord refuses the client's shard: correct shard_id and shard_count",
    4011: "Discord requires sharding for this bot: use discord.AutoShardedClient",
    4013: "Discord refuses the client's intents: they are not valid",
    4014: "Discord refuses the client's intents: allow the privileged ones on the bot's page in the developer portal",
}


class DiscordWorkload:
    """Logs a Discord client in under a lease, watches it, and ends it.

    `app` is what `--app` takes, None for our own bot; `api_url` is `DISCORD_API_URL`. Raises ConfigError for a wrong
    `app`; a wrong `api_url` shows at the start.
    """

    def __init__(
        self,
        token: str,
        *,
        api_url: str | None = None,
        app: str | None = None,
        login_timeout_s: float = LOGIN_TIMEOUT_S,
        away_limit_s: float = AWAY_LIMIT_S,
    ) -> None:
        pace_connections()
        self._token = token
        self._api_url = api_url
        self._factory: ClientFactory = load_app(app)
        self._login_timeout_s = login_timeout_s
        self._away_limit_s = away_limit_s
        self._client: discord.Client | None = None
        self._guard: SocketGuard | None = None
        self._connection: asyncio.Task[None] | None = None
        self._api = ExitStack()

    async def start(self, lease: Lease) -> None:
        """Logs in and returns once the gateway has accepted the session.

        Raises ConfigError where another try cannot help (a wrong token), RectbotError where it may.
        """
        self._api.enter_context(discord_api(self._api_url))
        self._guard = SocketGuard(lease)
        self._client = client = self._factory(lease)
        client.http.connector = self._guard.connector()
        try:
            async with asyncio.timeout(self._login_timeout_s):
                await self._log_in(client, lease)
        except TimeoutError:
            raise RectbotError(f"the login at Discord took longer than {self._login_timeout_s:.0f} s") from None

    async def _log_in(self, client: discord.Client, lease: Lease) -> None:
        try:
            await client.login(self._token)
            _, gateway, limit = await client.http.get_bot_gateway()
        except discord.LoginFailure:
            raise ConfigError(_BAD_LOGIN) from None
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            raise RectbotError(f"the login at Discord failed: {_first_line(error)}") from None
        _check_logins_left(limit, lease)
        use_gateway(gateway)
        _enter_logins(client, lease, limit["remaining"] - LOGIN_RESERVE)
        lease.check()
        # "connect" is READY's arrival; is_ready() comes later, for a bot in many servers by minutes.
        accepted = asyncio.ensure_future(client.wait_for("connect"))
        self._connection = asyncio.create_task(client.connect())
        try:
            await asyncio.wait({self._connection, accepted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            accepted.cancel()
        if self._connection.done():
            raise _as_error(_why_ended(self._connection))
        _log.info("%s: logged in as %s with epoch %d", lease.site, client.user, lease.epoch)

    async def wait(self) -> Ended:
        """Returns when the client has ended, or its gateway was away for too long."""
        connection = self._connection
        assert connection is not None
        seen, before = time.monotonic(), self._open_sockets()
        while True:
            done, _ = await asyncio.wait({connection}, timeout=_LOOK_EVERY_S)
            if done:
                return _why_ended(connection)
            now, sockets = time.monotonic(), self._open_sockets()
            # One that was there at the last look, too: a gateway may accept connections only to close them again.
            if sockets and sockets == before:
                seen = now
            elif now - seen >= self._away_limit_s:
                return Ended(f"Discord's gateway has been away for {self._away_limit_s:.0f} s")
            before = sockets

    @property
    def healthy(self) -> bool:
        """Whether the client has a session at the gateway now."""
        return bool(self._open_sockets())

    def _open_sockets(self) -> list[discord.gateway.DiscordWebSocket]:
        """The gateway connections of the client's sessions; none unless all of them are open."""
        client = self._client
        if client is None or client.is_closed():
            return []
        if isinstance(client, discord.AutoShardedClient):
            sockets = [shard._parent.ws for shard in client.shards.values()]
        else:
            sockets = [client.ws]
        # Before READY, and after a refused RESUME, discord.py knows no sequence number.
        return sockets if all(ws is not None and ws.open and ws.sequence is not None for ws in sockets) else []

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it bounds what cannot be cancelled, too
        """Logs out within `timeout` seconds; what does not end in time is cut off."""
        client, guard, connection = self._client, self._guard, self._connection
        self._client = self._guard = self._connection = None
        try:
            if client is not None and guard is not None:
                await _end(client, guard, connection, timeout)
        finally:
            self._api.close()


async def _end(
    client: discord.Client, guard: SocketGuard, connection: asyncio.Task[None] | None, limit_s: float
) -> None:
    closing = asyncio.create_task(_close(client, connection), name="close")
    try:
        await asyncio.wait({closing}, timeout=limit_s * _GRACEFUL_SHARE)
    finally:
        cut = guard.abort()
        if not closing.done():
            _log.warning("the client did not close in time: %d connections were cut", cut)
            closing.cancel()
            await asyncio.wait({closing}, timeout=limit_s * (1 - _GRACEFUL_SHARE) / 2)


async def _close(client: discord.Client, connection: asyncio.Task[None] | None) -> None:
    # While discord.py still receives, its own close frame (4000, "I may resume") overtakes ours, and Discord shows the
    # bot online for minutes. So the receiving ends first.
    if connection is not None:
        connection.cancel()
        await asyncio.gather(connection, return_exceptions=True)
    try:
        await client.close()
    except Exception as error:
        _log.warning("the client's close() failed: %s", _first_line(error))


def _check_logins_left(limit: SessionStartLimit, lease: Lease) -> None:
    if limit["remaining"] <= LOGIN_RESERVE:
        lease.limit_logins(0)
        wait = timedelta(seconds=limit["reset_after"] // 1000)
        raise RectbotError(
            f"only {limit['remaining']} of {limit['total']} logins are left at Discord, which resets the token of a bot"
            f" that uses up all; new ones in {wait}"
        )


def _enter_logins(client: discord.Client, lease: Lease, left: int) -> None:
    """Has every IDENTIFY entered into the budget of all sites, just before it is sent, also those of reconnections."""
    users_own, allowed = client.before_identify_hook, count(left - 1, -1)

    async def enter(shard_id: int | None, *, initial: bool = False) -> None:
        await users_own(shard_id, initial=initial)
        lease.login(next(allowed))

    client.before_identify_hook = enter  # type: ignore[method-assign]


def _why_ended(connection: asyncio.Task[None]) -> Ended:
    if connection.cancelled():
        return Ended("the client was cancelled")
    error = connection.exception()
    if error is None:
        return Ended("the client closed itself")
    if isinstance(error, discord.PrivilegedIntentsRequired):
        return Ended(_FATAL_CLOSES[4014], fatal=True)
    if isinstance(error, discord.ConnectionClosed) and error.code in _FATAL_CLOSES:
        return Ended(_FATAL_CLOSES[error.code], fatal=True)
    if isinstance(error, RectbotError):  # the logins are spent
        return Ended(str(error))
    return Ended(f"the client ended: {_first_line(error)}")


def _as_error(ended: Ended) -> RectbotError:
    return ConfigError(ended.reason) if ended.fatal else RectbotError(ended.reason)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".removesuffix(": ")
