from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from rectbot.alerts.alertmanager import render_native
from rectbot.errors import ConfigError
from servers_monitoring import CONFIG

COMMITTED = CONFIG / "alertmanager" / "alertmanager.yml"
WEBHOOK = "http://127.0.0.1:9800/api/webhooks/1/token"


@pytest.mark.parametrize("hub", ["127.0.0.1:9464", None])
@pytest.mark.parametrize("webhook", [WEBHOOK, None])
def test_alertmanager_accepts_what_is_rendered(webhook: str | None, hub: str | None, tmp_path: Path) -> None:
    rendered = tmp_path / "alertmanager.yml"
    rendered.write_text(render_native(COMMITTED, webhook, hub))
    check = subprocess.run(["amtool", "check-config", rendered], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    assert " - 1 templates" in check.stdout


def test_only_the_webhook_and_the_place_of_the_templates_change() -> None:
    rendered = yaml.safe_load(render_native(COMMITTED, WEBHOOK, "127.0.0.1:9464"))
    committed = yaml.safe_load(COMMITTED.read_text())
    assert rendered["receivers"][0]["webhook_configs"][0].pop("url") == "http://127.0.0.1:9464/alerts"
    assert committed["receivers"][0]["webhook_configs"][0].pop("url") == "http://hub:9464/alerts"
    assert committed["receivers"][0]["webhook_configs"].pop()["url"] == "http://hub:9464/notify"
    assert rendered["receivers"][0]["discord_configs"][0].pop("webhook_url") == WEBHOOK
    del committed["receivers"][0]["discord_configs"][0]["webhook_url_file"]
    assert rendered.pop("templates") == [str(COMMITTED.parent / path) for path in committed.pop("templates")]
    assert rendered == committed


def test_without_a_webhook_nothing_is_sent_and_the_file_says_so() -> None:
    rendered = render_native(COMMITTED, None)
    assert rendered.splitlines()[0].startswith("# DISCORD_ALERT_WEBHOOK_URL is not set")
    assert yaml.safe_load(rendered)["receivers"] == [{"name": "discord"}]


def test_what_the_hub_takes_goes_to_where_it_is() -> None:
    rendered = render_native(COMMITTED, None, "127.0.0.1:1", notify=True)
    assert rendered[0] != "#"
    (receiver,) = yaml.safe_load(rendered)["receivers"]
    assert [each["url"] for each in receiver["webhook_configs"]] == [
        "http://127.0.0.1:1/alerts",
        "http://127.0.0.1:1/notify",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"route: [", "is not YAML"),
        (b"\xff", "is not YAML"),
        (b"route: {}", "has no list of receivers"),
        (b"- 1", "has no list of receivers"),
    ],
)
def test_a_broken_source_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    source = tmp_path / "alertmanager.yml"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        render_native(source, None)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
