"""Rotation under any name and in any way: no line is lost, none comes twice."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from left_open import closed
from rectbot.logs.ship.follow import Follower
from rectbot.logs.ship.generations import Library
from rectbot.logs.ship.names import is_rotated, is_sibling

BANNER = b"".join(b"*** starting, version 1.2.3, option %02d ***\n" % number for number in range(40))
NAMES: dict[str, Callable[[int], str]] = {
    "python, by the second": lambda number: f"bot.log.2026-11-27_13-42-{number:02}",
    "python, by the hour": lambda number: f"bot.log.2026-11-27_{number:02}",
    "logrotate, dateformat": lambda number: f"bot.log-20261127T1342{number:02}",
    "before the extension": lambda number: f"bot-2026-11-{number + 1:02}.log",
    "numbers that grow": lambda number: f"bot.{number}.log",
    "lumberjack": lambda number: f"bot-2026-11-27T13-42-{number:02}.123.log",
    "loguru": lambda number: f"bot.2026-11-27_13-42-{number:02}_123456.log",
    "epoch": lambda number: f"bot.log.17958{number:05}",
    "date first": lambda number: f"2026-11-{number + 1:02}-bot.log",
    "a month's name": lambda number: f"bot.log.{number + 1:02}-Nov-2026",
    "with a zone": lambda number: f"bot.log.2026-11-27T13:42:{number:02}+0900",
}


@dataclass
class Log:
    """A log that is written and rotated; every line is different, and a start's banner may come before them."""

    path: Path
    written: list[bytes] = field(default_factory=list)
    rotations: int = 0
    banner: bytes = b""

    def write(self, count: int = 5) -> None:
        with self.path.open("ab") as file:
            if not file.tell() and self.banner:
                file.write(self.banner)
                self.written += self.banner.splitlines()
            for _ in range(count):
                line = b"line %d of the log" % len(self.written)
                self.written.append(line)
                file.write(line + b"\n")

    def move(self, name: str) -> Path:
        """Renames the live file."""
        self.rotations += 1
        target = self.path.parent / name
        target.parent.mkdir(exist_ok=True)
        self.path.rename(target)
        return target

    def cascade(self, form: str = "bot.log.{}") -> Path:
        for number in range(20, 0, -1):
            for packed in ("", ".gz"):
                old = self.path.parent / (form.format(number) + packed)
                if old.exists():
                    old.rename(self.path.parent / (form.format(number + 1) + packed))
        return self.move(form.format(1))

    def copy(self, name: str, preserve: Callable[[Path, Path], object] = shutil.copy) -> Path:
        self.rotations += 1
        preserve(self.path, self.path.parent / name)
        os.truncate(self.path, 0)
        return self.path.parent / name


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    with closed(Follower):
        yield


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "bot.log")


def drain(follower: Follower) -> list[bytes]:
    lines: list[bytes] = []
    while found := follower.read(100_000):
        lines += found
    return lines


def restarted(follower: Follower) -> Follower:
    follower.close()
    return Follower(follower.path, Library.load(json.loads(json.dumps(follower._library.save()))))


def pack(path: Path, how: str = "gz", *, keep_time: bool = False) -> None:
    """As gzip does it, or as programs do that leave it to a library."""
    opened = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[how]
    with opened(path.with_name(f"{path.name}.{how}"), "wb") as file:  # type: ignore[operator]
        file.write(path.read_bytes())
    if keep_time:
        shutil.copystat(path, path.with_name(f"{path.name}.{how}"))
    path.unlink()


def check(log: Log, rotate: Callable[[Log], object], *, down: bool, times: int) -> None:
    """Lines before, between and after rotations, of which the follower sees nothing, or sees all but for its death."""
    log.write(3)
    older = log.path.with_name("bot.log.77")
    older.write_bytes(b"what was there before is not read\n")
    follower = Follower(log.path)
    lines = drain(follower)
    for _ in range(3):
        for _ in range(times):
            log.write()
            rotate(log)
        log.write()
        if down:
            follower = restarted(follower)
        lines += drain(follower)
    lines += drain(restarted(follower))
    assert lines == log.written
    assert not follower.lost


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("banner", [b"", BANNER])
@pytest.mark.parametrize("scheme", NAMES)
def test_any_name(scheme: str, banner: bytes, down: bool, times: int, log: Log) -> None:
    log.banner = banner
    check(log, lambda log: log.move(NAMES[scheme](log.rotations)), down=down, times=times)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("form", ["bot.log.{}", "bot.{}.log", "bot-{}.log", "bot.log-{}", "bot.log{}"])
