"""Who loses what: hosts lose their power, the way between them, or the store; and where is the bot, after which gap?

    PYTHONPATH=tests .venv/bin/python bench/outages.py [--ttl-ms 3000] [--only etcd]

The hosts are network namespaces (it takes root). A host that loses its power has everything killed with -9, and its
network says nothing more. The bot writes down every 10 ms that it lives; the gap is the longest time in which none did.
Prints the table of docs/failover.md. It takes about six minutes, and next to no processor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hosts import STORES, Played, may_have_hosts, played
from rectbot.failover.clock import boottime_ms

OUTAGES: dict[str, tuple[Callable[[Played], None], Callable[[Played], None] | None]] = {
    "`oci` away": (lambda play: play.oci.lose_power(), None),
    "`xserver` away": (lambda play: play.xserver.lose_power(), None),
    "a third host away": (lambda play: play.third.lose_power(), None),
    "the two cannot reach each other": (
        lambda play: play.oci.lose(play.xserver),
        lambda play: play.oci.find(play.xserver),
    ),
    "the store away": (lambda play: play.stop_store(), lambda play: play.start_store()),
}
WHERE = {"redis": "Redis on `oci`", "bucket": "a bucket", "etcd": "etcd on `oci`, `xserver` and a third host"}


def measure(store: str, outage: str, ttl_ms: int) -> str:
    begin, end = OUTAGES[outage]
    with tempfile.TemporaryDirectory(prefix="rectbot-outage-") as name, played(store, Path(name), ttl_ms) as play:
        began = boottime_ms()
        begin(play)
        time.sleep(4 * ttl_ms / 1000)
        found = _told(play, began)
        if end is None or found == "stays at `xserver`":
            return found
        end(play)
        mended = boottime_ms()
        play.until_live("xserver", 60)
        return f"{found}; back at `xserver` {(boottime_ms() - mended) / 1000:.1f} s after it is mended"


def _told(play: Played, began: int) -> str:
    where, gap = play.live(), play.silence(began)
    if not where:
        last = play.beats()[-1][0]
        return f"**nowhere**, from {(last - began) / 1000:.1f} s on"
    if where == "xserver" and gap < 200:
        return "stays at `xserver`"
    return f"at `{where}`, after a gap of {gap / 1000:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ttl-ms", type=int, default=3_000)
    parser.add_argument("--only", choices=STORES, action="append")
    given = parser.parse_args()
    if not may_have_hosts():
        sys.exit("network namespaces take root")
    stores = given.only or list(STORES)
    rows = []
    for outage in OUTAGES:
        cells = []
        for store in stores:
            absent = store != "etcd" and outage == "a third host away"
            cells.append("-" if absent else measure(store, outage, given.ttl_ms))
            print(f"{store}, {outage}: {cells[-1]}", file=sys.stderr, flush=True)
        rows.append(f"| {outage} | {' | '.join(cells)} |")
    print(f"LOCK_TTL_MS={given.ttl_ms}, the way to a bucket polled every 500 ms\n")
    print(f"| | {' | '.join(WHERE[store] for store in stores)} |", "|---" * (len(stores) + 1) + "|", *rows, sep="\n")


if __name__ == "__main__":
    main()
