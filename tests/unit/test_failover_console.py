"""The state of the failover in words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rectbot.failover import console
from rectbot.failover.console import describe, describe_event
from rectbot.failover.events import MEANINGS, Event, Hold, Leader, Site, Snapshot
from rectbot.failover.messages import Command, Ending

LEADER = Leader("a", "a:host:1:00000000", 7, "2026-01-01T00:00:00.000Z", 58_100)
CALM = Snapshot(
    leader=LEADER,
    sites={"a": Site(1.5, True, 0, serving=True), "b": Site(0.2, True, 1, waits="held")},
    epoch=7,
    logins_left=240,
)


def told(**changes: Any) -> list[str]:
    return list(describe(replace(CALM, **changes), ("a", "b")))


def test_a_calm_state() -> None:
    assert told() == [
        "leader    a, epoch 7, since 2026-01-01T00:00:00.000Z",
        "lease     58.1 s left unless renewed",
        "process   a:host:1:00000000",
        "logins    240 left at once",
        "site        heartbeat     state",
        "a           1.5 s ago     leads",
        "b           0.2 s ago     stands by",
    ]


def test_nobody_leads_and_why() -> None:
    lines = told(leader=None, suspended_ms=4_200, logins_left=0, next_login_s=345)
    assert lines[0] == "leader    nobody (the last epoch was 7)"
    assert lines[1].startswith("waiting   nobody is granted the lead for 4.2 s: the store may have lost its memory")
    assert lines[2] == "logins    0 left at once; the next one in 6 min"


def test_the_most_preferred_site_keeps_the_lead_from_nobody() -> None:
    assert told(pinned="a") == told()


def test_what_operators_have_ordered() -> None:
    lines = told(hold=Hold(5_400, "a", "eve: update"), switch_to="b", pinned="b", drained={"b": "drained by eve"})
    assert lines[3:6] == [
        "hold      only a may lead, for 90 min (eve: update)",
        "switch    to b, under way",
        "pinned    b keeps the lead from preferred sites: an operator switched to it",
    ]
    assert lines[-1] == "b           0.2 s ago     drained by eve"
    forever = told(hold=Hold(3e9, "", "eve"))
    assert forever[3] == "hold      nobody may lead, until unhold (eve)"


def test_what_is_wrong_with_a_site() -> None:
    def state(site: Site | None, **changes: Any) -> str:
        sites = {"a": CALM.sites["a"]} | ({"b": site} if site else {})
        return told(sites=sites, **changes)[-1].split(maxsplit=1)[1]

    assert state(None) == "none          not running, or cut off from the store"
    assert state(None, drained={"b": "drained by eve"}) == "none          drained by eve"
    assert state(Site(100, False, 1)).endswith("silent")
    assert state(Site(1, False, 1, waits="ineligible")).endswith("sits out after a failure, or is stopping")
    damped = state(Site(1, True, 1, damped_s=130, losses=3))
    assert damped.endswith("stands by, damped for 2 min after 3 losses")
    assert state(Site(1, True, 1, waits="budget"), leader=None).endswith("stands by, waits: budget")
    leads = {"leader": replace(LEADER, site="b")}
    assert state(Site(1, True, 1, serving=False), **leads).endswith("leads, and does not serve (yet)")


def test_a_line_of_history() -> None:
    event = Event("1-0", 1_700_000_000.5, "handed-over", "a", "a:host:1:0", 7, "hands over to b")
    line = describe_event(event)
    assert line.endswith("handed-over          a            epoch 7      hands over to b  [a:host:1:0]")
    assert describe_event(event._replace(site="", why="")).endswith(
        "handed-over          -            epoch 7      [a:host:1:0]"
    )


def test_every_event_that_the_rules_record_has_a_meaning() -> None:
    folder = Path(console.__file__).parent
    source = "".join((folder / f"{name}.py").read_text() for name in ("rules", "commands", "record"))
    written = set(re.findall(r'\.enter\(\s*"([a-z-]+)"', source)) | {"damped"}
    written |= {
        "refused-by-priority",
        "refused-by-budget",
        *get_args(Ending),
        *get_args(get_type_hints(Command)["act"]),
    }
    assert written == set(MEANINGS)