def test_cascades(form: str, down: bool, times: int, log: Log) -> None:
    check(log, lambda log: log.cascade(form), down=down, times=times)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("how", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("scheme", ["python, by the second", "before the extension"])
def test_compressed_right_after(scheme: str, how: str, down: bool, times: int, log: Log) -> None:
    log.banner = BANNER
    check(log, lambda log: pack(log.move(NAMES[scheme](log.rotations)), how), down=down, times=times)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("preserve", [shutil.copy, shutil.copy2])
@pytest.mark.parametrize("scheme", NAMES)
def test_copied_and_truncated(
    scheme: str, preserve: Callable[[Path, Path], object], down: bool, times: int, log: Log
) -> None:
    log.banner = BANNER
    check(log, lambda log: log.copy(NAMES[scheme](log.rotations), preserve), down=down, times=times)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("name", ["bot.log.old", "bot.old.log", "bot.log.bak", "bot.log~", "quite another name"])
def test_one_old_file(name: str, down: bool, log: Log) -> None:
    check(log, lambda log: log.move(name), down=down, times=1)


@pytest.mark.parametrize("down", [False, True])
def test_into_a_folder(down: bool, log: Log) -> None:
    """logrotate's olddir."""
    check(log, lambda log: log.move(f"old/bot.log-2026112{log.rotations}"), down=down, times=1)


@pytest.mark.parametrize("down", [False, True])
def test_by_hard_links(down: bool, log: Log) -> None:
    def rotate(log: Log) -> None:
        log.path.with_name(f"bot.log.2026-11-{log.rotations + 1:02}").hardlink_to(log.path)
        log.path.unlink()
        log.rotations += 1

    check(log, rotate, down=down, times=3)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("folder", [".", "elsewhere"])
def test_a_link_to_the_file_of_the_day(folder: str, times: int, down: bool, tmp_path: Path) -> None:
    days = itertools.count(1)
    (tmp_path / folder).mkdir(exist_ok=True)

    def rotate(log: Log) -> None:
        target = tmp_path / folder / f"bot-2026-11-{next(days):02}.log"
        target.touch()
        (tmp_path / "new").symlink_to(target)
        (tmp_path / "new").replace(log.path)

    (tmp_path / folder / "bot-2026-10-31.log").write_bytes(b"what was there before is not read\n")
    log = Log(tmp_path / "current.log")
    rotate(log)
    log.banner = BANNER
    check(log, rotate, down=down, times=times)


def test_a_link_to_another_release(tmp_path: Path) -> None:
    log = Log(tmp_path / "bot.log")
    lines, follower = list[bytes](), Follower(log.path)
    for release in range(4):
        (tmp_path / f"releases/{release}").mkdir(parents=True)
        log.path.unlink(missing_ok=True)
        log.path.symlink_to(tmp_path / f"releases/{release}/bot.log")
        log.write()
        lines += drain(follower)
        log.write()
    assert lines + drain(follower) == log.written


@pytest.mark.parametrize("down", [False, True])
def test_times_tell_nothing(down: bool, log: Log) -> None:
    """Rotated and made again within one tick of the file system's clock."""

    def rotate(log: Log) -> None:
        log.cascade()
        for path in log.path.parent.iterdir():
            os.utime(path, ns=(10**18, 10**18))

    check(log, rotate, down=down, times=4)


def test_a_rotated_file_that_others_still_write_into(log: Log) -> None:
    log.write()
    follower = Follower(log.path)
    lines = drain(follower)
    with log.path.open("ab") as program:
        log.cascade()
        log.write()
        lines += drain(follower)
        log.written.append(b"late")
        program.write(b"late\n")
    assert lines + drain(follower) == log.written


@pytest.mark.parametrize("kept", [True, False])
def test_a_free_inode_is_given_to_the_next_file_at_once(kept: bool, log: Log) -> None:
    """As here after a deletion, while no shipper holds the file: what tells are the text and the moment of birth."""
    log.banner = BANNER
    log.write(3)
    follower = Follower(log.path)
    lines = drain(follower)
    for number in range(5):
        if kept:
            log.write()
            pack(log.path, "gz")
            log.path.with_name("bot.log.gz").rename(log.path.with_name(f"bot.log.{number}.gz"))
        else:
            follower.close()
            log.path.unlink()
        log.write(number * 3)
        follower = restarted(follower)
        lines += drain(follower)
        assert follower.lost is not kept
    assert lines == log.written


@pytest.mark.parametrize("name", ["bot-error.log", "bot1.log", "robot.log", "bot.log.pos", "bot.json", "other.log.1"])
def test_other_logs_are_let_be(name: str, log: Log) -> None:
    log.write()
    follower = Follower(log.path)
    lines = drain(follower)
    log.cascade()
    log.path.with_name(name).write_bytes(b"of another program\n")
    log.write()
    assert lines + drain(follower) == log.written


def test_copies_and_old_files_that_change_are_let_be(log: Log) -> None:
    """A backup, an old file that is compressed now, one that grows, one that is unpacked."""
    folder = log.path.parent
    for number in range(1, 4):
        (folder / f"bot.log.{number}").write_bytes(b"old line of file %d\n" % number * 1000)
    log.write()
    follower = Follower(log.path)
    lines = drain(follower)
    shutil.copy(log.path, folder / "bot.log.bak")
    os.utime(folder / "bot.log.bak", (1, 1))  # made a while before more is written
    log.write()
    pack(folder / "bot.log.2", "gz")
    with (folder / "bot.log.3").open("ab") as file:
        file.write(b"and another one\n")
    log.cascade()
    log.write()
    lines += drain(follower)
    for path in folder.glob("bot.log.[0-9]"):
        pack(path, "gz")
    log.cascade()
    log.write()
    follower = restarted(follower)
    lines += drain(follower)
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        os.utime(path.with_suffix(""), ns=(0, 0))
        path.unlink()
    log.cascade()
    log.write()
    assert lines + drain(follower) == log.written


@pytest.mark.parametrize("rest", [0, 1, 4, 40])
def test_a_start_s_banner_that_is_the_same_does_not_hide_new_lines(rest: int, log: Log) -> None:
    log.banner = BANNER
    log.write(4)
    follower = Follower(log.path)
    assert drain(follower) == log.written
    log.path.write_bytes(b"")
    first = len(log.written)
    log.write(rest)
    assert drain(follower) == log.written[first:]


# --- holes


def hole(path: Path, size: int, text: bytes, *, sparse: bool) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        if sparse:
            file.truncate(0)
            file.seek(size)
        else:
            file.truncate(0)
            file.write(bytes(size))
        file.write(text)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("size", [1, 100, 4095, 60_000, 1_000_003, 30_000_000])
def test_a_hole_is_no_line(size: int, sparse: bool, log: Log) -> None:
    """copytruncate under a program that goes on writing where it was."""
    log.write(200)
    follower = Follower(log.path)
    drain(follower)
    hole(log.path, size, b"the real one\nand the next\n", sparse=sparse)
    assert follower.read(100_000) == [b"the real one", b"and the next"]
    with log.path.open("ab") as file:
        file.write(b"more\n")
    assert drain(restarted(follower)) == [b"more"]


def test_a_hole_as_large_as_a_disk(log: Log) -> None:
    hole(log.path, 1 << 42, b"the real one\n", sparse=True)
    assert drain(Follower(log.path)) == [b"the real one"]


def test_holes_between_lines(log: Log) -> None:
    log.path.write_bytes(b"one\n" + bytes(200_000) + b"two\nthr" + bytes(90_000) + b"four\n" + bytes(9) + b"five\n")
    assert drain(Follower(log.path)) == [b"one", b"two", b"thr", b"four", b"five"]


def test_room_that_was_made_beforehand_is_not_jumped_over(log: Log) -> None:
    log.path.write_bytes(b"one\ntw" + bytes(100_000))
    follower = Follower(log.path)
    assert drain(follower) == [b"one"]
    with log.path.open("r+b") as file:
        file.seek(4)
        file.write(b"two\nthree\n")
    assert drain(follower) == [b"two", b"three"]


# --- names


@pytest.mark.parametrize(
    "name",
    [
        *(scheme(7) for scheme in NAMES.values()),
        "bot.log.1.gz",
        "bot.log-20261127.bz2",
        "bot.log.old",
        "bot20261127.log",
    ],
)
def test_names_of_rotated_files(name: str) -> None:
    assert is_rotated(name, "bot.log")


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("bot.log", "bot.log"),
        ("bot-error.log", "bot.log"),
        ("bot2.log", "bot.log"),
        ("shard-1.log", "shard-0.log"),
        ("shard-1.log.1", "shard-0.log"),
        ("bot2", "bot"),
        ("bot.log.1.tmp", "bot.log"),
        (".bot.log.swp", "bot.log"),
        ("log.bot", "bot.log"),
        ("bot", "bot.log"),
    ],
)
def test_names_of_others(name: str, live: str) -> None:
    assert not is_rotated(name, live)


