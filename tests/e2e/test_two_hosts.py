"""Two hosts as network namespaces, under names of their own: invited, joined, and each takes over from the other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import hosts
from e2e.stack import ROOT, Stack, until
from rectbot.stack.env_file import assign

TOKEN = "two-hosts"


pytestmark = pytest.mark.skipif(not hosts.may_have_hosts(), reason="needs root, and a kernel that lets it make hosts")


@dataclass
class Host(Stack):
    """A folder on a host of its own."""

    place: hosts.Host = field(kw_only=True)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.place.address

    def command(self, *arguments: str) -> list[str]:  # type: ignore[override]
        return [*self.place.prefix, *super().command(*arguments)]

    def keep(self, *arguments: str) -> subprocess.Popen[str]:
        """Runs a command for good, as a unit of systemd would, in a process group of its own."""
        with (self.home / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                env=self.environment | {"BOT_PID_FILE": str(self.home / "bot.pid")},
                cwd=self.home,
                text=True,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def write_env(self, **values: str) -> None:
        path = self.home / ".env"
        path.write_text(assign(path.read_text(), values))

    def doctor(self) -> dict[str, str]:
        """What each check says that does not pass."""
        lines = self.run("doctor", check=False).stdout.splitlines()
        return {line.split()[1]: line for line in lines if line.startswith(("WARN", "FAIL"))}


def _end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait(30)


@contextmanager
def _hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """The monitoring host and the other one, with a wire between them, and nothing else."""
    with hosts.hosts("osaka", "tokyo") as (osaka, tokyo):
        first = Stack.prepare(folder / "osaka")
        shutil.copy(ROOT / "docker-compose.monitoring.yml", first.home)
        (folder / "tokyo").mkdir()
        both = Host(first.home, 1000, place=osaka), Host(folder / "tokyo", 1000, place=tokyo)
        try:
            yield both
        finally:
            for host in both:
                for process in host.processes:
                    _end(process)
                host.destroy()


@pytest.mark.timeout(600)
def test_two_hosts_of_any_name_take_over_from_each_other(tmp_path: Path) -> None:
    with _hosts(tmp_path) as (osaka, tokyo):
        osaka.keep("discord", "serve", "--host", osaka.address, "--port", "9800", "--token", TOKEN)
        osaka.run("init", "--host", osaka.address, "--allow", tokyo.address, "--ttl", "8s")
        osaka.write_env(
            DISCORD_BOT_TOKEN=TOKEN,
            DISCORD_API_URL=f"http://{osaka.address}:9800/api/v10",
            DISCORD_ALERT_WEBHOOK_URL=f"http://{osaka.address}:9800/api/webhooks/1/token",
            FAILOVER_PRIORITY="tokyo,osaka",
            FAILBACK_DELAY_SEC="2",
            REDIS_BIND=osaka.address,
            PUSH_PROXY_BIND=osaka.address,
        )
        osaka.run("init")
        osaka.run("up", "--detach", "--site", "osaka", timeout=200)
        until(lambda: osaka.leader() == "osaka", 60, "the only site that runs leads")
        invited = osaka.run("invite", "tokyo", "--plain")
        assert "WARNING" not in invited.stderr, invited.stderr
        joined = tokyo.run("join", invited.stdout.strip(), "--no-install")
        assert "FAIL" not in joined.stdout
        assert "WARN" not in joined.stdout, joined.stdout
        bot = tokyo.keep("bot")
        tokyo.run("push")
        tokyo.keep("push", "--every", "20")
        until(lambda: osaka.leader() == "tokyo", 90, "the preferred site leads")
        assert osaka.doctor() == {}, "every promise is kept on the monitoring host"
        left = tokyo.doctor().keys() - {"containment"}
        assert left <= {"start"}, "nothing but what starts it after a reboot, of which there is none here"
        _end(bot)
        until(lambda: osaka.leader() == "osaka", 90, "the other host takes over from a dead one")
        tokyo.keep("bot")
        until(lambda: osaka.leader() == "tokyo", 90, "and hands back")
        osaka.run("site", "kill", "osaka")
        assert osaka.leader() == "tokyo"
        osaka.run("down")
