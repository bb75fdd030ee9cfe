"""The whole stack from the built wheel with [stack], in an empty folder: nothing of the checkout is there."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.stack import Stack, until
from servers import free_offset
from wheels import Installation, build, install, pack_packages


def test_the_stack_runs_from_the_wheel(tmp_path: Path) -> None:
    for name in ("packages", "home"):
        (tmp_path / name).mkdir()
    pack_packages(tmp_path / "packages")
    here = Installation(install(build(tmp_path), tmp_path / "packages", tmp_path, "stack"), tmp_path / "home")
    stack = Stack(here.home, free_offset())
    offset = {"RECTBOT_PORT_OFFSET": str(stack.offset)}
    here.run("init", settings=offset)
    try:
        here.run("up", "--detach", settings=offset)

        def all_is_well() -> bool:
            status = json.loads(here.run("status", "--json", code=None, settings=offset).stdout)
            return status["leader"] is not None and all(part["healthy"] for part in status["components"].values())

        until(all_is_well, 120, "every component is healthy, and a site leads")
        report = json.loads(here.run("doctor", "--json", code=None, settings=offset).stdout)
        assert report["engine"] == "native"
        broken = {each["name"] for each in report["checks"] if each["result"] == "FAIL"}
        assert broken <= {"push", "targets"}, "what takes a minute to be there"
        here.run("alert", "hello", settings=offset)
        here.run("down", settings=offset)
        assert stack.leftovers() == []
    finally:
        stack.destroy()
