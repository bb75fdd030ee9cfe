"""Settings that are lists of pairs: logins, and the jobs of sites."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

MOST_JOBS = 8  # as prometheus.yml has them
# Jobs under which Prometheus scrapes the stack itself, and the hub pushes by way of trial; as nginx.conf has them.
_STACKS_OWN = frozenset(
    ("prometheus", "pushgateway", "pushes", "pushes-expected", "alertmanager", "loki", "hub", "push-proxy-check")
)


def parse_logins(text: str) -> dict[str, str]:
    """The passwords in `USER:PASSWORD,USER:PASSWORD` by user. Raises ValueError, without them, for another form."""
    entries = [entry.strip().partition(":") for entry in text.split(",") if entry.strip()]
    if not all(name and password for name, _, password in entries):
        raise ValueError("write USER:PASSWORD,USER:PASSWORD")
    return {name: password for name, _, password in entries}


def join_logins(logins: Mapping[str, str]) -> str:
    """The text that `parse_logins` reads."""
    return ",".join(f"{name}:{password}" for name, password in logins.items())


def parse_jobs(text: str, priority: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The jobs in `SITE:JOB,SITE:JOB` by site; without any, `SITE-bot` of the most preferred site.

    A site with several bots has several. Raises ValueError for another form.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        site, _, job = entry.partition(":")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", site) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,200}", job):
            raise ValueError("write SITE:JOB,SITE:JOB, for example xserver:xserver-bot")
        if job in _STACKS_OWN or job in itertools.chain(*found.values()):
            raise ValueError(f"the job {job} is another's: choose another name")
        found[site] = (*found.get(site, ()), job)
    if len([*itertools.chain(*found.values())]) > MOST_JOBS:
        raise ValueError(f"{MOST_JOBS} jobs at most are expected")
    return found or {site: (f"{site}-bot",) for site in priority[:1]}
