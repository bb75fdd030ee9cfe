"""CPU use between two pushes: made-up counters, fake /proc and control groups, damaged memories of the last push."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectbot.push import counters, proc
from rectbot.push.counters import Account, Counters, bot_use, comparable, cpus, host_use, recall, remember

BOT = "70@100.00"
BEFORE = Counters("boot 0.01", 1000.0, Account("host 2", 100.0, 1800.0), {BOT: 5.0, "71@101.00": 1.0})


def later(seconds: float = 60.0, busy: float = 30.0, **changes: Any) -> Counters:
    """So long after BEFORE, in which both CPUs together were busy for `busy` seconds."""
    host = Account("host 2", 100.0 + busy, 1800.0 + 2 * seconds)
    return replace(Counters("boot 0.01", 1000.0 + seconds, host, {BOT: 8.0, "71@101.00": 1.0}), **changes)


def test_use_is_the_average_over_the_whole_time() -> None:
    assert comparable(BEFORE, later())
    assert host_use(BEFORE, later()) == pytest.approx(0.25)
    assert bot_use(BEFORE, later()) == pytest.approx(3 / 60)


OTHER_RUN = {
    "after a reboot": later(run="other 0.01"),
    "after a container's restart": later(run="boot 500.00"),
    "where nobody can tell": later(run=""),
    "of a later time, as a damaged file may say": later(-1.0),
    "of long ago": later(counters.LONGEST_SECONDS + 1),
}


@pytest.mark.parametrize("now", OTHER_RUN.values(), ids=OTHER_RUN)
def test_counters_of_another_run_are_not_compared(now: Counters) -> None:
    assert not comparable(BEFORE, now)


def test_a_host_without_a_boot_id_compares_with_nothing() -> None:
    assert not comparable(replace(BEFORE, run=""), later(run=""))


NOT_TOLD = {
    "the counters began anew": later(host=Account("host 2", 1.0, 50.0)),
    "only the busy time went back": later(busy=-1.0),
    "they jumped ahead": later(busy=1e6, host=Account("host 2", 1e6, 4e6)),
    "more was used than there was": later(host=Account("host 2", 400.0, 1920.0)),
    "they stand still": later(host=BEFORE.host),
    "another control group": later(host=Account("/sys/fs/cgroup 1.0", 130.0, 1920.0)),
    "another number of CPUs": later(host=Account("host 4", 130.0, 1920.0)),
    "no /proc/stat any more": later(host=None),
}


@pytest.mark.parametrize("now", NOT_TOLD.values(), ids=NOT_TOLD)
def test_what_cannot_be_is_not_told(now: Counters) -> None:
    assert host_use(BEFORE, now) is None


def test_a_suspend_is_no_use_of_the_cpu() -> None:
    """The clock goes on, the counters do not."""
    assert host_use(BEFORE, later(600.0, host=Account("host 2", 130.0, 1920.0))) == pytest.approx(0.25)


BOTS = {  # the processes later, and the use that is right
    "it idles": ({BOT: 5.0}, 0.0),
    "a child has ended": ({BOT: 8.0}, 3 / 60),
    "a child has begun": ({BOT: 5.0, "90@1010.00": 6.0}, 6 / 60),
    "an older process came under it": ({BOT: 5.0, "90@900.00": 600.0}, 0.0),
    "a number was given to another process": ({BOT: 5.0, "71@1030.00": 1.5}, 1.5 / 60),
    "it was started anew": ({"80@1020.00": 2.0, "71@101.00": 1.0}, None),
    "its number is another's": ({"70@1020.00": 2.0}, None),
    "it does not run": ({}, None),
}


@pytest.mark.parametrize(("bot", "right"), BOTS.values(), ids=BOTS)
def test_the_bot_s_use_is_of_its_own_processes(bot: dict[str, float], right: float | None) -> None:
    assert bot_use(BEFORE, later(bot=bot)) == (None if right is None else pytest.approx(right))


STAT = "cpu  1000 0 500 8000 400 50 50 0 0 0\ncpu0 1 1\ncpu1 1 1\nbtime 1700000000\n"
NEXT = "cpu  1600 0 1100 8700 500 50 50 0 0 0\ncpu0 1 1\ncpu1 1 1\n"
QUOTAS = {  # version, files at the first and the second reading, 10 s apart; CPUs and use that are right
    "v2": (2, {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 1000000"}, {"cpu.stat": "usage_usec 3000000"},
           0.5, 0.4),
    "v2, over it for a moment": (2, {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 0"},
                                 {"cpu.stat": "usage_usec 5200000"}, 0.5, 1.0),
    "v2, none": (2, {"cpu.max": "max 100000", "cpu.stat": "usage_usec 1"}, {}, None, 0.6),
    "v2, more than the host has": (2, {"cpu.max": "99900000 100000", "cpu.stat": "usage_usec 1"}, {}, None, 0.6),
    "v2, use hidden": (2, {"cpu.max": "50000 100000"}, {}, 0.5, None),
    "v2, use is nonsense": (2, {"cpu.max": "50000 100000", "cpu.stat": "usage"}, {}, 0.5, None),
    "v2, quota is nonsense": (2, {"cpu.max": "?", "cpu.stat": "usage_usec 1"}, {}, None, 0.6),
    "v2, changed meanwhile": (2, {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 0"},
                              {"cpu.max": "25000 100000", "cpu.stat": "usage_usec 5"}, 0.25, None),
    "v1": (1, {"cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 100000, "cpuacct.usage": 10**9},
           {"cpuacct.usage": 3 * 10**9}, 0.5, 0.4),
    "v1, none": (1, {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000, "cpuacct.usage": 1}, {}, None, 0.6),
    "v1, no period": (1, {"cpu.cfs_quota_us": 5, "cpu.cfs_period_us": 0, "cpuacct.usage": 1}, {}, None, 0.6),
    "v1, use hidden": (1, {"cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 100000}, {}, 0.5, None),
}  # fmt: skip


@pytest.mark.parametrize("apart", [False, True], ids=["together", "accounted for elsewhere"])
@pytest.mark.parametrize(("version", "first", "second", "right_cpus", "right"), QUOTAS.values(), ids=QUOTAS)
def test_in_a_container_cpu_use_is_of_its_quota(
    version: int,
    first: dict[str, object],
    second: dict[str, object],
    right_cpus: float | None,
    right: float | None,
    *,
    apart: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Version 1 may mount `cpu` and `cpuacct` together or apart."""
    folder, accounts = tmp_path / "groups/docker/1", tmp_path / "accounts/docker/1"
    elsewhere = apart and version == 1
    _fake_proc(tmp_path, monkeypatch, version, apart=elsewhere)

    def write(files: dict[str, object]) -> None:
        for name, content in files.items():
            target = accounts if elsewhere and name == "cpuacct.usage" else folder
            target.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(f"{content}\n")

    monkeypatch.setattr(proc, "uptime", lambda: 1000.0)
    write(first)
    before = counters.now([])
    monkeypatch.setattr(proc, "uptime", lambda: 1010.0)
    write(second)
    (tmp_path / "proc/stat").write_text(NEXT)
    use = host_use(before, counters.now([]))
    assert cpus() == (right_cpus or os.cpu_count())
    assert use == (None if right is None else pytest.approx(right))


