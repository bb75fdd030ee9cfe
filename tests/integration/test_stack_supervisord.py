"""Our supervisord on a disk that is full, out of inodes, or mounted read-only: it goes on, and so does what it runs.

Each disk is a small tmpfs in a mount namespace of the test's own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from servers_monitoring import until

# What breaks the disk, and what mends it; `small` is where the log files are.
DISKS = {
    "full": ("head -c 9m /dev/zero >small/filler; true", "rm small/filler"),
    "no inodes": ("touch $(seq -f small/filler%g 60) 2>/dev/null; true", "rm small/filler*"),
    "read-only": ("mount -o remount,ro,size=1m,nr_inodes=40 small", "mount -o remount,rw,size=1m,nr_inodes=40 small"),
    "the folder is gone": ("mv small/log small/away", "mv small/away small/log"),
}
TALKS = "import time\nn = 0\nwhile True:\n  n += 1\n  print('line', n, 'x' * 500, flush=True)\n  time.sleep(0.005)\n"
CONFIG = """\
[supervisord]
logfile={home}/small/log/supervisord.log
logfile_maxbytes=20KB
logfile_backups=1
pidfile={home}/small/supervisord.pid
silent=true

[program:talks]
command={python} {home}/talks.py
stdout_logfile={home}/small/log/talks.log
stdout_logfile_maxbytes=100KB
stdout_logfile_backups=2
redirect_stderr=true
startretries=1000000
"""


@dataclass
class Small:
    """A supervisord with its logs on a small disk, and a shell beside it that sees the same disk."""

    home: Path
    shell: subprocess.Popen[str]

    def run(self, line: str) -> str:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{line}\nprintf '\\n-- done\\n'\n")
        self.shell.stdin.flush()
        return "".join(iter(self.shell.stdout.readline, "-- done\n"))[:-1]  # there may be half a line before it

    @property
    def supervisord(self) -> psutil.Process:
        return next(p for p in psutil.Process(self.shell.pid).children() if "rectbot.stack.supervisord" in p.cmdline())

    def program(self) -> psutil.Process | None:
        return next(iter(self.supervisord.children()), None)

    def has_other_than(self, before: psutil.Process) -> bool:
        return self.program() not in (None, before)

    def written(self) -> int:
        """The number of the newest line in the log."""
        lines = [line.split() for line in self.run("cat small/log/talks.log 2>&1").splitlines()]
        return next((int(words[1]) for words in reversed(lines) if words[:1] == ["line"] and len(words) == 3), 0)


@contextmanager
def small(home: Path) -> Iterator[Small]:
    (home / "talks.py").write_text(TALKS)
    (home / "supervisord.conf").write_text(CONFIG.format(home=home, python=sys.executable))
    (home / "small").mkdir()
    start = f"{sys.executable} -m rectbot.stack.supervisord -n -c supervisord.conf </dev/null >small/console 2>&1 &"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh"]
    pipe = subprocess.PIPE
    shell = subprocess.Popen(command, cwd=home, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    started = Small(home, shell)
    try:
        started.run(f"mount -t tmpfs -o size=1m,nr_inodes=40 tmpfs small && mkdir small/log && {start}")
        until(lambda: started.written() > 100, "the program logs")
        yield started
    finally:
        for process in psutil.Process(shell.pid).children(recursive=True):
            process.kill()
        shell.kill()
        shell.wait()


@pytest.mark.parametrize(("breaks", "mends"), DISKS.values(), ids=DISKS)
def test_it_outlives_its_disk_and_so_do_its_programs(tmp_path: Path, breaks: str, mends: str) -> None:
    with small(tmp_path) as there:
        supervisord = there.supervisord
        there.run(breaks)
        for _ in range(3):
            before = there.program()
            assert before is not None
            before.kill()
            until(partial(there.has_other_than, before), "it is started again")
        assert there.supervisord == supervisord
        mended = there.run(mends)
        assert not mended, mended
        until(lambda: there.written() > 200, "its log goes on")
        assert there.supervisord == supervisord


def test_the_logs_are_rotated_and_hold_whole_lines(tmp_path: Path) -> None:
    with small(tmp_path) as there:
        until(lambda: there.written() > 700, "there is more than three files hold")
        names = there.run("ls small/log").split()
        assert {"talks.log", "talks.log.1", "talks.log.2"} <= set(names)
        assert "talks.log.3" not in names
        text = there.run("cat small/log/talks.log.2 small/log/talks.log.1")
        numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(text) > 190_000


def test_a_program_that_cannot_start_is_tried_again_within_seconds_for_ever(tmp_path: Path) -> None:
    with small(tmp_path) as there:
        (tmp_path / "talks.py").rename(tmp_path / "away")
        program = there.program()
        assert program is not None
        program.kill()
        log = "grep -c 'spawned' small/log/supervisord.log"
        until(lambda: int(there.run(log)) > 6, "it was tried some times", 60)
        (tmp_path / "away").rename(tmp_path / "talks.py")
        until(lambda: there.written() > 0 and there.program(), "it runs", 8)