def test_names_of_multilog() -> None:
    assert is_rotated("@400000006567a1b22c3d4e5f.s", "current")
    assert is_sibling("bot-2026-11-26.log.gz", "bot-2026-11-27.log")
    assert not is_sibling("err-2026-11-26.log", "bot-2026-11-27.log")


# --- any order of events


def moves(chance: random.Random) -> Iterable[Callable[[Log], object]]:
    scheme = NAMES[chance.choice(list(NAMES))]
    yield lambda log: log.move(scheme(log.rotations))
    yield lambda log: pack(log.move(scheme(log.rotations)), "gz")
    yield lambda log: log.cascade()
    yield lambda log: log.copy(scheme(log.rotations))
    yield lambda log: log.cascade("bot.{}.log")


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_events(seed: int, log: Log) -> None:
    """Writes, reads of any size, rotations of one kind, a late compression, restarts."""
    chance = random.Random(seed)
    rotate = chance.choice(list(moves(chance)))
    log.banner = chance.choice([b"", BANNER])
    follower = Follower(log.path)
    log.write()
    lines = drain(follower)
    for _ in range(80):
        match chance.randrange(6):
            case 0 | 1:
                log.write(chance.randrange(1, 30))
            case 2:
                lines += follower.read(chance.randrange(1, 2_000))
            case 3 if log.path.exists() and log.path.stat().st_size and log.rotations < 15:
                rotate(log)
            case 4:
                follower = restarted(follower)
            case 5 if plain := sorted(each for each in log.path.parent.glob("*[0-9]*") if each.suffix != ".gz"):
                pack(chance.choice(plain), "gz", keep_time=True)
    log.write(1)
    lines += drain(follower)
    assert sorted(lines) == sorted(log.written)
    if not log.banner:  # of files that begin alike, and of which no more was read, it cannot tell which came first
        assert lines == log.written
    assert not follower.lost


