"""Which passwords a site needs: its push password, and Redis' where the lease is in Redis and the address has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rectbot.doctor.files import passwords
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Result
from rectbot.settings import load_settings
from rectbot.stack.layout import Layout

LONG, OTHER = "a-long-password-1234", "another-long-password"


@pytest.mark.parametrize(
    ("store", "needed"),
    [
        ({"LEASE_URL": "s3://bucket/rectbot?endpoint=https://r2.example.org"}, False),
        ({"LEASE_URL": "gs://bucket/rectbot"}, False),
        ({"LEASE_URL": "etcd://h1:2379,h2:2379,h3:2379/rectbot"}, False),
        ({"LEASE_URL": f"etcds://user:{OTHER}@h1:2379,h2:2379,h3:2379/rectbot"}, False),
        ({"LEASE_URL": f"rediss://xserver:{OTHER}@redis.example.org"}, False),
        ({"REDIS_URL": f"redis+sentinel://xserver:{OTHER}@h1:26379,h2:26379/main"}, False),
        ({"REDIS_URL": "redis://redis.example.org"}, True),
        ({"LEASE_URL": "redis://redis.example.org"}, True),
        ({"REDIS_URL": "redis://xserver@redis.example.org"}, True),
        ({"REDIS_HOST": "redis.example.org"}, True),
        ({}, True),
    ],
)
def test_a_site_needs_the_password_of_its_own_store(tmp_path: Path, store: dict[str, str], needed: bool) -> None:
    def found(**more: str) -> tuple[Result, str]:
        values = {"SITE_ID": "xserver", "PUSHGATEWAY_PASSWORD": LONG} | store | more
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        verdict = passwords(Subject(load_settings(rectbot_home=tmp_path), Layout.at(tmp_path, 0), Engine.SITE))
        return verdict.result, verdict.found

    result, text = found()
    assert (result is Result.FAIL) is needed
    assert ("REDIS_PASSWORD is not set" in text) is needed
    if needed:
        assert found(REDIS_PASSWORD=OTHER)[0] is Result.PASS
