"""Clean hosts, and a person who types there what docs/production.md says: only Debian, and the built wheel in an index.

A host is a network namespace with a PID 1, with processes, a crontab and a disk of its own; without power all that runs
on it is gone at once. What cron would start is started from the crontab, without waiting for the minute to be
over. It takes root.
"""

from __future__ import annotations

import grp
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hosts
from rectbot.stack.env_file import assign
from wheels import pip_from

# What an init does. /run is new at each start; crontabs are on the host's own disk.
_BOOT = """
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
mount --bind "$2" /var/spool/cron/crontabs
exec sleep infinity
"""
_IN = ("--net", "--mount", "--pid", "--uts")


@dataclass
class Booked:
    """What a person has typed, and for how long he sat there."""

    commands: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def typed(self) -> int:
        return len(self.commands) + len(self.answers)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def __str__(self) -> str:
        return f"{len(self.commands)} commands and {len(self.answers)} answers in {self.seconds:.0f} s"


@dataclass
class Machine:
    """One host, and who sits in front of it."""

    wire: hosts.Host
    disk: Path
    index: Path  # of packages
    booked: Booked
    _switch_on: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return self.wire.address

    @property
    def folder(self) -> Path:
        return self.disk / "bot"

    def boot(self) -> None:
        """Power comes (back): the disk is as it was."""
        crontabs = self.disk / "crontabs"
        for folder in (self.folder, crontabs):
            folder.mkdir(parents=True, exist_ok=True)
        os.chown(crontabs, 0, grp.getgrnam("crontab").gr_gid)
        crontabs.chmod(0o1730)
        subprocess.run(["ip", "-n", self.wire.switch, "link", "set", self.wire.space, "up"], check=True)
        own = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        command = [*self.wire.prefix, *own, "sh", "-c", _BOOT, "boot", self.wire.name, str(crontabs)]
        with (self.disk / "boot.log").open("ab") as log:
            self._switch_on = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._until(lambda: self.ask("pgrep -x sleep").stdout.split()[:1] == ["1"], "has booted")
        self.cron("@reboot")

    def cron(self, when: str = "* * * * *") -> None:
        """Starts what the crontab has for this time, as cron(8) does."""
        for command in due(self.ask("crontab -l").stdout, when):
            self._shell(f"({command}) </dev/null >/dev/null 2>&1 &")

    def lose_power(self) -> None:
        self.wire.lose_power()
        if self._switch_on is not None:
            self._switch_on.wait(30)

    def ask(self, text: str) -> subprocess.CompletedProcess[str]:
        """What a shell of the host makes of it in the bot's folder; nobody counts that."""
        return self._shell(f"cd {self.folder} && {text}")

    def _shell(self, text: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.disk}/rectbot/bin:{sys.base_prefix}/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"HOME": str(self.disk), "PATH": path, "LANG": "C.UTF-8"} | pip_from(self.index)
        return subprocess.run(
            ["nsenter", "-t", self._pid_1(), *_IN, "sh", "-c", text],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def types(self, command: str) -> str:
        """A command, which must do what it is to do; returns what it prints."""
        self.booked.commands.append(f"{self.wire.name}$ {command}")
        done = self.ask(command)
        assert done.returncode == 0, f"{self.wire.name}$ {command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def writes(self, **settings: str) -> None:
        """Answers in .env, one for each setting."""
        path = self.folder / ".env"
        path.write_text(assign(path.read_text(), settings))
        self.booked.answers += [f"{self.wire.name}: {name}" for name in settings]

    def _pid_1(self) -> str:
        assert self._switch_on is not None
        pid = self._switch_on.pid
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return words[0] if words else "0"

    def _until(self, met: object, what: str) -> None:
        assert callable(met)
        deadline = time.monotonic() + 60
        while not met():
            log = (self.disk / "boot.log").read_text()
            assert time.monotonic() < deadline, f"{self.wire.name} {what}: not in a minute: {log}"
            time.sleep(0.2)


def due(crontab: str, when: str) -> Iterator[str]:
    """The commands that cron(8) would start at this time."""
    for line in crontab.splitlines():
        if line.startswith(f"{when} "):
            yield line.removeprefix(when).strip().replace("\\%", "%")


@contextmanager
def machines(folder: Path, index: Path, *names: str) -> Iterator[tuple[list[Machine], list[hosts.Host]]]:
    """Two hosts of these names that have just been rented, with their wires and a third one's, of the world beside."""
    booked = Booked()
    with hosts.hosts(*names, "world") as wires:
        rented = [Machine(wire, folder / wire.name, index, booked) for wire in wires[:-1]]
        for machine in rented:
            machine.boot()
        booked.began = time.monotonic()
        yield rented, wires
