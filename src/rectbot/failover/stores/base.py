"""What the failover asks of a store: one record that can be compared and swapped, and a journal beside it.

A store knows no rule and no clock: who may lead is decided in rules.py, by whoever writes. It must keep these promises,
which tests/integration/test_register_conformance.py tries on each of them:

- `swap` writes if, and only if, the version that is in force is still the one that the caller has seen. A record that
  was written is in force until another is: reads and swaps are linearizable, also beside a swap whose answer was lost.
- A version of another incarnation of the server, which may have forgotten something (it was restarted, emptied, a
  replica was promoted, the address names another one), never compares as equal, and shows by its `server`.
- A swap that was given up may be applied late, once, or never. Its sender knows its own record when it sees it.

No two records have the same bytes, so a hash of the content (an ETag) may serve as the token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rectbot.errors import RectbotError


class StoreUnavailable(RectbotError):  # noqa: N818 (a state, named in the public API)
    """The store did not answer, or not in time, or with an error. A swap may have taken effect all the same."""


class Version(NamedTuple):
    """What the register held at one moment."""

    token: str  # names this version among all of this server; compared for equality, in the store only
    record: bytes | None  # None: there is none
    server: str  # the server's incarnation; one with another name may have forgotten something
    age_ms: int | None = None  # since it was written, by the store's own clock; for people


class Entry(NamedTuple):
    """One event of the journal."""

    number: int  # from 1 to 2**53; rises by one with each event, and never falls
    text: bytes  # a JSON object on one line


class Register(Protocol):
    """One record in a store, under a key or prefix of its own. `open_register()` in stores/__init__.py makes one.

    `give_up_at` is a time of `boottime_ms()`; whoever is asked answers before it, or raises StoreUnavailable. It raises
    ConfigError when the store refuses us for good: wrong password, no such bucket, no conditional writes. All methods
    may be called at the same time, but for `swap`, of which there is one at a time.
    """

    where: str  # its address for error messages, without secrets
    hurry: bool  # set by the caller: something is about to change, so that a register that polls should poll often

    async def read(self, give_up_at: int) -> Version:
        """The version in force at some moment between call and answer."""

    async def swap(self, seen: Version, record: bytes, outbox: Sequence[Entry], give_up_at: int) -> Version:
        """Puts `record` in the place of `seen`; or leaves all as it is, if that is not in force any more.

        Returns the version in force: its `record` equals ours if, and only if, the swap was done.
        `outbox` are the last events, some of which were handed over before. Each goes into the journal once, known by
        its number, if the swap is done: with it, or right after it, in which case it may be lost with its sender and is
        made up for by the next swap.
        """

    async def watch(self, changed: Callable[[Version | None], None]) -> None:
        """Calls `changed` soon after each change, by whomever; with None for "something may have, read it".

        Calls may be late, doubled, or out of order, and some versions may be left out, but not the last. Our own
        changes may be told or not. Never returns, never fails: it connects again, and then calls.
        """

    async def journal(self, count: int) -> list[Entry]:
        """The last `count` events, oldest first, each once. At least 10,000 are kept."""

    async def close(self) -> None:
        """Ends all connections; nothing is called after it returns."""
