"""The whole stack from the built wheel with [stack], in an empty folder, under names that are not in the checkout."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.stack import Stack, until
from servers import free_offset
from wheels import Installation, build, install, pack_packages

NAMES = {"FAILOVER_PRIORITY": "alpha,beta,gamma", "PUSH_JOBS": "alpha:mybot,alpha:mygame,gamma:third"}
# Each site's bot, its pushes under each job, and its way to Redis.
OF_SITES = {
    *("bot-alpha", "push-alpha", "push-alpha-2", "link-alpha", "bot-beta", "link-beta"),
    *("bot-gamma", "push-gamma", "link-gamma"),
}


def test_the_stack_runs_from_the_wheel_under_any_names(tmp_path: Path) -> None:
    for name in ("packages", "home"):
        (tmp_path / name).mkdir()
    pack_packages(tmp_path / "packages")
    here = Installation(install(build(tmp_path), tmp_path / "packages", tmp_path, "stack"), tmp_path / "home")
    stack = Stack(here.home, free_offset())
    offset = {"RECTBOT_PORT_OFFSET": str(stack.offset), **NAMES}
    here.run("init", settings=offset)
    try:
        here.run("up", "--detach", settings=offset)

        def all_is_well() -> bool:
            status = json.loads(here.run("status", "--json", code=None, settings=offset).stdout)
            return status["leader"] is not None and all(part["healthy"] for part in status["components"].values())

        until(all_is_well, 120, "every component is healthy, and a site leads")
        status = json.loads(here.run("status", "--json", code=None, settings=offset).stdout)
        assert (status["leader"]["site"], list(status["sites"])) == ("alpha", ["alpha", "beta", "gamma"])
        assert {name for name in status["components"] if "-" in name} == OF_SITES
        assert status["push"].keys() == {"mybot", "mygame", "third"}

        def broken() -> set[str]:
            report = json.loads(here.run("doctor", "--json", code=None, settings=offset).stdout)
            assert report["engine"] == "native"
            return {each["name"] for each in report["checks"] if each["result"] == "FAIL"}

        until(lambda: not broken(), 90, "every promise is kept, also those that take a minute")
        here.run("alert", "hello", settings=offset)
        here.run("down", settings=offset)
        assert stack.leftovers() == []
    finally:
        stack.destroy()
