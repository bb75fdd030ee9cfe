"""The secrets' files of docker compose: what is in them, who may read them, and that they follow their sources."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from checkout import lay_out
from rectbot.doctor.files import containers_can_read
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Result
from rectbot.lists import parse_logins
from rectbot.settings import load_settings
from rectbot.stack import container_secrets
from rectbot.stack.init import init
from rectbot.stack.layout import Layout, write_private

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.monitoring.yml").read_text()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    shutil.copy(ROOT / ".env.example", tmp_path)
    layout = Layout(tmp_path, tmp_path / "var" / "main")
    list(init(layout))
    return layout


def _set(layout: Layout, name: str, value: str) -> None:
    lines = [line for line in layout.env_file.read_text().splitlines() if not line.startswith(f"{name}=")]
    write_private(layout.env_file, "\n".join([*lines, f"{name}={value}"]) + "\n")


def _text(layout: Layout, name: str) -> str:
    return (layout.container_secrets / name).read_text()


def test_the_folder_is_closed_and_what_is_in_it_can_be_read_once_mounted(layout: Layout) -> None:
    assert stat.S_IMODE(layout.container_secrets.stat().st_mode) == 0o700
    files = list(layout.container_secrets.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}


def test_an_open_folder_is_closed_again(layout: Layout) -> None:
    layout.container_secrets.chmod(0o755)
    (layout.container_secrets / "bot.env").chmod(0o600)
    assert list(container_secrets.write(layout)) == []
    assert stat.S_IMODE(layout.container_secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((layout.container_secrets / "bot.env").stat().st_mode) == 0o444


def test_each_container_gets_what_it_needs_and_no_more(layout: Layout) -> None:
    env = dotenv_values(layout.env_file)
    _set(layout, "DISCORD_BOT_TOKEN", "the-token")
    list(container_secrets.write(layout))
    needed = ["REDIS_USER", "REDIS_PASSWORD", "PUSHGATEWAY_USER", "PUSHGATEWAY_PASSWORD"]
    needed += ["DASHBOARD_ADMIN_PASSWORD", "CONSOLE_SECRET"]
    assert dotenv_values(layout.container_secrets / "hub.env") == {name: env[name] for name in needed}
    bot = dotenv_values(layout.container_secrets / "bot.env")
    password = parse_logins(env["REDIS_PASSWORDS"] or "")["oci"]
    assert bot == {"REDIS_USER": "oci", "REDIS_PASSWORD": password, "DISCORD_BOT_TOKEN": "the-token"}
    users = _text(layout, "redis-auth.conf")
    assert [line.split()[1] for line in users.splitlines()] == ["hub", "xserver", "oci", "default"]
    assert hashlib.sha256(password.encode()).hexdigest() in users
    assert _text(layout, "dashboard-admin-password") == env["DASHBOARD_ADMIN_PASSWORD"]
    assert _text(layout, "push-htpasswd") == layout.htpasswd.read_text()
    assert _text(layout, "tls.key") == layout.private_key.read_text()
    assert _text(layout, "discord-webhook-url") == ""


@pytest.mark.parametrize("password", ["it's", 'say "no"', "back\\slash", "#hash $dollar"])
def test_a_password_of_ones_own_arrives_as_it_is(layout: Layout, password: str) -> None:
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    _set(layout, "REDIS_PASSWORD", f"'{quoted}'")
    list(container_secrets.write(layout))
    assert dotenv_values(layout.container_secrets / "hub.env")["REDIS_PASSWORD"] == password


def test_they_follow_a_rotation_and_keep_what_has_no_other_source(layout: Layout) -> None:
    before = {path.name: path.read_text() for path in layout.container_secrets.iterdir()}
    lines = list(init(layout, rotate="redis"))
    assert "redis-auth.conf, hub.env, bot.env" in lines[-1]
    after = {path.name: path.read_text() for path in layout.container_secrets.iterdir()}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"redis-auth.conf", "hub.env", "bot.env"}


def test_a_clone_under_a_strict_umask_is_opened_for_the_containers_and_no_secret_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        lay_out(tmp_path, ".env.example", "docker/monitoring")
        layout = Layout(tmp_path, tmp_path / "var" / "main")
        for path in (layout.monitoring, *layout.monitoring.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        lines = list(init(layout))
        assert any("readable for containers" in line for line in lines)
    finally:
        os.umask(before)
    mounted = set(re.findall(r"^ *- ?\"?\./docker/monitoring/([^:]+):", COMPOSE, re.MULTILINE))
    mounted |= set(re.findall(r"\[\"\./docker/monitoring/([^:]+):", COMPOSE))
    assert {"prometheus", "redis/redis.conf", "grafana/grafana.ini"} <= mounted
    for name in sorted(mounted - {"cloudflared"}):
        place = layout.monitoring / name
        for path in (*place.parents[: len(Path(name).parts)], place, *(place.rglob("*") if place.is_dir() else ())):
            wanted = 0o005 if path.is_dir() else 0o004
            assert path.stat().st_mode & wanted == wanted, path
    for path in (layout.env_file, layout.htpasswd, layout.private_key, layout.container_secrets):
        assert not path.stat().st_mode & 0o077, path
    assert list(init(layout)) == ["everything is there already: nothing was changed"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("grafana/grafana.ini", 0o640),
        ("prometheus/alerts", 0o700),
        ("pushgateway/engine/http.conf", 0o600),
        ("pushgateway", 0o750),
        ("cloudflared/config.yml", 0o600),
        ("secrets/cloudflared-credentials.json", 0o600),
    ],
)
def test_what_containers_cannot_read_is_a_fail_that_names_it(layout: Layout, name: str, mode: int) -> None:
    shutil.copytree(
        ROOT / "docker/monitoring",
        layout.monitoring,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("secrets", "tls", "htpasswd", "allow*.conf", "config.yml"),
    )
    list(init(layout))
    subject = Subject(load_settings(rectbot_home=layout.home), layout, Engine.COMPOSE)
    assert containers_can_read(subject).result is Result.PASS
    path = layout.monitoring / name
    if not path.exists():
        path.write_text("made by hand")
    path.chmod(mode)
    verdict = containers_can_read(subject)
    assert verdict.result is Result.FAIL
    assert str(path) in verdict.found.split()
    list(init(layout))
    assert containers_can_read(subject).result is Result.PASS


def test_the_bot_of_the_compose_file_is_of_the_site_that_the_settings_name(layout: Layout) -> None:
    _set(layout, "FAILOVER_PRIORITY", "tokyo,osaka")
    _set(layout, "SITE_ID", "osaka")
    list(init(layout))
    logins = parse_logins(dotenv_values(layout.env_file)["REDIS_PASSWORDS"] or "")
    bot = dotenv_values(layout.container_secrets / "bot.env")
    assert (bot["REDIS_USER"], bot["REDIS_PASSWORD"]) == ("osaka", logins["osaka"])
    assert "SITE_ID: ${SITE_ID:-oci}" in COMPOSE
    assert "expected: tokyo-bot" in _text(layout, "pushes.yml")


def test_with_the_profile_bi_the_history_is_in_its_postgresql(layout: Layout) -> None:
    env = dotenv_values(layout.env_file)
    assert "HISTORY_DATABASE_URL" not in _text(layout, "hub.env")
    assert set(dotenv_values(layout.container_secrets / "bi.env")) == {
        "HISTORY_READER_PASSWORD",
        "METABASE_ADMIN_PASSWORD",
    }
    for profiles in ("bi", "tunnel,bi", "redis-tls, bi ,tunnel"):
        _set(layout, "COMPOSE_PROFILES", f"'{profiles}'")
        list(init(layout))
        url = f"postgresql://rectbot:{env['HISTORY_DATABASE_PASSWORD']}@metabase-db:5432/history"
        assert dotenv_values(layout.container_secrets / "hub.env")["HISTORY_DATABASE_URL"] == url
        given = dotenv_values(layout.container_secrets / "bi.env")
        superuser = _text(layout, "metabase-db-password")
        assert given["HISTORY_DATABASE_URL"] == url
        assert given["HISTORY_ADMIN_URL"] == f"postgresql://metabase:{superuser}@metabase-db:5432/metabase"
        assert superuser not in _text(layout, "hub.env")
        assert f"{env['METABASE_ADMIN_PASSWORD']}" not in _text(layout, "hub.env")
    _set(layout, "HISTORY_DATABASE_URL", "postgresql://me:mine@db.example.org/bot")
    list(init(layout))
    for name in ("hub.env", "bi.env"):
        given = dotenv_values(layout.container_secrets / name)
        assert given["HISTORY_DATABASE_URL"] == "postgresql://me:mine@db.example.org/bot"
        assert "HISTORY_ADMIN_URL" not in given
    _set(layout, "HISTORY_ADMIN_URL", "postgresql://super:user@db.example.org/postgres")
    list(init(layout))
    given = dotenv_values(layout.container_secrets / "bi.env")
    assert given["HISTORY_ADMIN_URL"] == "postgresql://super:user@db.example.org/postgres"
    _set(layout, "COMPOSE_PROFILES", "bit,obi")
    _set(layout, "HISTORY_DATABASE_URL", "")
    list(init(layout))
    assert "HISTORY_DATABASE_URL" not in _text(layout, "hub.env")


def test_an_env_of_before_gets_what_it_lacks_and_metabase_takes_the_password(layout: Layout) -> None:
    for _ in range(30):
        for name in ("METABASE_ADMIN_PASSWORD", "HISTORY_READER_PASSWORD"):
            _set(layout, name, "")
        [line, *_] = list(init(layout))
        assert "HISTORY_READER_PASSWORD, METABASE_ADMIN_PASSWORD" in line
        made = dotenv_values(layout.env_file)["METABASE_ADMIN_PASSWORD"] or ""
        counts = [sum(map(kind, made)) for kind in (str.isupper, str.islower, str.isdigit)]
        assert counts[0] >= 2  # what MB_PASSWORD_COMPLEXITY=strong asks for
        assert counts[1] >= 2
        assert counts[2] >= 1
        assert not made.isalnum()
