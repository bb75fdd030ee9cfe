"""Settings: what a person may write, and what is said of a mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rectbot.errors import ConfigError
from rectbot.settings import KNOWN, FailoverSettings, load_settings, wants_failover

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


def _with_env(home: Path, text: str) -> None:
    (home / ".env").write_text(text)


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load_settings(rectbot_home=tmp_path)
    assert not wants_failover(settings)
    assert settings.failover_priority == ("xserver", "oci")
    assert settings.lock_ttl_ms == 90_000
    assert settings.hb_ttl_sec == 90
    assert (settings.leader_lock_key, settings.hb_prefix) == ("rectbot:leader", "rectbot:hb:")
    assert settings.push_url == "https://localhost:9443/metrics/job/xserver-bot"


def test_environment_wins_over_env_file_and_empty_is_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_env(tmp_path, "LOCK_TTL_MS=5000\nHB_TTL_SEC=7\nSITE_ID=\nFAILOVER_PRIORITY=a, b ,c\n")
    monkeypatch.setenv("HB_TTL_SEC", "8")
    settings = load_settings(rectbot_home=tmp_path)
    assert (settings.lock_ttl_ms, settings.hb_ttl_sec, settings.site_id) == (5000, 8, None)
    assert settings.failover_priority == ("a", "b", "c")
    assert settings.model_fields_set == {"rectbot_home", "lock_ttl_ms", "hb_ttl_sec", "failover_priority"}


def test_a_file_has_quotes_and_references_and_the_environment_names_in_either_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_env(tmp_path, "export HB_PREFIX='a b'\nLEADER_LOCK_KEY=\"${HB_PREFIX}:lock\"\n")
    monkeypatch.setenv("redis_db", "3")
    settings = load_settings(rectbot_home=tmp_path)
    assert (settings.hb_prefix, settings.leader_lock_key) == ("a b", "a b:lock")
    assert settings.redis_db == 3


def test_port_offset_shifts_every_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECTBOT_PORT_OFFSET", "1000")
    settings = load_settings(rectbot_home=tmp_path)
    assert settings.port("push-proxy") == 10443
    assert settings.port("redis") == 7379
    assert settings.push_url == "https://localhost:10443/metrics/job/xserver-bot"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("A=1\nREDIS_PASWORD=x\n", 2, "unknown setting REDIS_PASWORD; did you mean REDIS_PASSWORD?"),
        ("LOCK_TTL_MS=soon\n", 1, "LOCK_TTL_MS='soon' is wrong: write a whole number of milliseconds, or a"),
        ("\n\nREDIS_PORT=70000\n", 3, "REDIS_PORT='70000' is wrong: it must be 65535 or less"),
        ("FAILOVER_ENABLED=perhaps\n", 1, "FAILOVER_ENABLED='perhaps' is wrong: write true or false"),
        ("SITE_ID=x server\n", 1, "SITE_ID='x server' is wrong: up to 64 letters"),
        ("HB_TTL_SEC=long\n", 1, "HB_TTL_SEC='long' is wrong: write a number of seconds, or a duration like 10s"),
        ("HB_TTL_SEC=0\n", 1, "HB_TTL_SEC='0' is wrong: it must be more than 0"),
        ("CONSOLE_URL=example.org\n", 1, "CONSOLE_URL is wrong: write http:// or https:// and a host"),
        ("FAILOVER_PRIORITY=a,a\n", 1, "list each site once"),
        ("REDIS_HOST=ok\nnonsense\n", 2, "cannot read 'nonsense'; write NAME=value"),
        ("= 5\n", 1, "write NAME=value"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    _with_env(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(rectbot_home=tmp_path)
    assert f".env:{line}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_in_the_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCK_TTL_MS", "-1")
    with pytest.raises(ConfigError, match=r"^environment: LOCK_TTL_MS='-1' is wrong: it must be 1 or more"):
        load_settings(rectbot_home=tmp_path)


def test_a_bots_own_variables_in_env_are_let_be(tmp_path: Path) -> None:
    _with_env(tmp_path, "OPENWEATHER_KEY=abc\n")
    load_settings(rectbot_home=tmp_path)


def test_unreadable_and_binary_env_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(rectbot_home=tmp_path)
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(rectbot_home=tmp_path)


def test_the_example_names_every_setting() -> None:
    written = {line.partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line}
    compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.monitoring.yml").read_text()))
    docker_reads_itself = {"COMPOSE_PROFILES"}
    assert {name for name in written if name.isupper() and " " not in name} == KNOWN | compose | docker_reads_itself


def test_secrets_do_not_show_in_a_repr(tmp_path: Path) -> None:
    _with_env(tmp_path, "REDIS_PASSWORD=hunter2hunter2\n")
    assert "hunter2" not in repr(load_settings(rectbot_home=tmp_path))


VALUES = {
    "REDIS_PASSWORDS": "xserver:secret", "FAILOVER_CONTAINMENT": "off",
    "SITE_ID": "xserver", "FAILOVER_PRIORITY": "a,b", "REDIS_URL": "redis://h", "REDIS_HOST": "h", "REDIS_CACERT": "x",
    "REDIS_PASSWORD": "x", "REDIS_TLS": "false", "LEADER_LOCK_KEY": "k", "HB_PREFIX": "p",
}  # fmt: skip
NAMING = sorted(name.upper() for name in FailoverSettings.model_fields if name != "failover_enabled")


@pytest.mark.parametrize("place", ["environment", "file"])
@pytest.mark.parametrize("name", NAMING)
def test_who_names_a_site_or_a_store_must_say_whether_failover_is_on(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = VALUES.get(name, "100")
    if place == "environment":
        monkeypatch.setenv(name, value)
    else:
        _with_env(tmp_path, f"{name}={value}\n")
    with pytest.raises(ConfigError, match=rf"^FAILOVER_ENABLED is not set, but {name}: write FAILOVER_ENABLED=true in"):
        wants_failover(load_settings(rectbot_home=tmp_path))
    monkeypatch.setenv("FAILOVER_ENABLED", "")
    with pytest.raises(ConfigError, match="is not set"):
        wants_failover(load_settings(rectbot_home=tmp_path))
    for said, meant in (("true", True), ("false", False), ("1", True), ("off", False)):
        monkeypatch.setenv("FAILOVER_ENABLED", said)
        assert wants_failover(load_settings(rectbot_home=tmp_path)) is meant


def test_an_empty_switch_in_the_environment_leaves_the_one_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_env(tmp_path, "SITE_ID=oci\nFAILOVER_ENABLED=true\n")
    monkeypatch.setenv("FAILOVER_ENABLED", "")
    assert wants_failover(load_settings(rectbot_home=tmp_path))
    monkeypatch.setenv("FAILOVER_ENABLED", "false")
    assert not wants_failover(load_settings(rectbot_home=tmp_path))


@pytest.mark.parametrize(
    "name", ["FAILOVER_ENABLE", "FAIL_OVER_ENABLED", "FAILOVER", "ENABLE_FAILOVER", "FAILVER_ENABLED", "USE_FAILOVER"]
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_misspelt_switch_is_not_taken_for_off(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(name, "true")
    else:
        _with_env(tmp_path, f"{name}=true\n")
    with pytest.raises(ConfigError, match=rf"unknown setting {name}; did you mean FAILOVER_ENABLED\?"):
        wants_failover(load_settings(rectbot_home=tmp_path))


def test_a_lonely_bot_with_settings_of_its_own_simply_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_env(tmp_path, "DISCORD_BOT_TOKEN=x\nMY_CACHE=redis://elsewhere\nMYSQL_FAILOVER_HOST=b\nSITE_ID=\n")
    monkeypatch.setenv("REDIS_HOST", "")
    assert not wants_failover(load_settings(rectbot_home=tmp_path))


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("redis://:s3cret@h", "a URL is no host: write a name or an address; its port into REDIS_PORT, a URL into"),
        ("h:6380", "the port must stand by itself"),
        ("[::1]:6380", "the port must stand by itself"),
        ("/run/redis.sock", "a path is no host"),
        ("two words", "a name or an address is wanted"),
        ("user:s3cret@h", "a name or an address is wanted"),
        ("[::1", "a name or an address is wanted"),
    ],
)
def test_a_redis_host_that_is_none_is_named_with_its_line(host: str, word: str, tmp_path: Path) -> None:
    _with_env(tmp_path, f"\nREDIS_HOST={host}\n")
    with pytest.raises(ConfigError, match=r"\.env:2: REDIS_HOST") as caught:
        load_settings(rectbot_home=tmp_path)
    assert word in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("[::1]", "::1"), ("::1", "::1"), ("fe80::1%lo", "fe80::1%lo"), ("a-b.example.", "a-b.example.")],
)
def test_a_redis_host_may_have_the_brackets_of_a_url(written: str, meant: str, tmp_path: Path) -> None:
    _with_env(tmp_path, f"REDIS_HOST={written}\n")
    assert load_settings(rectbot_home=tmp_path).redis_host == meant