def copied_cascade(log: Log) -> Path:
    """logrotate with copytruncate."""
    copy = log.path.with_name("copy")
    shutil.copy(log.path, copy)
    live = log.path.rename(log.path.with_name("live"))
    copy.rename(log.path)
    moved = log.cascade()
    live.rename(log.path)
    os.truncate(log.path, 0)
    return moved


def a_glob(log: Log, chance: random.Random) -> list[Path]:
    """The log, rotated files of it, not all of which are there, and a link."""
    paths = [log.path, *(log.path.with_name(f"bot.log.{number}") for number in (1, 2, 3)), log.path.with_name("link")]
    paths[-1].symlink_to(log.path)
    chance.shuffle(paths)
    return paths


ROTATIONS: list[Callable[[Log], Path]] = [Log.cascade, copied_cascade]


@pytest.mark.parametrize("seed", range(40))
def test_a_glob_in_any_order_of_events(seed: int, log: Log) -> None:
    """Followers of the log, of its rotated files and of further names of them store every line once."""
    chance = random.Random(seed)
    rotate = chance.choice(ROTATIONS)
    log.banner = chance.choice([b"", BANNER])
    log.write()
    rotate(log)
    log.write()
    paths, library, lines = a_glob(log, chance), Library(), list[bytes]()

    def start() -> list[Follower]:
        followers = [Follower(path, library, frozenset(paths)) for path in paths]
        for follower in followers:
            follower.start()
        return followers

    followers = start()
    for _ in range(60):
        match chance.randrange(5):
            case 0 | 1:
                log.write(chance.randrange(1, 30))
            case 2:
                lines += chance.choice(followers).read(chance.randrange(len(log.banner) + 1, 5_000))
            case 3 if log.rotations < 15:
                rotate(log)
                log.write(1)
            case 4:
                library = Library.load(json.loads(json.dumps(library.save())))
                followers = start()
    for follower in followers * 2:
        lines += drain(follower)
    assert sorted(lines) == sorted(log.written)
