"""`rectbot push --forget JOB` against the real Pushgateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from rectbot.errors import ConfigError, RectbotError
from rectbot.push.forget import forget
from rectbot.settings import BASE_PORTS, Settings
from servers import free_port
from servers_monitoring import HTTP, pushed_groups, pushgateway


def _settings(port: int) -> Settings:
    return Settings().model_copy(update={"rectbot_port_offset": port - BASE_PORTS["pushgateway"]})


def test_a_job_is_forgotten_in_all_its_groups_and_others_stay(tmp_path: Path) -> None:
    with pushgateway(tmp_path) as port:
        base = f"http://127.0.0.1:{port}/metrics"
        for path in ("job/x", "job/x/instance/i", "job/x/instance/a%20b%C3%A9", "job@base64/YS9i", "job/stays"):
            assert HTTP.request("PUT", f"{base}/{path}", body=b"m 1\n").status == 200
        settings = _settings(port)
        assert forget(settings, "x") == "x is forgotten (3 groups)"
        assert forget(settings, "a/b") == "a/b is forgotten (1 group)"
        assert set(pushed_groups(port)) == {"stays"}
        with pytest.raises(ConfigError, match="no job 'x' was pushed here; there is stays"):
            forget(settings, "x")


def test_elsewhere_it_says_where_it_belongs() -> None:
    with pytest.raises(RectbotError, match="on the stack's host"):
        forget(_settings(free_port()), "x")
