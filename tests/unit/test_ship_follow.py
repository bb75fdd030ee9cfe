"""Following files through rotation, truncation and restarts: every line once, in order."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from left_open import closed
from rectbot.logs.ship.follow import Follower
from rectbot.logs.ship.generations import MAX_LINE_BYTES, Library, Position


class Log:
    """A log file that a program writes, and that somebody rotates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[bytes] = []
        self.rotations = 0

    def write(self, count: int = 1) -> None:
        with self.path.open("ab") as file:
            for _ in range(count):
                line = b"line %d of the log" % len(self.written)
                self.written.append(line)
                file.write(line + b"\n")
        self._touch()

    def _touch(self) -> None:
        """Distinct times, as files have that are not made within one tick of the kernel's clock."""
        moment = 10**18 + (len(self.written) * 1000 + self.rotations) * 10**6
        os.utime(self.path, ns=(moment, moment))

    def rename(self) -> None:
        """Like logrotate's default: .1 becomes .2, the live one becomes .1."""
        for number in range(8, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{number}")
            if old.exists():
                old.rename(old.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.path.touch()
        self.rotations += 1
        self._touch()

    def copy_and_truncate(self) -> None:
        self.rotations += 1
        shutil.copy2(self.path, self.path.with_name(f"{self.path.name}-{20260000 + self.rotations}"))
        os.truncate(self.path, 0)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    with closed(Follower):
        yield


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "bot.log")


def drain(follower: Follower, limit: int = 100_000) -> list[bytes]:
    lines: list[bytes] = []
    while found := follower.read(limit):
        lines += found
    return lines


def restarted(follower: Follower) -> Follower:
    """A new process that knows only what was saved."""
    follower.close()
    return Follower(follower.path, Library.load(json.loads(json.dumps(follower._library.save()))))


def test_lines_come_as_they_are_written(log: Log) -> None:
    follower = Follower(log.path)
    assert drain(follower) == [], "it may come later"
    log.write(3)
    assert drain(follower) == log.written
    log.write(2)
    assert drain(follower) == log.written[3:]


def test_a_line_without_its_end_waits(log: Log) -> None:
    follower = Follower(log.path)
    log.path.write_bytes(b"one\r\ntw")
    assert drain(follower) == [b"one"]
    log.path.write_bytes(b"one\r\ntwo\n")
    assert drain(follower) == [b"two"]


def test_a_line_that_is_too_long_comes_in_pieces(log: Log) -> None:
    follower = Follower(log.path)
    long = b"x" * (2 * MAX_LINE_BYTES + 5)
    log.path.write_bytes(long + b"\nshort\n")
    pieces = drain(follower)
    assert b"".join(pieces[:-1]) == long
    assert pieces[-1] == b"short"
    assert max(map(len, pieces)) <= MAX_LINE_BYTES


def test_old_lines_may_be_left_out(log: Log) -> None:
    log.write(5)
    with log.path.open("ab") as file:
        file.write(b"half")
    follower = Follower(log.path, new_only=True)
    follower.start()
    with log.path.open("ab") as file:
        file.write(b" and whole\n")
    assert drain(follower) == [b"half and whole"]


@pytest.mark.parametrize("rotate", [Log.rename, Log.copy_and_truncate])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_rotation_loses_nothing(rotate: Callable[[Log], None], restart: bool, times: int, log: Log) -> None:
    """Also several times while nobody looked, and over a restart."""
    follower = Follower(log.path)
    log.write(5)
    lines = drain(follower)
    for _ in range(times):
        log.write(5)
        rotate(log)
    log.write(5)
    if restart:
        follower = restarted(follower)
    assert lines + drain(follower) == log.written
    assert not follower.lost


def test_the_writer_may_go_on_in_the_renamed_file_for_a_while(log: Log) -> None:
    """logrotate makes the new file before it tells the program."""
    log.write(2)
    follower = Follower(log.path)
    lines = drain(follower)
    with log.path.open("ab") as program:
        log.rename()
        lines += drain(follower)
        log.written.append(b"late")
        program.write(b"late\n")
    lines += drain(follower)
    log.write(1)
    assert lines + drain(follower) == log.written


def test_the_end_of_a_rotated_file_needs_no_line_end(log: Log) -> None:
    follower = Follower(log.path)
    log.path.write_bytes(b"one\ncut of")
    assert drain(follower) == [b"one"]
    log.rename()
    log.write()
    assert drain(follower) == [b"cut of", *log.written]


@pytest.mark.parametrize("after", [0, 1, 50])
def test_truncation_begins_anew(after: int, log: Log) -> None:
    """Also when the file has since grown beyond where it was read to."""
    log.write(10)
    follower = Follower(log.path)
    drain(follower)
    log.path.write_bytes(b"".join(b"fresh %d\n" % number for number in range(after)))
    assert drain(follower) == [b"fresh %d" % number for number in range(after)]
    assert follower.lost


def test_a_new_file_with_the_number_of_the_old_one_is_not_taken_for_it(log: Log) -> None:
    """Many file systems give a free inode to the next file at once."""
    log.write(3)
    follower = Follower(log.path)
    drain(follower)
    follower.close()
    other = b"another file that is longer than the first one was, and has its inode"
    log.path.write_bytes(other + b"\n")
    assert drain(restarted(follower)) == [other]


def test_a_file_that_is_gone_is_told(log: Log) -> None:
    log.write(3)
    follower = Follower(log.path)
    drain(follower)
    follower = restarted(follower)
    log.path.unlink()
    log.path.write_bytes(b"new\n")
    assert drain(follower) == [b"new"]
    assert follower.lost


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_events(seed: int, log: Log) -> None:
    """Writes, reads of any size, rotations of one kind, restarts."""
    chance = random.Random(seed)
    rotate = chance.choice([Log.rename, Log.copy_and_truncate])
    follower = Follower(log.path)
    log.write()
    lines = drain(follower)  # what was rotated away before it ever looked is not its own
    for _ in range(60):
        match chance.randrange(5):
            case 0 | 1:
                log.write(chance.randrange(1, 30))
            case 2:
                lines += follower.read(chance.randrange(1, 2_000))
            case 3 if log.path.exists() and log.path.stat().st_size and log.rotations < 8:
                rotate(log)
            case 4:
                follower = restarted(follower)
    lines += drain(follower)
    assert lines == log.written
    assert not follower.lost


@pytest.mark.parametrize("saved", [{}, {"inode": "x"}, {"inode": -1}, [], None, {"inode": 1, "offset": 2, "head": 3}])
def test_a_broken_position_is_refused(saved: object) -> None:
    if saved == {}:
        assert Position.load(saved) == Position()
        return
    with pytest.raises((TypeError, ValueError)):
        Position.load(saved)
