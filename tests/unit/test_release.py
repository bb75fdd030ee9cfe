"""What a release rests on: one source of the version, a changelog that knows it, pages that point at what is there."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from logstore import LOKI_VERSION
from rectbot import __version__
from rectbot.cli.common import extra_for

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLACES = re.compile(r"`((?:src|tests|docs|docker|scripts|bench|alerts)/[^`]*|test_[^`]*|[a-z-]+\.(?:toml|yml|py))`")


def test_the_version_has_one_source() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    source = (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text()
    assert f'__version__ = "{__version__}"' in source


def test_the_changelog_keeps_the_form_and_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert all(date for _, date in headings[1:])
    assert headings[1][0] == __version__
    assert {name for name, _ in headings} == set(re.findall(r"^\[(.+?)\]: https://", text, re.MULTILINE))
    kinds = {"Upgrading", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds


def test_the_log_store_calls_itself_by_the_version_of_loki_that_compose_runs() -> None:
    compose = (ROOT / "docker-compose.monitoring.yml").read_text()
    assert f"grafana/loki:${{LOKI_VERSION:-{LOKI_VERSION}}}" in compose


def test_the_projects_pages_are_named() -> None:
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= PROJECT["project"]["urls"].keys()


def test_each_python_that_is_promised_is_tried() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["run"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert any(step.get("run", "").endswith(".ci/run") for step in job["steps"])
    assert workflow["permissions"] == {"contents": "read"}


def test_updates_are_proposed_for_all_that_is_pinned() -> None:
    config = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())
    kinds = {(each["package-ecosystem"], each["directory"]) for each in config["updates"]}
    assert {("pip", "/"), ("docker", "/docker/bot"), ("docker-compose", "/"), ("github-actions", "/")} <= kinds


@pytest.mark.parametrize("place", sorted(set(PLACES.findall((ROOT / "CONTRIBUTING.md").read_text()))))
def test_the_map_of_the_code_shows_what_is_there(place: str) -> None:
    pattern = place.rstrip("/")
    assert [*ROOT.glob(pattern), *ROOT.glob(f"**/{pattern}")][:1], place


def test_what_only_an_extra_brings_is_known_to_the_line_that_names_it() -> None:
    brought: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            brought.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(module)
    base = {_name(line) for line in PROJECT["project"]["dependencies"]}
    for extra, lines in PROJECT["project"]["optional-dependencies"].items():
        for name in {_name(line) for line in lines} - base - {"rectbot"}:
            known = {extra_for("x", ModuleNotFoundError(name=module)) for module in brought[name]}
            assert any(known), f"{name} of [{extra}] is in no line of cli/common.py"


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", requirement)[0]).lower()


def test_the_extras_hold_together() -> None:
    """`all` is everything, `stack` runs the bot and the log store, and building is not for users."""
    extras = PROJECT["project"]["optional-dependencies"]
    named = {
        name: set(re.findall(r"\w+", ",".join(re.findall(r"rectbot\[(.+?)\]", " ".join(extras[name])))))
        for name in extras
    }
    assert named["stack"] == {"bot", "logs"}
    assert named["all"] | named["stack"] == set(extras) - {"all"}
    everything = [*PROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    assert not any("grafana" in line for line in everything)
