"""`rectbot init --allow`: who may push, checked and written where nginx reads it."""

from __future__ import annotations

import ipaddress
import shutil
from pathlib import Path

import pytest

from rectbot.errors import ConfigError
from rectbot.stack import allowlist
from rectbot.stack.init import init
from rectbot.stack.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
SAME = "everything is there already: nothing was changed"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    shutil.copy(ROOT / ".env.example", tmp_path)
    return Layout(tmp_path, tmp_path / "var" / "main")


def _allowed(layout: Layout) -> list[str]:
    lines = layout.allowlist.read_text().splitlines()
    return [line.removeprefix("allow ").removesuffix(";") for line in lines if not line.startswith("#")]


def test_the_default_is_this_machine_and_docker_s_bridges_as_in_the_example(layout: Layout) -> None:
    list(init(layout))
    assert _allowed(layout) == ["127.0.0.1", "172.16.0.0/12"]
    example = ROOT / "docker" / "monitoring" / "pushgateway" / "allowlist.conf.example"
    assert allowlist.read(example) == allowlist.read(layout.allowlist) == allowlist.DEFAULT


def test_allow_replaces_the_list_and_keeps_this_machine(layout: Layout) -> None:
    list(init(layout))
    (line,) = init(layout, allow=["203.0.113.5", "198.51.100.0/28", "2001:db8::/64", "203.0.113.5"])
    assert line.startswith("replaced ")
    assert _allowed(layout) == ["127.0.0.1", "203.0.113.5", "198.51.100.0/28", "2001:db8::/64"]
    assert list(init(layout, allow=["2001:DB8::/64", "203.0.113.5/32", "198.51.100.0/28"])) == [SAME]
    assert list(init(layout)) == [SAME], "without --allow the list stays"
    list(init(layout, allow=["172.16.0.0/12"]))
    assert _allowed(layout) == ["127.0.0.1", "172.16.0.0/12"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prom.example.org", "is not an address or a network"),
        ("203.0.113.256", "is not an address or a network"),
        ("203.0.113.5;", "is not an address or a network"),
        ("", "is not an address or a network"),
        ("203.0.113.5/24", r"write 203\.0\.113\.0/24"),
        ("2001:db8::1/64", r"write 2001:db8::/64"),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("fe80::1%eth0", "names an interface"),
        ("::ffff:203.0.113.5", r"write it as IPv4, like 203\.0\.113\.5"),
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_written(text: str, hint: str, layout: Layout) -> None:
    with pytest.raises(ConfigError, match=hint):
        list(init(layout, allow=["203.0.113.9", text]))
    assert not layout.env_file.exists()
    assert not layout.allowlist.exists()


def test_a_list_edited_by_hand_is_read(tmp_path: Path) -> None:
    path = tmp_path / "allowlist.conf"
    path.write_text("# allow 9.9.9.9;\n  allow 203.0.113.5 ;  # home\nallow 2001:db8::/32;\ndeny 10.0.0.1;\n")
    assert allowlist.read(path) == (ipaddress.ip_network("203.0.113.5"), ipaddress.ip_network("2001:db8::/32"))
    path.write_text("allow all;\n")
    with pytest.raises(ConfigError, match="admits everybody"):
        allowlist.read(path)
    path.write_text("allow unix:;\n")
    with pytest.raises(ConfigError, match=r"allowlist\.conf: .*write 'allow ADDRESS;'"):
        allowlist.read(path)
