"""A monitoring host with its servers, and hosts that join it: folders of a test, servers on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from rectbot.stack import push_users, redis_users
from rectbot.stack.env_file import assign
from rectbot.stack.layout import Layout
from servers import PASSWORD, RedisServer, free_port
from servers_monitoring import ROOT, lay_out_proxy, local_discord, pushgateway, running, until

TOKEN = "local-discord"
AHEAD = (  # rectbot as it runs where the clock is wrong by so many seconds
    "import sys, time; real, off = time.time, float(sys.argv.pop(1)); time.time = lambda: real() + off\n"
    "from rectbot.cli import main; main()"
)


@dataclass
class Host:
    """A folder in which rectbot is called as a person would."""

    home: Path
    more: dict[str, str] = field(default_factory=dict)

    def run(
        self, *words: str, stdin: str = "", clock: float | None = None, humble: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        start = ["-m", "rectbot"] if clock is None else ["-c", AHEAD, str(clock)]
        # Root without the right to pass over the modes of files, where we are root.
        held = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if humble and os.geteuid() == 0 else []
        return subprocess.run(
            [*held, sys.executable, *start, *words],
            env={**kept, "HOME": str(self.home), "RECTBOT_HOME": str(self.home), **self.more, **environment},
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,  # no terminal to ask for a passphrase
        )

    @property
    def env(self) -> dict[str, str | None]:
        return dotenv_values(self.home / ".env")

    def write_env(self, **values: str) -> None:
        path = self.home / ".env"
        text = path.read_text() if path.exists() else ""
        path.write_text(assign(text, values))
        path.chmod(0o600)

    def files(self) -> dict[str, bytes]:
        """All that is in the folder, but for state."""
        return {path.name: path.read_bytes() for path in self.home.iterdir() if path.is_file()}


@dataclass
class Monitoring(Host):
    """The host that invites, with Redis over TLS, push proxy, Pushgateway and a local Discord."""

    redis: RedisServer = field(default_factory=lambda: RedisServer(Path()))
    behind: int = 0
    tls_port: int = field(default_factory=free_port)

    def invite(self, site: str = "xserver", *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("invite", site, "--host", "localhost", "--redis", f"localhost:{self.tls_port}", *more)

    def plain(self, site: str = "xserver", *more: str) -> str:
        done = self.invite(site, "--plain", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def monitoring(folder: Path, sites: Sequence[str] = ("xserver",), **settings: str) -> Iterator[Monitoring]:
    """One that has invited these sites before its servers were started."""
    home = folder / "oci"
    home.mkdir(parents=True)
    shutil.copy(ROOT / ".env.example", home)
    with pushgateway(folder) as behind, local_discord(folder) as discord:
        proxy_port = free_port()
        port = free_port()
        host = Monitoring(home, {"RECTBOT_PORT_OFFSET": str(proxy_port - 9443)}, RedisServer(folder / "redis", port))
        host.behind = behind
        api = f"http://127.0.0.1:{discord.port}/sites/xserver/api/v10"
        given = {"DISCORD_BOT_TOKEN": TOKEN, "DISCORD_API_URL": api, "DISCORD_ALERT_WEBHOOK_URL": discord.webhook_url}
        assert host.run("init").returncode == 0
        host.write_env(**given, **settings)
        assert host.run("init").returncode == 0
        for site in sites:
            host.plain(site)
        _share_redis(host, folder)
        layout, nginx = Layout.at(home, 0), folder / "nginx"
        nginx.mkdir()
        shutil.copy(layout.certificate, nginx)
        shutil.copy(layout.private_key, nginx)
        command = lay_out_proxy(nginx, behind, proxy_port)
        shutil.copy(layout.htpasswd, nginx / "htpasswd")
        (nginx / "proof.conf").write_text(push_users.render_proof(host.env))
        try:
            host.redis.start()
            with running(command, folder / "nginx.log", lambda: _answers(proxy_port)):
                yield host
        finally:
            host.redis.kill()


def _share_redis(host: Monitoring, folder: Path) -> None:
    """Redis' users as `init` makes them, and TLS on the port after its own; `default` is for the test."""
    users = [line for line in redis_users.render(host.env).splitlines() if not line.startswith("user default")]
    layout = Layout.at(host.home, 0)
    tls = (
        f"tls-port {host.tls_port}\ntls-auth-clients no\n"
        f"tls-cert-file {layout.certificate}\ntls-key-file {layout.private_key}\n"
    )
    host.redis.password = PASSWORD
    host.redis.more = "\n".join([*users, tls])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


__all__ = ["Host", "Monitoring", "monitoring", "until"]
