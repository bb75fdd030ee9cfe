"""What the hub tells of the stack around it, asked of a real push proxy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rectbot.hub import host
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import make_certificate, push_proxy


async def _values(port: int, folder: Path) -> dict[str, float]:
    text = (await host.exposition(("127.0.0.1", port), str(folder))).decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


@pytest.mark.parametrize("days", [30, -3])
async def test_the_certificate_s_end_is_told_also_when_it_is_over(days: int, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    make_certificate(folder, days=days)
    with push_proxy(folder, free_port(), allow=["192.0.2.1"]) as proxy:  # also to a hub that may not push
        values = await _values(proxy.port, tmp_path)
    assert values["rectbot_push_proxy_up"] == 1
    end = values["rectbot_push_certificate_expiry_timestamp_seconds"]
    assert end == pytest.approx(time.time() + days * 86400, abs=60)
    assert 0 < values["rectbot_host_disk_available_bytes"] < values["rectbot_host_disk_total_bytes"]


async def test_a_proxy_that_is_away_is_told_and_has_no_certificate(tmp_path: Path) -> None:
    values = await _values(free_port(), tmp_path)
    assert values["rectbot_push_proxy_up"] == 0
    assert "rectbot_push_certificate_expiry_timestamp_seconds" not in values


def test_where_the_proxy_is_looked_for() -> None:
    assert host.push_proxy_address(Settings(push_proxy_bind="0.0.0.0")) == ("127.0.0.1", 9443)
    assert host.push_proxy_address(Settings(push_proxy_bind="192.0.2.7")) == ("192.0.2.7", 9443)
    assert host.push_proxy_address(Settings(push_proxy_address="nginx:9443")) == ("nginx", 9443)
