"""Two sites as real processes that run a small bot under the lease, each with a link to one Redis that can be broken.

The judges stand outside: the local Discord's journal, and the kernel, which gives the bots' lock to one process only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from discord_helpers import TOKEN
from localdiscord.discord import Running, local_discord
from localdiscord.journal import overlaps
from rectbot.failover import FailoverConfig, open_store
from rectbot.failover.agent import agent_command, plan
from rectbot.failover.config import ChildOptions
from servers import PASSWORD, RedisServer, until

TTL_MS = 1_000
SESSION = Path(__file__).with_name("failover_session.py")


class Link:
    """A TCP proxy of the test: one site's way to Redis."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._dropping = False
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Link:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def freeze(self) -> None:
        """Nothing arrives, until heal(); then everything does."""
        self._flowing.clear()

    def drop(self) -> None:
        """What is sent is lost."""
        self._dropping = True

    def delay(self, seconds: float) -> None:
        """Each packet takes so much longer, each way."""
        self._delay = seconds

    def half_close(self) -> None:
        """Each end hears that the other will send nothing more; what is sent still arrives."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                writer.write_eof()

    def reset(self) -> None:
        """All connections break."""
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        if self._dropping:  # a stream with a hole in it can only break
            self.reset()
        self._dropping, self._delay = False, 0.0
        self._flowing.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        mine = {writer, there[1]}
        self._writers |= mine
        with contextlib.suppress(asyncio.CancelledError):  # at the end of a test; asyncio's callback cannot bear it
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        self._writers -= mine
        for end in mine:
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: written after half_close()
            while block := await reader.read(65536):
                await asyncio.sleep(self._delay)
                await self._flowing.wait()
                if not self._dropping:
                    writer.write(block)
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()


@dataclass
class Site:
    """One site: `rectbot failover run` as it is after the settings were read."""

    name: str
    stage: Stage
    links: list[Link]  # its way to the store; to each of several members
    store: dict[str, Any]  # what open_store() is given
    manners: str = "-"
    options: ChildOptions = field(default_factory=ChildOptions)
    command: list[str] | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    output: int | None = None  # where it writes, if not to its log
    prefix: list[str] = field(default_factory=list)  # what starts the site: setpriv, say
    watchers_turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # for who leaves the bot only one watcher

    @property
    def link(self) -> Link:
        return self.links[0]

    @property
    def log(self) -> str:
        return (self.stage.folder / f"log-{self.name}").read_text()

    def start(self) -> None:
        given = {"lock_ttl_ms": TTL_MS, "hb_ttl_sec": 3, "failback_delay_sec": 0.3, "sit_out_ms": 300}
        config = FailoverConfig(site=self.name, priority=("a", "b"), **given | self.changes)
        bot = [sys.executable, "-I", "-S", str(SESSION), str(self.stage.folder), str(self.stage.gateway_port), TOKEN]
        memory = plan(config, self.store, self.command or [*bot, self.manners], self.options)
        with (self.stage.folder / f"log-{self.name}").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *agent_command(memory)],
                pass_fds=[memory],
                env={"PATH": os.environ["PATH"], "TEST_STAGE": str(self.stage.folder)},
                stdout=log,
                stderr=log if self.output is None else self.output,
            )
        os.close(memory)

    @property
    def wrapper(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def keeper(self) -> int | None:
        """Process id of the wrapper's child, which keeps the program."""
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{self.wrapper}/task/{self.wrapper}/children").read_text()
            return int(text.split()[0]) if text else None
        return None

    @property
    def bot(self) -> int | None:
        """Process id of the program, if it lives."""
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split():
                if SESSION.name in Path(f"/proc/{pid}/cmdline").read_text():
                    return int(pid)
        return None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: int, *pids: int | None) -> None:
        for pid in pids:
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Ends the wrapper; returns its exit code as subprocess has it."""
        assert self.process is not None
        self.send(number, self.wrapper)
        await until(lambda: not self.running)
        return self.process.wait()


@dataclass
class Stage:
    """Redis, Discord and two sites, all of one test."""

    folder: Path
    redis: Any  # the store's server: kill(), start(), signal()
    discord: Running
    a: Site = field(init=False)
    b: Site = field(init=False)
    note: str = ""  # heads the story
    lost_data: bool = False  # Redis did
    redis_turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # for who plays with it

    @property
    def gateway_port(self) -> int:
        return int(self.discord.url.rsplit(":", 1)[1])

    @property
    def sites(self) -> tuple[Site, Site]:
        return self.a, self.b

    def records(self, file: str = "records") -> list[dict[str, Any]]:
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def live(self) -> list[str | None]:
        """The sites that are logged in at Discord, by its own account."""
        return [session.site for session in self.discord.discord.sessions.live()]

    async def until_live(self, *sites: str, seconds: float = 20) -> None:
        try:
            await until(lambda: self.live() == list(sites), seconds)
        except TimeoutError:
            raise AssertionError(
                f"{self.live()} is logged in, not {sites}, after {seconds} s\n{self.story()}"
            ) from None

    def judge(self) -> None:
        """Fails if there were ever two sessions at one moment, or an epoch that was lower than one before it.

        A Redis without its data has epochs only from the sites that were up all the time: then there may be none.
        """
        assert self.records("overlaps") == [], f"two bots lived at one moment\n{self.story()}"
        both = overlaps(self.discord.discord.journal.read())
        assert both == [], f"two sessions at one moment: {both}\n{self.story()}"
        epochs = [int(record["epoch"]) for record in self.records() if record["what"] == "opened"]
        assert self.lost_data or epochs == sorted(epochs), f"epochs went back: {epochs}\n{self.story()}"

    def story(self) -> str:
        """All that the judges and the sites have written, for a person who looks for the reason."""
        logs = [f"--- {site.name}\n{site.log}" for site in self.sites if site.process is not None]
        opened = [line for name in ("records", "overlaps") for line in (f"--- {name}", *map(str, self.records(name)))]
        return "\n".join([self.note, f"logged in: {self.live()}, processes: {self.leftovers()}", *opened, *logs])

    def leftovers(self) -> list[int]:
        """Processes of this stage, found by looking at every process there is."""
        mark, found = f"TEST_STAGE={self.folder}".encode(), []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (path / "environ").read_bytes().split(b"\0"):
                        found.append(int(path.name))
        return found

    def sweep(self) -> None:
        """Whatever happened, nothing of this stage stays behind."""
        for _ in range(3):
            for pid in self.leftovers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for site in self.sites:
            if site.process is not None:
                site.process.wait()


Store = Callable[[list[Link]], dict[str, Any]]


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """A stage around a Redis of its own, with sites that are not started yet.

    At its end the judges are heard, and nothing is left of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder / "redis")
    try:
        await asyncio.to_thread(server.start)
        observer = open_store(FailoverConfig(site="", lock_ttl_ms=TTL_MS), port=server.port, password=PASSWORD)
        await observer.initialise()
        await observer.close()
        login: Store = lambda links: {"port": links[0].port, "password": PASSWORD}  # noqa: E731
        async with stage_on(folder, server, [server.port], login) as stage:
            yield stage
    finally:
        server.kill()


@asynccontextmanager
async def stage_on(folder: Path, server: Any, ports: list[int], store: Store) -> AsyncIterator[Stage]:
    """A stage around a store that runs already, at these ports."""
    async with AsyncExitStack() as stack:
        discord = await stack.enter_async_context(local_discord(TOKEN))
        discord.discord.logins.window_s = 0
        stage = Stage(folder, server, discord)
        sites = []
        for name in "ab":
            links = [await stack.enter_async_context(Link(port)) for port in ports]
            sites.append(Site(name, stage, links, store(links)))
        stage.a, stage.b = sites
        stack.callback(stage.sweep)
        try:
            yield stage
        except Exception as error:
            error.add_note(stage.story())
            raise
        finally:
            stage.judge()
