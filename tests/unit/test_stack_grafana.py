"""Grafana in the native stack: a program in its place tells what it was started with. The real one is not on Debian."""

from __future__ import annotations

import configparser
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from rectbot.settings import Settings
from rectbot.stack import configuration, preflight
from rectbot.stack.components import components
from rectbot.stack.layout import Layout
from rectbot.stack.servers import has_grafana

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = f"""#!{sys.executable}
import json, os, sys
json.dump({{"arguments": sys.argv[1:], "environment": dict(os.environ)}}, sys.stdout)
"""
SETTINGS = Settings(rectbot_home=ROOT, rectbot_port_offset=500, dashboard_admin_password=SecretStr("a secret"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(ROOT, tmp_path / "var")


@pytest.fixture
def grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpacked Grafana, on PATH."""
    binary = tmp_path / "grafana-home" / "bin" / "grafana"
    binary.parent.mkdir(parents=True)
    binary.write_text(STAND_IN)
    binary.chmod(0o755)
    (binary.parent.parent / "conf").mkdir()
    (binary.parent.parent / "conf" / "defaults.ini").touch()
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    return binary


def started(layout: Layout) -> dict[str, Any]:
    """What the program said that it was started with, by the command and the environment of the component."""
    [part] = [part for part in components(SETTINGS, layout) if part.name == "grafana"]
    assert part.address == "http://127.0.0.1:3500"
    told = subprocess.run(part.program.command, env=part.program.environment, capture_output=True, check=True)
    result: dict[str, Any] = json.loads(told.stdout)
    return result


def test_it_is_started_with_the_files_of_production(grafana: Path, layout: Layout) -> None:
    told = started(layout)
    monitoring, environment = layout.monitoring / "grafana", told["environment"]
    ini = monitoring / "grafana.ini"
    assert told["arguments"] == ["server", "--homepath", str(grafana.parent.parent), "--config", str(ini)]
    assert environment["GF_PATHS_PROVISIONING"] == str(monitoring / "provisioning")
    assert environment["DASHBOARDS_FOLDER"] == str(monitoring / "dashboards")
    assert (environment["GF_SERVER_HTTP_ADDR"], environment["GF_SERVER_HTTP_PORT"]) == ("127.0.0.1", "3500")
    assert Path(environment["GF_PATHS_DATA"]).is_relative_to(layout.var)


def test_every_name_in_the_provisioning_has_a_value(grafana: Path, layout: Layout) -> None:
    environment = started(layout)["environment"]
    folder = layout.monitoring / "grafana" / "provisioning"
    names = {name for path in folder.rglob("*.yaml") for name in re.findall(r": \$(\w+)", path.read_text())}
    assert names == {"PROMETHEUS_URL", "LOKI_URL", "ALERTMANAGER_URL", "DASHBOARDS_FOLDER"}
    values = {name: environment[name] for name in names - {"DASHBOARDS_FOLDER"}}
    assert sorted(values.values()) == ["http://127.0.0.1:3600", "http://127.0.0.1:9590", "http://127.0.0.1:9593"]


def test_the_password_is_in_a_private_file_and_nowhere_else(grafana: Path, layout: Layout) -> None:
    configuration.write(SETTINGS, layout)
    told = started(layout)
    assert "a secret" not in json.dumps(told)
    reference = re.fullmatch(r"\$__file\{(.+)\}", told["environment"]["GF_SECURITY_ADMIN_PASSWORD"])
    assert reference is not None
    assert Path(reference[1]).read_text() == "a secret"
    assert stat.S_IMODE(Path(reference[1]).stat().st_mode) == 0o600


def test_its_port_is_checked_before_the_start(grafana: Path, layout: Layout) -> None:
    assert ("grafana", "127.0.0.1", 3500) in list(preflight.ports(SETTINGS, layout))


def test_without_it_nothing_of_it_is_started(layout: Layout) -> None:
    assert not has_grafana(), "this machine has Grafana: take it off PATH for the tests"
    assert "grafana" not in [part.name for part in components(SETTINGS, layout)]
    configuration.write(SETTINGS, layout)
    assert not (layout.var / "grafana").exists()


def test_the_dashboards_are_loaded_by_themselves_and_changed_in_code_only() -> None:
    path = ROOT / "docker/monitoring/grafana/provisioning/dashboards/dashboards.yaml"
    [provider] = yaml.safe_load(path.read_text())["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"] == "$DASHBOARDS_FOLDER"
    assert 0 < provider["updateIntervalSeconds"] <= 60


def test_grafana_asks_nobody_outside_and_evaluates_no_alerts_of_its_own() -> None:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string((ROOT / "docker/monitoring/grafana/grafana.ini").read_text())
    off = [
        ("analytics", "reporting_enabled"),
        ("analytics", "check_for_updates"),
        ("analytics", "check_for_plugin_updates"),
        ("news", "news_feed_enabled"),
        ("snapshots", "external_enabled"),
        ("unified_alerting", "execute_alerts"),
        ("users", "allow_org_create"),
    ]
    for section, option in off:
        assert ini.getboolean(section, option) is False, (section, option)
    assert ini.getboolean("security", "disable_gravatar")
