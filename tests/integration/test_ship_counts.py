"""The counts are exact: sent, refused, dropped and waiting are what was logged, at any moment, whatever happens."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loki_stand_in import Refusal, StandIn, stand_in
from rectbot.logs import LokiHandler
from rectbot.logs.ship.ledger import Counts
from servers import free_port
from servers_monitoring import until

KINDS: list[Refusal | None] = [None, (503, {}, b"no"), (400, {}, b"never"), (429, {"Retry-After": "0"}, b"wait")]


class Bot:
    """Something that logs, is restarted, and knows what it logged."""

    def __init__(self, url: str, folder: Path | None) -> None:
        self.url, self.folder = url, folder
        self.logger = logging.getLogger(f"counts.{id(self)}")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.logged = self.sent = self.refused = self.late = 0
        self.start()

    def start(self) -> None:
        self.handler = LokiHandler(
            self.url,
            spool=self.folder,
            spool_bytes=6_000,
            batch_bytes=2_000,
            batch_seconds=0.01,
            exit_seconds=0.05,
            site="x",
        )
        self.logger.addHandler(self.handler)
        self.before = self.handler.counts
        self.logged_before = self.logged

    def log(self, lines: int) -> None:
        for _ in range(lines):
            self.logged += 1
            self.logger.info("%d %s", self.logged, random.randbytes(60).hex())

    def stop(self) -> Counts:
        self.handler.close()
        self.logger.removeHandler(self.handler)
        for thread in self.handler._shipper._threads:
            thread.join()  # what is on its way gets its answer, though nobody waits for it
        counts = self.handler.counts
        self.sent += counts.sent
        self.refused += counts.refused
        if self.folder is not None:  # on its way and not on the disk: its loss came when the folder was given up
            self.late += counts.dropped - int((self.folder / "dropped").read_text())
        return counts

    def check(self) -> None:
        """In this process, and over all: a spool on disk goes on, one in memory ends with its process."""
        counts = self.handler.counts
        new = self.logged - self.logged_before
        assert total(counts) == total(self.before) + new, counts
        assert min(counts.sent, counts.refused, counts.dropped, counts.waiting) >= 0, counts


def fill_or_empty_disk(folder: Path) -> None:
    obstacle = folder / "new"  # no batch can be written in its place
    if obstacle.is_dir():
        obstacle.rmdir()
        return
    with contextlib.suppress(OSError):  # one is just being written
        obstacle.mkdir()


def total(counts: Counts) -> int:
    return counts.sent + counts.refused + counts.dropped + counts.waiting


@pytest.fixture
def loki() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_every_line_is_accounted_for(seed: int, durable: bool, loki: StandIn, tmp_path: Path) -> None:
    """A server that fails, refuses, is away and comes back; a full spool and a full disk; restarts."""
    chance = random.Random(seed)
    folder = tmp_path / "spool" if durable else None
    bot = Bot(loki.url, folder)
    dropped = 0
    for _ in range(40):
        match chance.randrange(6):
            case 0 | 1 | 2:
                bot.log(chance.randrange(1, 60))
            case 3:
                kind = chance.choice(KINDS)
                loki.refuse = lambda kind=kind: kind  # type: ignore[misc]
            case 4 if folder is not None:
                fill_or_empty_disk(folder)
            case 5:
                counts = bot.stop()
                bot.check()
                dropped += 0 if durable else counts.dropped
                bot.start()
        bot.check()
    loki.refuse = lambda: None
    until(lambda: bot.handler.counts.waiting == 0, "all is sent")
    counts = bot.handler.counts
    bot.check()
    bot.stop()
    assert bot.logged == bot.sent + bot.refused + counts.dropped + dropped + bot.late
    numbers = [int(text.split()[0]) for text in loki.messages(level="info")]
    assert len(numbers) == len(set(numbers))
    # A batch whose answer came after the end is sent once more by the next process, unless that has to drop it.
    assert bot.sent <= len(numbers) <= bot.sent + (counts.dropped if durable else 0)
    told = [json.loads(text)["dropped"] for text in loki.texts(level="warn")]
    assert not durable or sum(told) <= counts.dropped


def test_at_any_moment(loki: StandIn, tmp_path: Path) -> None:
    """Another thread looks on while lines are logged, dropped, sent and refused."""
    chance = random.Random(1)
    loki.refuse = lambda: chance.choice(KINDS)
    bot = Bot(loki.url, tmp_path / "spool")
    done, wrong = threading.Event(), list[Counts]()

    def look() -> None:
        while not done.is_set():
            before, counts, after = bot.logged, bot.handler.counts, bot.logged
            if not before - 1 <= total(counts) <= after:
                wrong.append(counts)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(300):
        bot.log(10)
    done.set()
    thread.join()
    bot.stop()
    assert not wrong


PROGRAM = """
    import logging, os, sys
    from rectbot.logs import LokiHandler
    url, spool, room, count = sys.argv[1:]
    handler = LokiHandler(
        url, site="s", spool=spool or None, spool_bytes=int(room),
        batch_bytes=5000, batch_seconds=0.01, exit_seconds=0.3,
    )
    logging.basicConfig(handlers=[handler, logging.StreamHandler()], level=logging.INFO, force=True)
    log = logging.getLogger("bot")
    log.propagate = False
    log.addHandler(handler)
    for number in range(int(count)):
        log.info("%d %s", number, os.urandom(50).hex())
    logging.shutdown()
    print(*vars(handler.counts).values())
"""


def run(url: str, spool: Path | str, room: int, count: int) -> tuple[Counts, str]:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), url, str(spool), str(room), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return Counts(*map(int, done.stdout.split())), done.stderr


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("spool", [True, False])
def test_what_is_said_at_the_end_is_what_comes_later(spool: bool, full: bool, tmp_path: Path) -> None:
    """3,000 lines, no Loki, and little or no room: what is said to be lost is lost, and the rest comes."""
    folder = tmp_path / "spool" if spool else ""
    if spool and full:
        (tmp_path / "spool" / "new").mkdir(parents=True)
    counts, said = run(f"http://127.0.0.1:{free_port()}", folder, 40_000, 3_000)
    assert total(counts) == 3_000
    assert counts.sent == 0
    at_end = [int(found) for found in re.findall(r"(\d+) log lines are lost", said)]
    assert sum(at_end) <= counts.dropped
    if not spool or full:
        assert counts.waiting == 0
        assert counts.dropped == 3_000
        return
    with stand_in() as loki:
        runs = [run(loki.url, folder, 40_000, 0)[0]]
        while runs[-1].waiting:  # as on a busy machine one may end before it has sent all
            runs.append(run(loki.url, folder, 40_000, 0)[0])
        after = runs[-1]
        assert len(loki.messages(level="info")) == counts.waiting == sum(each.sent for each in runs)
        assert after.dropped == counts.dropped
        assert sum(json.loads(text)["dropped"] for text in loki.texts(level="warn")) == counts.dropped


def test_what_was_on_its_way_at_the_end_is_not_called_lost(tmp_path: Path) -> None:
    with stand_in() as loki:
        loki.hang = True
        counts, said = run(loki.url, "", 1_000_000, 10)
    assert total(counts) == 10
    assert counts.waiting == 10
    assert "10 log lines were on their way, and it is not known whether they arrived" in said
    assert "lost" not in said
