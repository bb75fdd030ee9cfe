"""Mistakes of a new user beside a running stack: one clear line each, and the stack does not mind."""

from __future__ import annotations

import pytest

from e2e.stack import Stack
from rectbot.settings import BASE_PORTS

pytestmark = pytest.mark.timeout(480)


@pytest.mark.parametrize(
    ("arguments", "extra", "code", "parts"),
    [
        (["bot"], {"REDIS_PASSWORD": "wrong"}, 2, ["REDIS_PASSWORD"]),
        (["bot"], {"SITE_ID": "mars"}, 2, ["SITE_ID=mars", "FAILOVER_PRIORITY=xserver,oci"]),
        (["bot"], {"LOCK_TTL_MS": "10"}, 2, ["LOCK_TTL_MS"]),
        (["bot"], {"RENEW_INTERVAL_MS": "6000"}, 2, ["RENEW_INTERVAL_MS"]),
        (["bot"], {"DISCORD_BOT_TOKEN": ""}, 2, ["DISCORD_BOT_TOKEN"]),
        (["bot"], {"BOT_APP": "nowhere:factory"}, 2, ["nowhere"]),
        (["push"], {"PUSHGATEWAY_PASSWORD": "wrong"}, 5, ["401", "PUSHGATEWAY_PASSWORD"]),
        (["push"], {"PUSHGATEWAY_CACERT": "/nowhere.crt"}, 2, ["/nowhere.crt"]),
        (["push"], {"PUSHGATEWAY_URL": "https://localhost:1/metrics/job/x"}, 3, ["refused"]),
        (["alert", "hello"], {"DISCORD_ALERT_WEBHOOK_URL": "nonsense"}, 2, ["DISCORD_ALERT_WEBHOOK_URL"]),
        (["discord", "serve"], {}, 2, ["port", "in use"]),
        (["hub", "serve"], {}, 2, ["hub", "address already in use"]),
    ],
)
def test_a_mistake_is_one_clear_line(
    stack: Stack, arguments: list[str], extra: dict[str, str], code: int, parts: list[str]
) -> None:
    site = {
        "FAILOVER_ENABLED": "true",
        "SITE_ID": "oci",
        "LOCK_TTL_MS": "6000",
        "DISCORD_BOT_TOKEN": "local-discord",
        "DISCORD_API_URL": f"http://127.0.0.1:{BASE_PORTS['discord'] + stack.offset}/api/v10",
    }
    done = stack.run(*arguments, check=False, timeout=30, **(site | extra))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("rectbot: ")
    assert all(part.lower() in last.lower() for part in parts), done.stderr
    assert stack.leader() == "xserver"
