"""What is said before anything starts, and the command line's manners."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from checkout import lay_out
from rectbot import cli
from rectbot.errors import ConfigError
from rectbot.failover.wiring import store_options
from rectbot.settings import KNOWN, load_settings
from rectbot.stack import components, configuration, preflight, supervise
from rectbot.stack.layout import Layout
from rectbot.stack.link import split_address
from rectbot.stack.status import lease_of_stack
from rectbot.stack.view import is_away


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    lay_out(tmp_path)
    monkeypatch.setenv("RECTBOT_HOME", str(tmp_path))
    monkeypatch.setenv("RECTBOT_PORT_OFFSET", "23000")
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def _refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert all(part in result.stderr for part in parts), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


def test_up_without_init_says_what_to_do(home: Path) -> None:
    _refused(_run("up"), "REDIS_PASSWORD is not set", "rectbot init")


def test_missing_packages_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_server", lambda binary: None if binary == "nginx" else "/bin/true")
    _refused(_run("up"), "missing Debian packages: nginx-light", "run: ", "scripts/debian.sh servers")


def test_unknown_site_id_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_ID", "mars")
    _run("init")
    _refused(_run("up"), "SITE_ID=mars is not in FAILOVER_PRIORITY=xserver,oci")


def test_a_port_in_use_names_its_holder(home: Path) -> None:
    _run("init")
    with socket.create_server(("127.0.0.1", 23000 + 9093)):
        _refused(_run("up"), "port 32093 (alertmanager) is in use by", "RECTBOT_PORT_OFFSET")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DISCORD_ALERT_WEBHOOK_URL", "hello", "is not a webhook's URL"),
        ("REDIS_URL", "http://x", "REDIS_URL is wrong"),
        ("LEASE_URL", "http://x", "LEASE_URL is wrong"),
        ("LEASE_URL", "s3://", "LEASE_URL is wrong"),
        ("LEASE_URL", "etcd://h1,,h2", "LEASE_URL is wrong"),
        ("PUSHGATEWAY_URL", "foo", "PUSHGATEWAY_URL='foo' is wrong"),
        ("PUSHGATEWAY_PASSWORD", "edited", "does not admit prom with PUSHGATEWAY_PASSWORD; run 'rectbot init'"),
        ("LOKI_URL", "http://[::1", "is not the address of Loki (LOKI_URL)"),
        ("LOCK_TTL_MS", "10", "LOCK_TTL_MS=10 is too short"),
        ("RENEW_INTERVAL_MS", "5000", "RENEW_INTERVAL_MS=5000 is too long"),
        ("PUSH_PROXY_BIND", "999.1.1.1", "correct PUSH_PROXY_BIND"),
    ],
)
def test_what_a_program_would_refuse_is_said_before_anything_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    _run("init")
    monkeypatch.setenv(name, value)
    _refused(_run("up"), said)


@pytest.mark.parametrize(
    ("bind", "listens"),
    [
        (None, ["127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["0.0.0.0"]),
        ("192.0.2.7", ["192.0.2.7", "127.0.0.1"]),
        ("127.0.0.9", ["127.0.0.9", "127.0.0.1"]),
    ],
)
def test_the_push_proxy_is_always_there_for_this_host_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch, bind: str | None, listens: list[str]
) -> None:
    _run("init")
    if bind is not None:
        monkeypatch.setenv("PUSH_PROXY_BIND", bind)
    settings = load_settings()
    layout = Layout.of(settings)
    configuration.write(settings, layout)
    front = (layout.var / "nginx" / "engine" / "front.conf").read_text()
    assert re.findall(r"^listen (\S+):32443 ", front, re.MULTILINE) == listens
    held = [host for name, host, port in preflight.ports(settings, layout) if (name, port) == ("nginx", 32443)]
    assert held == listens, "each is looked at before the stack starts"


@pytest.mark.parametrize(
    ("values", "own"),
    [
        ({}, True),
        ({"LEASE_URL": "s3://bucket/bots"}, False),
        ({"LEASE_URL": "etcd://h1,h2,h3/bots"}, False),
        ({"LEASE_URL": "redis://10.0.0.1"}, False),
        ({"REDIS_URL": "redis://10.0.0.1"}, False),
        ({"REDIS_URL": "redis+sentinel://127.0.0.1:29379/mymaster"}, False),
        ({"LEASE_URL": "unix:///run/redis.sock"}, False),
        ({"LEASE_URL": "redis://localhost:29379"}, True),
        ({"REDIS_HOST": "10.0.0.1"}, True),  # as before: there each site has a link to the stack's own
    ],
)
def test_the_stack_has_a_redis_only_where_the_lease_is_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], own: bool
) -> None:
    _run("init")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    layout = Layout.of(settings)
    parts = {part.name: part for part in components.components(settings, layout)}
    assert [name in parts for name in ("redis", "link-xserver", "link-oci")] == [own] * 3
    for site in ("xserver", "oci"):
        told = {name for name in parts[f"bot-{site}"].program.environment if name.startswith("REDIS")}
        assert told == ({"REDIS_HOST", "REDIS_PORT", "REDIS_USER"} if own else set())
    listens = {name for name, _, _ in preflight.ports(settings, layout)}
    assert ("redis" in listens, "link-oci" in listens) == (own, own)
    url = values.get("LEASE_URL") or values.get("REDIS_URL")
    seen = store_options(lease_of_stack(settings))
    assert seen["url"] == (None if own else url)


@pytest.mark.parametrize("name", ["LEASE_URL", "REDIS_URL", "REDIS_HOST", "PUSHGATEWAY_URL"])
def test_a_site_whose_lease_is_elsewhere_needs_no_stack_here(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SITE_ID", "oci")
    assert not is_away(load_settings())
    values = {"LEASE_URL": "s3://bucket/bots", "REDIS_URL": "redis://10.0.0.1", "REDIS_HOST": "10.0.0.1"}
    monkeypatch.setenv(name, values.get(name, "https://h/metrics/job/x"))
    assert is_away(load_settings())
    monkeypatch.delenv("SITE_ID")
    assert not is_away(load_settings())


def test_a_broken_certificate_is_named(home: Path) -> None:
    _run("init")
    (home / "docker/monitoring/tls/tls.crt").write_text("nonsense")
    _refused(_run("up"), "tls.crt: is not a PEM certificate", "--rotate tls")


def test_a_typo_in_env_is_named_by_every_command(home: Path) -> None:
    _run("init")
    with (home / ".env").open("a") as file:
        file.write("LOCK_TTL_MSS=5\n")
    for command in (["up"], ["status"], ["bot"], ["push"], ["site", "kill", "oci"]):
        _refused(_run(*command), "LOCK_TTL_MSS; did you mean LOCK_TTL_MS?")


@pytest.mark.parametrize("line", ["LOCK_TTL_MSS=5", "LOCK_TTL_MS=x", "a line", "FAILOVER_PRIORITY=,", 'A="', "\udcff"])
def test_nothing_in_env_keeps_the_stack_from_being_stopped(home: Path, line: str) -> None:
    _run("init")
    with (home / ".env").open("ab") as file:
        file.write(line.encode(errors="surrogateescape") + b"\n")
    done = _run("down")
    assert done.exit_code == 0
    assert "down: WARNING: " in done.stderr
    assert "nothing was running" in done.stdout


def test_status_says_that_nothing_runs(home: Path) -> None:
    assert (done := _run("status")).exit_code == 1
    assert (done.stdout, done.stderr) == ("", "rectbot: no stack is running here; start it with 'rectbot up'\n")
    assert json.loads((done := _run("status", "--json")).stdout)["leader"] is None
    assert (done.exit_code, done.stderr) == (1, "rectbot: no stack is running here; start it with 'rectbot up'\n")


def test_unknown_site_and_no_stack(home: Path) -> None:
    _refused(_run("site", "kill", "mars"), "unknown site 'mars'; the sites are xserver, oci")
    result = _run("site", "kill", "oci")
    assert result.exit_code == 1
    assert "no stack is running here" in result.stderr


def test_lists_of_commands_cut_no_sentence_off() -> None:
    for arguments in ([], ["logs"], ["failover"], ["site"]):
        commands = _run(*arguments, "--help").output.partition("Commands:")[2]
        assert commands
        assert "..." not in commands


def test_every_command_explains_itself() -> None:
    for arguments in (
        [],
        ["init"],
        ["up"],
        ["status"],
        ["site"],
        ["site", "cut"],
        ["push"],
        ["alert"],
        ["discord", "serve"],
    ):
        result = _run(*arguments, "--help")
        assert result.exit_code == 0
        assert len(result.output) > 100


def test_two_offsets_never_share_state(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Layout.of(load_settings())
    monkeypatch.setenv("RECTBOT_PORT_OFFSET", "0")
    assert Layout.of(load_settings()).var != first.var


def test_the_demo_is_quick_and_a_real_token_is_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    layout = Layout.of(settings)
    assert components.site_environment(settings, layout, "oci")["LOCK_TTL_MS"] == "6000"
    monkeypatch.setenv("LOCK_TTL_MS", "7000")
    assert "LOCK_TTL_MS" not in components.site_environment(load_settings(), layout, "oci")
    monkeypatch.delenv("LOCK_TTL_MS")
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "real")
    environment = components.site_environment(load_settings(), layout, "oci")
    assert not {"LOCK_TTL_MS", "DISCORD_API_URL", "DISCORD_BOT_TOKEN"} & set(environment)
    assert "discord" not in {part.name for part in components.components(load_settings(), layout)}
    assert components.alert_webhook(load_settings()) is None


def test_the_console_is_in_grafanas_place_or_beside_it_or_nowhere(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def console() -> str:
        settings = load_settings()
        parts = components.components(settings, Layout.of(settings))
        return next((part.address for part in parts if part.name == "console"), "nowhere")

    monkeypatch.setenv("RECTBOT_PORT_OFFSET", "1000")
    assert console() == "http://127.0.0.1:4000"
    grafana = tmp_path / "bin" / "grafana"
    grafana.parent.mkdir()
    grafana.write_text("#!/bin/sh\n")
    grafana.chmod(0o755)
    monkeypatch.setenv("PATH", f"{grafana.parent}:/usr/bin")
    assert console() == "http://127.0.0.1:4002"
    monkeypatch.setenv("CONSOLE_PORT", "8123")
    monkeypatch.setenv("CONSOLE_BIND", "10.8.0.1")
    assert console() == "http://10.8.0.1:8123"
    monkeypatch.setenv("CONSOLE_PORT", "0")
    assert console() == "nowhere"


def test_supervisor_configuration_holds_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run("init")
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "a-very-secret-token")
    settings = load_settings()
    layout = Layout.of(settings)
    supervise.write_configuration(settings, layout)
    text = "".join(path.read_text() for path in layout.var.rglob("*.conf"))
    assert "site-xserver" in text
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() not in text
    assert "a-very-secret-token" not in text


@pytest.mark.parametrize("text", ["", "6379", ":6379", "host:", "host:70000", "host:x"])
def test_split_address_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_address(text)
