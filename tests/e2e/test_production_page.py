"""docs/production.md, block by block, on two bare hosts: from nothing to a doctor without a complaint, by store.

The hosts are network namespaces. Nothing of the checkout is on them: what pip installs is the built wheel. Instead of
ssh the other host's shell is entered, and instead of cron the test starts the lines of the crontab.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import pytest

import hosts
from clean_hosts import due
from e2e.stack import ROOT, until
from lease_servers import ACCESS_KEY, BUCKET, SECRET_KEY
from wheels import index, pip_from

PAGE = (ROOT / "docs/production.md").read_text().partition("## Step by step, by store\n")[2].partition("\n## ")[0]
BLOCKS: list[tuple[str, str]] = re.findall(r"```sh\n# (.*?)\n(.*?)```", PAGE, re.DOTALL)
TOKEN = "page-token"
CHOSEN = ("the lease in a bucket", "where cron runs")  # among the page's alternatives
pytestmark = pytest.mark.skipif(not hosts.may_have_hosts(), reason="needs root, and a kernel that lets it make hosts")


@dataclass
class Shell:
    """A person at one of the hosts."""

    place: hosts.Host
    folder: Path
    packages: Path
    lines: list[str] = field(default_factory=list)  # that were typed
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "bin").mkdir(parents=True)
        self.tool("python3", f'exec {sys.executable} "$@"')
        self.tool("crontab", f"case $1 in -l) cat {self.folder}/tab ;; -) cat > {self.folder}/tab ;; esac")

    def tool(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """Of a login: no setting of ours, and a network without the package index."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8"} | pip_from(self.packages)

    def run(self, text: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Types it, in a shell that has gone where the lines before had led."""
        where = [line for line in self.lines if line.startswith(("cd ", ". "))]
        script = "\n".join(["set -eu", *where, text])
        done = subprocess.run(
            [*self.place.prefix, "bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=400,
            check=False,
        )
        assert not check or done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr, f"{text}\n{done.stdout}{done.stderr}"
        self.lines += [re.sub(r"^mkdir .* && ", "", line) for line in text.splitlines()]
        return done

    def keep(self, *command: str) -> None:
        with (self.folder / "kept.log").open("ab") as log:
            self.started.append(
                subprocess.Popen(
                    [*self.place.prefix, *command],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def minute_passes(self) -> None:
        """What cron does each minute."""
        for command in due((self.folder / "tab").read_text(), "* * * * *"):
            self.keep("sh", "-c", command)

    def complaints(self) -> list[str]:
        """What doctor says that is no PASS; but for what the kernel of this machine forbids."""
        lines = self.run("rectbot doctor", check=False).stdout.splitlines()
        assert any(line.startswith("PASS") for line in lines), lines
        return [line for line in lines if line.startswith(("WARN", "FAIL")) and line.split()[1] != "containment"]

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return index(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def three(tmp_path: Path, packages: Path) -> Iterator[tuple[Shell, Shell, hosts.Host]]:
    with hosts.hosts("oci", "xserver", "cloud") as (oci, xserver, cloud):
        first, second = (Shell(host, tmp_path / host.name, packages) for host in (oci, xserver))
        second.tool("ssh", f'cd {first.folder} && shift && exec nsenter --net=/run/netns/{oci.space} sh -c "$*"')
        try:
            yield first, second, cloud
        finally:
            first.run("rectbot down", check=False)
            for shell in (first, second):
                shell.end()


def _wanted(title: str) -> bool:
    """Whether a block with this title is typed; one without a condition always is."""
    condition = re.split(": |, ", title, maxsplit=1)[1:]
    return not condition or condition[0].startswith(CHOSEN)


def _play(oci: Shell, xserver: Shell, given: dict[str, str]) -> None:
    for title, body in BLOCKS:
        host = {"oci": oci, "xserver": xserver}.get(title.split()[1].strip(":,"))
        if host is not None and _wanted(title):
            host.run(reduce(lambda text, pair: text.replace(*pair), given.items(), body))


def _given(oci: Shell, xserver: Shell, bucket: str) -> dict[str, str]:
    """What the page cannot know: this test's own names and keys."""
    discord = f"http://{oci.place.address}:9800"
    return {
        "oci.example.org": oci.place.address,
        "203.0.113.5": xserver.place.address,
        "=BOT_TOKEN": f"={TOKEN}\nDISCORD_API_URL={discord}/api/v10",
        "=WEBHOOK_URL": f"={discord}/api/webhooks/1/token",
        "s3://my-bucket": f"s3://{BUCKET}",
        "https://ACCOUNT.r2.cloudflarestorage.com": bucket,
        "=KEY_ID": f"={ACCESS_KEY}",
        "=SECRET_KEY": f"={SECRET_KEY}",
    }


@pytest.mark.timeout(900)
def test_the_page_leads_to_a_doctor_without_a_complaint(three: tuple[Shell, Shell, hosts.Host], tmp_path: Path) -> None:
    oci, xserver, cloud = three
    with ExitStack() as stack:
        store, _, _ = hosts.bucket_in_the_cloud(tmp_path / "store", oci.place, xserver.place, cloud, stack)
        discord = [sys.executable, "-m", "rectbot", "discord", "serve", "--host", oci.place.address, "--token", TOKEN]
        oci.keep(*discord, "--port", "9800")
        _play(oci, xserver, _given(oci, xserver, store["url"].partition("endpoint=")[2]))
        left = ["not asked yet"]

        def all_is_well() -> bool:
            xserver.minute_passes()
            left[:] = oci.complaints() + xserver.complaints()
            return not left

        try:
            until(all_is_well, 200, "doctor has nothing to complain of on either host")
        except AssertionError as error:
            log = (xserver.folder / "kept.log").read_text()[-3000:]
            raise AssertionError("\n".join([str(error), *left, log])) from None
        assert _leader(oci) == "xserver"
        xserver.place.lose_power()
        until(lambda: _leader(oci) == "oci", 90, "the other host takes over")


def _leader(shell: Shell) -> str | None:
    leader = json.loads(shell.run("rectbot status --json", check=False).stdout)["leader"]
    return leader["site"] if leader else None
