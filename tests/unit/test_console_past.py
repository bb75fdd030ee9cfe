"""The reading of the recorded past: it leaves nothing behind when it is ended."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import pytest

from rectbot.console import past
from rectbot.console.live import Now
from rectbot.settings import load_settings

HANGS = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_reading_is_not_over_before_its_program_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else the program's pipes outlive the event loop, of which they complain with a traceback."""
    start, started = asyncio.create_subprocess_exec, asyncio.Queue[Process]()

    async def noted(*command: str, **pipes: Any) -> Process:
        process = await start(*command, **pipes)
        started.put_nowait(process)
        return process

    async def end_while_it_reads() -> int | None:
        reading = past.Past(load_settings(rectbot_home=tmp_path))
        reading.look(Now(at=0.0))
        process = await started.get()
        await reading.close()
        return process.returncode

    monkeypatch.setattr(past, "COMMAND", HANGS)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    assert asyncio.run(end_while_it_reads()) == -9
