"""aiohttp's way to look names up, in threads that a silent resolver cannot make the process wait for at its end."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from rectbot.names import Address, look_up
from rectbot.threads import in_thread

TIMEOUT_SECONDS = 30.0


class Resolver(AbstractResolver):
    """For `aiohttp.TCPConnector(resolver=Resolver())`. Raises OSError, as aiohttp expects."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await in_thread(lambda: look_up(host, port, TIMEOUT_SECONDS))
        return [_result(host, port, each) for each in found if family in (socket.AF_UNSPEC, each[0])]

    async def close(self) -> None:
        pass


def _result(host: str, port: int, address: Address) -> ResolveResult:
    family, where = address
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=where[0], port=port, family=family, proto=0, flags=flags)
