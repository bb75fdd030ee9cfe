"""Where the master of a Redis group is, as a majority of its Sentinels says.

A Redis that was replaced does not know it, and would go on granting leases to a site that is cut off together with it.
So each request is preceded by the question to all Sentinels, and is sent only where a majority of them point. Two
majorities have a Sentinel in common, whose view only moves on. Hence whoever still found the old master had asked
before anyone could be sent to the new one; and the new one grants nothing for one TTL from the first request that it
gets, as its memory is of another server. By then that lease is over.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from rectbot.errors import ConfigError
from rectbot.failover.endpoint import Endpoint
from rectbot.failover.resp import Connection, Disconnected, ServerError


class Master(NamedTuple):
    host: str
    port: int
    term: int  # the Sentinels' configuration epoch: grows with each master that they choose


class _View(NamedTuple):
    """What one Sentinel says."""

    master: Master
    sentinels: int  # as many are there, as it knows


class Sentinels:
    """Keeps a connection to each Sentinel; one that does not answer delays nothing while a majority does."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._group = endpoint
        self._sentinels = [_Sentinel(endpoint, host, port) for host, port in endpoint.sentinels]

    async def master(self) -> Master:
        """Raises Disconnected when no majority agrees, ConfigError when they refuse us or do not know the name."""
        views: list[_View] = []
        errors: list[Exception] = []
        for answer in asyncio.as_completed([sentinel.ask() for sentinel in self._sentinels]):
            try:
                views.append(await answer)
            except (Disconnected, ConfigError) as error:
                errors.append(error)
            if (agreed := self._agreed(views)) is not None:
                return agreed
        if errors and all(isinstance(error, ConfigError) for error in errors) and not views:
            raise errors[0]
        raise Disconnected(
            f"Sentinel: no majority for a master of {self._group.service}: {len(views)} of {self._all(views)} answered"
            + (", and they disagree" if len({view.master for view in views}) > 1 else "")
            + (f" ({errors[0]})" if errors else "")
        )

    def _agreed(self, views: list[_View]) -> Master | None:
        counted = Counter(view.master for view in views).most_common(1)
        if counted and counted[0][1] > self._all(views) // 2:
            return counted[0][0]
        return None

    def _all(self, views: list[_View]) -> int:
        """How many Sentinels there are, also those that REDIS_URL does not name."""
        return max([len(self._sentinels), *(view.sentinels for view in views)])

    def abort(self) -> None:
        for sentinel in self._sentinels:
            sentinel.abort()


class _Sentinel:
    def __init__(self, group: Endpoint, host: str, port: int) -> None:
        self._service = group.service
        self._endpoint = replace(
            group,
            host=host,
            port=port,
            username="",
            password=group.sentinel_password,
            db=None,
            sentinels=(),
            service="",
        )
        self._connection: Connection | None = None
        self._asking: asyncio.Task[_View] | None = None

    def ask(self) -> asyncio.Task[_View]:
        """Asks anew; if an earlier question was not answered yet, on a new connection."""
        self._cancel()
        self._asking = asyncio.create_task(self._ask())
        self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may wait for it
        return self._asking

    async def _ask(self) -> _View:
        try:
            words = await (await self._open()).call("SENTINEL", "MASTER", self._service)
        except ServerError as error:
            if "No such master" in error.said:
                raise ConfigError(
                    f"Sentinel at {self._endpoint} knows no {self._service!r}: correct the name in REDIS_URL"
                ) from None
            if error.said.startswith("NOAUTH"):
                raise self._refused() from None
            raise Disconnected(str(error)) from None
        found = {words[i].decode(): words[i + 1].decode() for i in range(0, len(words), 2)}
        master = Master(found["ip"], int(found["port"]), int(found["config-epoch"]))
        return _View(master, int(found["num-other-sentinels"]) + 1)

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = await Connection.open(self._endpoint)
            except ConfigError:
                raise self._refused() from None
        return self._connection

    def _refused(self) -> ConfigError:
        return ConfigError(
            f"Sentinel at {self._endpoint} refuses the login: correct ?sentinel_password=... at the end of REDIS_URL"
        )

    def _cancel(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            if self._connection is not None:
                self._connection.abort()  # an answer is due on it

    def abort(self) -> None:
        self._cancel()
        if self._connection is not None:
            self._connection.abort()
