"""docs/reference says what the code says, and leaves out nothing."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rectbot.failover.config import FailoverConfig
from rectbot.failover.events import Leader, Renewals, Site, Snapshot
from rectbot.failover.trips import BUCKETS_MS
from rectbot.hub.exporter import exposition
from rectbot.settings import KNOWN

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES: dict[str, str] = runpy.run_path(str(ROOT / "scripts/reference.py"))["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name], "run make reference"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def test_every_setting_is_there() -> None:
    names = set(re.findall(r"`([A-Z][A-Z0-9_]*)`", PAGES["settings.md"]))
    assert names >= KNOWN


def test_every_metric_of_the_failover_is_there_with_its_labels() -> None:
    """As the exporter shows them, and not as its source is read."""
    renewals = Renewals((0,) * (len(BUCKETS_MS) + 1), 0.0, 0)
    site = Site(1.0, True, 0, serving=True, renewals=renewals)
    leader = Leader("xserver", "x", 1, "2026-11-27T00:00:00Z", 1000)
    config = FailoverConfig(site="", priority=("xserver", "oci"))
    shown = exposition(Snapshot(leader, {"xserver": site}), config).decode()
    families = list(text_string_to_metric_families(shown))
    assert len(families) > 15
    for family in families:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        [row] = [line for line in PAGES["metrics.md"].splitlines() if line.startswith(f"| `{name}` | {family.type} |")]
        assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == labels, name


def test_every_alert_is_there() -> None:
    files = (ROOT / "docker/monitoring/prometheus/alerts").glob("*.yml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 15
    for alert in alerts:
        assert re.search(rf"^\| (\[{alert}\]|`{alert}`)", PAGES["alerts.md"], re.MULTILINE), alert
