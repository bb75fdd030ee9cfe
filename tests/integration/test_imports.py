"""What a command imports: nothing that it does not need, so that it starts at once on a small host.

Not the time is looked at, which a busy machine stretches, but the modules.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers import free_port

SETTINGS = {"click", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "dotenv"}
NOWHERE = f"http://127.0.0.1:{free_port()}"
SITE = {"FAILOVER_ENABLED": "false", "DISCORD_ALERT_WEBHOOK_URL": f"{NOWHERE}/api/webhooks/1/token-of-nobody"}
COMMANDS: dict[str, set[str]] = {
    "--help": {"click"},
    "push --help": {"click"},
    "failover run -- true": SETTINGS,
    "failover history": SETTINGS,
    "push": SETTINGS | {"urllib3", "psutil", "prometheus_client"},
    "alert hello": SETTINGS | {"urllib3"},
    "logs query {job=\"x\"}": SETTINGS | {"urllib3"},
    "logs ship --once there": SETTINGS | {"urllib3"},
    "install --site oci --dry-run": SETTINGS,
    "init": SETTINGS | {"bcrypt", "cryptography", "_cffi_backend", "cffi", "yaml"},
}  # fmt: skip
WITHOUT_ASYNCIO = {"--help", "push --help", "push", "alert hello", "install --site oci --dry-run", "init"}


def imported(command: str, home: Path) -> set[str]:
    """The top-level modules that a command imports."""
    (home / "there").write_text("a line\n")
    (home / ".env.example").touch()
    urls = {"PUSHGATEWAY_URL": f"{NOWHERE}/metrics/job/x", "LOKI_URL": NOWHERE, "RECTBOT_HOME": str(home)}
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | urls | SITE
    return traced("-m", "rectbot", *command.split(), home=home, environment=environment)


def traced(*words: str, home: Path, environment: dict[str, str] | None = None) -> set[str]:
    """The top-level modules that `python WORDS` imports, as Python itself tells."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def is_library(module: str) -> bool:
    """Whether a package from the index brings it."""
    found = find_spec(module) if module.isidentifier() else None
    return found is not None and "site-packages" in (found.origin or "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_what_it_needs_and_no_more(command: str, tmp_path: Path) -> None:
    modules = imported(command, tmp_path)
    assert "click" in modules
    libraries = {module for module in modules if is_library(module)} - {"_distutils_hack", "distutils-precedence"}
    assert libraries <= COMMANDS[command]
    if command in WITHOUT_ASYNCIO:
        assert "asyncio" not in modules


def test_the_log_store_leaves_expressions_and_grammars_to_its_worker(tmp_path: Path) -> None:
    assert not traced("-c", "import logstore.server.app", home=tmp_path) & {"re2", "_re2", "lark"}
