"""What a website in the operator's browser gets from Prometheus, as the stack starts it: nothing to read or do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rectbot.settings import Settings
from rectbot.stack import configuration
from rectbot.stack.components import components
from rectbot.stack.layout import Layout
from servers import free_port
from servers_monitoring import HTTP, ROOT, answers, running

EVIL = {"Origin": "https://evil.example"}


def _command(home: Path, offset: int) -> tuple[str, ...]:
    (home / "docker").symlink_to(ROOT / "docker")
    settings = Settings(rectbot_home=home, rectbot_port_offset=offset)
    layout = Layout.of(settings)
    configuration._prometheus(settings, layout)
    return next(part.program.command for part in components(settings, layout) if part.name == "prometheus")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    port = free_port()
    while not 9090 < port < 60_000:
        port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = list(_command(home, port - 9090))
    with running(command, home / "prometheus.log", lambda: answers(f"{url}/-/ready")):
        yield url


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_nobody_reloads_or_ends_it_over_http(method: str, path: str, prometheus: str) -> None:
    assert HTTP.request(method, f"{prometheus}{path}", headers=EVIL).status == 403
    assert answers(f"{prometheus}/-/ready")


def test_no_website_may_read_it(prometheus: str) -> None:
    answer = HTTP.request("GET", f"{prometheus}/api/v1/query?query=up", headers=EVIL)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_nobody_deletes_series(prometheus: str) -> None:
    answer = HTTP.request("POST", f"{prometheus}/api/v1/admin/tsdb/delete_series?match[]=up", headers=EVIL)
    assert b"admin APIs disabled" in answer.data


def test_in_compose_it_is_the_same() -> None:
    command = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]["prometheus"]["command"]
    assert "--web.cors.origin=https://nobody[.]invalid" in command
    assert not [word for word in command if word.startswith("--web.enable")]