def _fake_proc(folder: Path, monkeypatch: pytest.MonkeyPatch, version: int, *, apart: bool) -> None:
    (folder / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(proc, "ROOT", folder / "proc")
    (folder / "proc/stat").write_text(STAT)
    if version == 2:
        groups, mounts = "0::/docker/1\n", f"30 23 0:26 / {folder}/groups rw - cgroup2 cgroup2 rw\n"
    elif apart:
        groups = "4:cpu:/docker/1\n5:cpuacct:/docker/1\n0::/\n"
        mounts = f"30 23 0:26 / {folder}/groups rw - cgroup cgroup rw,cpu\n"
        mounts += f"31 23 0:27 / {folder}/accounts rw - cgroup cgroup rw,cpuacct\n"
    else:
        groups = "4:cpu,cpuacct:/docker/1\n0::/\n"
        mounts = f"30 23 0:26 / {folder}/groups rw - cgroup cgroup rw,cpu,cpuacct\n"
    (folder / "proc/self/cgroup").write_text(groups)
    (folder / "proc/self/mountinfo").write_text(mounts)


def test_what_is_remembered_is_for_this_user_only_and_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "push/x.counters.json"
    old = os.umask(0)
    try:
        remember(file, BEFORE)
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert recall(file) == BEFORE
    remember(file, later())
    assert recall(file) == later()
    assert [each.name for each in file.parent.iterdir()] == [file.name]


WORDS = asdict(BEFORE)
WRONG: list[Any] = [[], True, "x", -1, math.nan, math.inf, 10**400, {"a": "b"}, {"of": 1}]
DAMAGED = {
    "empty": b"",
    "cut": json.dumps(WORDS).encode()[:-9],
    "not text": b"\xff\x00\xfe",
    "zeros, as after a power cut": bytes(300),
    "deep": b"[" * 100_000,
    "huge": b" " * 1_000_000 + json.dumps(WORDS).encode(),
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "long digits": b'{"at": ' + b"9" * 10_000 + b"}",
    **{
        f"{name} is {value!r}": json.dumps(WORDS | {name: value}).encode()
        for name in WORDS
        for value in WRONG
        if (name, value) not in (("run", "x"), ("bot", {"of": 1}))
    },
    **{
        f"host {name} is {value!r}": json.dumps(WORDS | {"host": WORDS["host"] | {name: value}}).encode()
        for name in ("of", "busy", "total")
        for value in (None, [], "x" if name != "of" else 1, -1, math.nan, "host x" if name != "of" else {})
    },
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_memory_is_none_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.counters.json"
    file.write_bytes(content)
    assert recall(file) is None
    remember(file, BEFORE)
    assert recall(file) == BEFORE


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.dictionaries(st.sampled_from([*WORDS, "of", "busy", "total"]), inner, max_size=5),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_the_file_holds_use_is_unknown_or_a_share(tmp_path_factory: Any, content: bytes) -> None:
    file = tmp_path_factory.mktemp("memory") / "x.json"
    file.write_bytes(content)
    before = recall(file)
    if before is not None and comparable(before, later()):
        use = host_use(before, later())
        assert use is None or 0 <= use <= 1
        assert (bot_use(before, later()) or 0) >= 0


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link to nowhere", "unreadable folder"])
def test_what_is_no_file_is_neither_read_nor_waited_for(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    match kind:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "link":
            remember(tmp_path / "other", BEFORE)
            file.symlink_to(tmp_path / "other")
        case "link to nowhere":
            file.symlink_to(tmp_path / "none")
        case _:
            file = tmp_path / "file" / "x.json"
            (tmp_path / "file").write_text("")
    before = _open_files()
    assert recall(file) is None
    remember(file, later())
    assert _open_files() == before
    if kind == "link":
        assert recall(tmp_path / "other") == BEFORE


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_of_two_who_remember_at_once_one_is_remembered_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    remember(file, BEFORE)
    program = (
        "import sys; from pathlib import Path; from rectbot.push.counters import recall, remember\n"
        "file = Path(sys.argv[1]); each = recall(file)\nfor _ in range(500): remember(file, each)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, file]) for _ in range(3)]
    while any(process.poll() is None for process in running):
        assert recall(file) == BEFORE
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
