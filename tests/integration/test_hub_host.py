"""What the hub tells of the stack around it, asked of a real push proxy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rectbot.hub import host
from rectbot.push.trial import JOB, Trial
from rectbot.settings import Settings
from servers import free_port
from servers_monitoring import PASSWORD, Proxy, make_certificate, push_proxy, pushed_groups, pushgateway

UP, END = "rectbot_push_proxy_up", "rectbot_push_certificate_expiry_timestamp_seconds"


async def _values(port: int, folder: Path, trial: Trial | None = None) -> dict[str, float]:
    text = (await host.exposition(("127.0.0.1", port), str(folder), trial)).decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def _trial(proxy: Proxy, password: str = PASSWORD) -> Trial:
    return Trial("prom", password, proxy.certificate)


async def test_the_proxy_is_up_while_a_push_arrives(tmp_path: Path) -> None:
    behind = free_port()
    with push_proxy(tmp_path / "nginx", behind) as proxy:
        with pushgateway(tmp_path, behind):
            assert (await _values(proxy.port, tmp_path, _trial(proxy)))[UP] == 1
            assert set(pushed_groups(behind)) == {JOB}
            assert (await _values(proxy.port, tmp_path, _trial(proxy, "wrong")))[UP] == 0
        values = await _values(proxy.port, tmp_path, _trial(proxy))
        assert values[UP] == 0, "TLS alone is no push"
        assert END in values
        assert UP not in await _values(proxy.port, tmp_path), "without a password nobody knows"


@pytest.mark.parametrize("days", [30, -3])
async def test_the_certificate_s_end_is_told_also_when_it_is_over(days: int, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    make_certificate(folder, days=days)
    with pushgateway(tmp_path) as behind, push_proxy(folder, behind) as proxy:
        values = await _values(proxy.port, tmp_path, _trial(proxy))
    assert values[UP] == (days > 0), "a site would not send its password there"
    assert values[END] == pytest.approx(time.time() + days * 86400, abs=60)
    assert 0 < values["rectbot_host_disk_available_bytes"] < values["rectbot_host_disk_total_bytes"]


async def test_a_hub_that_may_not_push_says_that_pushes_do_not_arrive(tmp_path: Path) -> None:
    with push_proxy(tmp_path / "nginx", free_port(), allow=["192.0.2.1"]) as proxy:
        values = await _values(proxy.port, tmp_path, _trial(proxy))
    assert values[UP] == 0
    assert END not in values


async def test_a_proxy_that_is_away_is_told_and_has_no_certificate(tmp_path: Path) -> None:
    values = await _values(free_port(), tmp_path)
    assert values[UP] == 0
    assert END not in values


async def test_a_proxy_with_another_certificate_is_not_given_the_password(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    with pushgateway(tmp_path) as behind, push_proxy(tmp_path / "nginx", behind) as proxy:
        values = await _values(proxy.port, tmp_path, Trial("prom", PASSWORD, tmp_path / "tls.crt"))
        assert values[UP] == 0
        assert pushed_groups(behind) == {}


def test_where_the_proxy_is_looked_for() -> None:
    assert host.push_proxy_address(Settings(push_proxy_bind="0.0.0.0")) == ("127.0.0.1", 9443)
    assert host.push_proxy_address(Settings(push_proxy_bind="192.0.2.7")) == ("127.0.0.1", 9443)
    assert host.push_proxy_address(Settings(push_proxy_address="nginx:9443")) == ("nginx", 9443)
