"""The built wheel in empty virtual environments, away from the checkout: each command works, or says what it lacks."""

from __future__ import annotations

import json
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from checkout import committed
from discord_helpers import TOKEN
from localdiscord.journal import fetch
from rectbot import __version__
from servers import free_port, redis_server
from servers_monitoring import PASSWORD as PUSH_PASSWORD
from servers_monitoring import answers, local_discord, push_proxy, pushed_groups, pushgateway, until
from wheels import PLANTED, Installation, build, install, pack_packages

FILES = "rectbot/files/"
ON_XSERVER = 30  # packages: what a site with our bot needs, and not 64


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    pack_packages(folder)
    return folder


@pytest.fixture(scope="module")
def environments(wheel: Path, packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The virtual environment with an extra, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("environments")
    return cache(lambda extra: install(wheel, packages, folder, extra))


@pytest.fixture
def installed(environments: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Installation]:
    """An installation with an extra, and an empty folder to run it in."""
    (tmp_path / "home").mkdir()
    return lambda extra: Installation(environments(extra), tmp_path / "home")


@pytest.fixture
def base(installed: Callable[[str], Installation]) -> Installation:
    return installed("")


@contextmanager
def started(installation: Installation, *words: str, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`rectbot WORDS`, until the block ends."""
    command = [str(installation.rectbot), *words]
    log = (installation.home / "started.log").open("ab")
    with (
        log,
        subprocess.Popen(
            command, cwd=installation.home, env=installation.environment(settings), stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def test_the_wheel_brings_the_committed_files_and_no_secret(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert not any(PLANTED.encode() in archive.read(name) for name in names)
    brought = {name.removeprefix(FILES) for name in names if name.startswith(FILES)}
    wanted = {name for name in committed("docker") if "/alerts/tests/" not in name}
    singles = (
        ".dockerignore",
        ".env.example",
        "docker-compose.monitoring.yml",
        "requirements.lock",
        "scripts/debian.sh",
    )
    assert brought == wanted | set(singles)


def test_the_base_is_small(base: Installation) -> None:
    there = base.packages()
    assert "rectbot" in there
    assert not there & {"nicegui", "discord-py", "aiohttp", "grafana-foundation-sdk", "supervisor", "lark", "obstore"}
    assert len(there) < ON_XSERVER
    assert base.run("--version").stdout.strip().endswith(__version__)


def test_init_lays_out_an_empty_folder_from_which_everything_runs(base: Installation, wheel: Path) -> None:
    told = base.run("init", "--host", "oci.example.org").stdout
    assert f"files of rectbot {__version__} in {base.home}" in told
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(FILES) and not name.endswith("/"):
                assert (base.home / name.removeprefix(FILES)).read_bytes() == archive.read(name)
    assert (base.home / ".env").stat().st_mode & 0o777 == 0o600
    for made in ("tls/tls.key", "pushgateway/htpasswd", "secrets/bot.env"):
        assert (base.home / "docker/monitoring" / made).is_file()
    assert "nothing was changed" in base.run("init").stdout
    assert "nothing was changed" in base.run("init", "--upgrade").stdout


def test_the_image_is_built_from_the_very_version_that_is_installed(
    base: Installation, packages: Path, tmp_path: Path
) -> None:
    base.run("init")
    (wheel,) = (base.home / "docker/bot").glob("*.whl")
    (tmp_path / "again").mkdir()
    again = Installation(install(wheel, packages, tmp_path), tmp_path / "again")
    again.run("init")
    assert (again.home / "docker/bot" / wheel.name).read_bytes() == wheel.read_bytes()
    assert again.run("--help").stdout == base.run("--help").stdout


def test_what_an_operator_changed_stays_his(base: Installation) -> None:
    base.run("init")
    rules = base.home / "docker/monitoring/prometheus/alerts/xserver.yml"
    ours = rules.read_text() + "# mine\n"
    rules.write_text(ours)
    told = base.run("init", "--upgrade").stdout
    assert "alerts/xserver.yml: yours stays; 1 lines differ" in told
    assert rules.read_text() == ours


def test_the_base_pushes_ships_and_runs_any_program_under_the_lease(base: Installation, tmp_path: Path) -> None:
    with pushgateway(tmp_path) as port, push_proxy(tmp_path / "nginx", port) as proxy:
        there = {"PUSHGATEWAY_PASSWORD": PUSH_PASSWORD, "PUSHGATEWAY_CACERT": str(proxy.certificate)}
        base.run("push", settings={"PUSHGATEWAY_URL": proxy.url(), **there})
        assert "xserver-bot" in pushed_groups(port)
        nobody = f"https://localhost:{free_port()}/metrics/job/x"
        refused = base.run("push", code=3, settings={"PUSHGATEWAY_URL": nobody, **there})
        assert len(refused.stderr.splitlines()) == 1
    with redis_server(tmp_path / "redis") as redis:
        site = {"FAILOVER_ENABLED": "true", "SITE_ID": "oci", "REDIS_URL": redis.url, "LOCK_TTL_MS": "2000"}
        proof = base.home / "ran"
        with started(base, "failover", "run", "--", "sh", "-c", f"touch {proof}; sleep 60", settings=site):
            until(proof.exists, "the program runs", 60)
            told = json.loads(base.run("failover", "status", "--json", settings=site).stdout)
            assert told["leader"]["site"] == "oci"
        base.run("failover", "history", settings=site)


def test_the_base_installs_a_site_that_runs_this_very_command(base: Installation) -> None:
    site = {"DISCORD_BOT_TOKEN": TOKEN, "REDIS_HOST": "10.0.0.1", "PUSHGATEWAY_PASSWORD": "x" * 20}
    site["PUSHGATEWAY_URL"] = "https://oci.example.org:9443/metrics/job/xserver-bot"
    lines = base.run("install", "--site", "xserver", "--cron", settings=site).stdout.splitlines()
    assert all(str(base.rectbot) in line for line in lines if not line.startswith("#"))


def test_a_bot_logs_in_with_its_extra(installed: Callable[[str], Installation], tmp_path: Path) -> None:
    bot = installed("bot")
    assert len(bot.packages()) < ON_XSERVER + 10
    with local_discord(tmp_path) as discord:
        settings = {"DISCORD_BOT_TOKEN": "local-discord", "FAILOVER_ENABLED": "false"}
        settings["DISCORD_API_URL"] = f"http://127.0.0.1:{discord.port}/api/v10"
        with started(bot, "bot", settings=settings):
            opened = lambda: fetch(f"http://127.0.0.1:{discord.port}", ("session_open",))  # noqa: E731
            until(opened, "the bot logs in", 60)


def test_the_log_store_runs_with_its_extra(installed: Callable[[str], Installation], tmp_path: Path) -> None:
    logs, port = installed("logs"), free_port()
    url = {"LOKI_URL": f"http://127.0.0.1:{port}"}
    (logs.home / "bot.log").write_text("hello from a file\n")
    with started(logs, "logs", "serve", "--data", str(tmp_path / "data"), "--port", str(port), settings={}):
        until(lambda: answers(f"http://127.0.0.1:{port}/ready"), "the store is ready", 60)
        logs.run("logs", "ship", "--once", "bot.log", settings=url)
        asked = logs.run("logs", "query", '{job="bot"}', "--since", "1w", settings=url)
    assert "hello from a file" in asked.stdout


def test_a_lease_in_a_bucket_has_its_extra(
    base: Installation, installed: Callable[[str], Installation], tmp_path: Path
) -> None:
    settings = {"LEASE_URL": f"s3://bucket/x?endpoint=http://127.0.0.1:{free_port()}", "FAILOVER_ENABLED": "true"}
    settings |= {"SITE_ID": "oci", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert "pip install 'rectbot[s3]'" in base.run("failover", "status", code=2, settings=settings).stderr
    told = installed("s3").run("failover", "status", code=1, settings=settings).stderr
    assert "pip install" not in told


LACKING = {
    "bot": "bot",
    "bot --app mine:make": "bot",
    "logs serve --data x": "logs",
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "report": "stack",
    "hub serve": "stack",
    "hub console": "stack",
    "discord serve": "stack",
}


@pytest.mark.parametrize("command", LACKING)
def test_a_command_names_the_extra_that_it_lacks(command: str, base: Installation) -> None:
    done = base.run(*command.split(), code=2, settings={"DISCORD_BOT_TOKEN": TOKEN, "FAILOVER_ENABLED": "false"})
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"pip install 'rectbot[{LACKING[command]}]'")
