"""What rectbot.failover exports, and when it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rectbot import failover


def test_every_export_is_found_where_it_is_said_to_be() -> None:
    assert {getattr(failover, name).__name__ for name in failover.__all__} == set(failover.__all__)
    assert set(failover._HOMES) == set(failover.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = failover.nothing


def test_the_command_line_begins_an_agent_without_the_agents_imports() -> None:
    """They cost it a tenth of its start, for nothing."""
    code = (
        "import sys; from rectbot.failover import agent, config, wiring;"
        "print(*sorted(name for name in sys.modules if name.startswith('rectbot.failover.')), 'asyncio' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    modules = ("agent", "config", "endpoint", "stores", "stores.urls", "wiring")
    assert found.stdout.split() == [*(f"rectbot.failover.{name}" for name in modules), "False"]
