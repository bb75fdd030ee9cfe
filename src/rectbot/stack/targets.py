"""Which pushes Prometheus expects: a target for each job, for prometheus.yml to scrape for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml


def render(address: str, jobs: Mapping[str, Sequence[str]]) -> str:
    """The text of targets/pushgateway.yml: the Pushgateway for itself, and once more for each job of a site."""
    expected = [(site, job) for site, names in jobs.items() for job in names]
    own = {f"own_{number}": job for number, (_, job) in enumerate(expected, 1)}
    groups = [{"targets": [address], "labels": own}]
    groups += [{"targets": [address], "labels": {"site": site, "expected": job}} for site, job in expected]
    return yaml.safe_dump(groups, sort_keys=False)
