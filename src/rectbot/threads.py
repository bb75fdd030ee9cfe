"""Blocking calls beside the event loop, in threads that hold up neither the loop nor the end of the process."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], drop: Callable[[T], object] = lambda result: None) -> T:
    """What `call` returns or raises, from a daemon thread of its own. OSError when no thread can be started.

    Who is cancelled stops waiting; the call goes on to its own end, and `drop` gets what it returns. asyncio's executor
    would be waited for at the end of the process: 20 s and more for a resolver that hangs.
    """
    waiter = _Waiter(drop)

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            waiter.fail(error)
        else:
            waiter.settle(result)

    try:
        threading.Thread(target=run, name="in_thread", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread can be started ({error})") from None
    return await waiter.wait()


class _Waiter(Generic[T]):
    """A future that another thread settles, and that loses no result when nobody waits any more."""

    def __init__(self, drop: Callable[[T], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        self._drop = drop

    def settle(self, result: T) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, result)
        except RuntimeError:  # the loop is closed
            self._drop(result)

    def fail(self, error: BaseException) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set_error, error)
        except RuntimeError:
            return

    def _set(self, result: T) -> None:
        if self._future.done():
            self._drop(result)
        else:
            self._future.set_result(result)

    def _set_error(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    async def wait(self) -> T:
        try:
            return await self._future
        except asyncio.CancelledError:
            if self._future.done() and not self._future.cancelled() and self._future.exception() is None:
                self._drop(self._future.result())  # it came at the same moment
            raise
