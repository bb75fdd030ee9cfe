"""A disk that is full for a while: what could not be written is lost, but the stack is not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import disk_of
from e2e.stack import TTL_SECONDS, Stack, until
from localdiscord.journal import sessions

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a file system of a given size"),
]
_CHUNK = b"x" * 2**16


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of(tmp_path / "disk", "300m") as disk:
        yield disk


def _fill(path: Path) -> None:
    """To the last byte."""
    with path.open("wb", buffering=0) as file:
        size = len(_CHUNK)
        while size:
            try:
                file.write(_CHUNK[:size])
            except OSError:
                size //= 2


def test_a_stack_lives_through_a_full_disk(small_disk: Path) -> None:
    stack = Stack.prepare(small_disk / "home")
    stack.run("init")
    try:
        stack.run("up", "--detach")
        until(lambda: stack.leader() == "xserver", 60, "xserver leads")
        supervisor = stack.leftovers()[0]
        _fill(small_disk / "ballast")

        # Redis promises what it cannot keep no longer, and says nothing instead.
        until(lambda: not stack.status()["components"]["redis"]["healthy"], 60, "Redis cannot write")
        until(lambda: not _logged_in(stack), TTL_SECONDS + 10, "no bot outlives its lease")
        disk = _doctor_says(stack, "disk")
        assert disk["result"] == "FAIL"
        assert " 0 MiB" in disk["found"]
        assert supervisor in stack.leftovers()

        (small_disk / "ballast").unlink()
        until(lambda: stack.leader() == "xserver", 60, "xserver leads again")
        until(lambda: _logged_in(stack) == ["xserver"], 60, "the bot is back")
        until(lambda: all(part["healthy"] for part in stack.status()["components"].values()), 60, "all is well")
        assert "Traceback" not in "".join(path.read_text() for path in (stack.var / "log").glob("*.log"))
        stack.run("down")
        assert stack.leftovers() == []
    finally:
        stack.destroy()


def _logged_in(stack: Stack) -> list[str | None]:
    return [session.site for session in sessions(stack.journal()) if session.closed is None]


def _doctor_says(stack: Stack, name: str) -> dict[str, str]:
    checks = json.loads(stack.run("doctor", "--json", check=False).stdout)["checks"]
    return next(check for check in checks if check["name"] == name)
