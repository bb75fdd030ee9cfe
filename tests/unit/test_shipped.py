"""What a package lays out in an operator's folder, and what an upgrade does to it: it touches nothing of theirs."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectbot.errors import ConfigError, RectbotError
from rectbot.stack.init import init
from rectbot.stack.layout import Layout
from rectbot.stack.shipped import RECORD, Shipped, lay_out, upgrade

OLD = Shipped(
    "1.0.0", {".env.example": b"A=\n", "docker/a.yml": b"one\ntwo\n", "docker/x/b.conf": b"b\n", "gone": b"g"}
)
NEW = Shipped(
    "1.1.0",
    {
        ".env.example": b"A=\n# new\nB_SETTING=\n",
        "docker/a.yml": b"one\n2\n",
        "docker/x/b.conf": b"b\n",
        "run": b"#!/bin/sh\n",
    },
)


def _tree(home: Path) -> dict[str, bytes]:
    files = (path for path in home.rglob("*") if path.is_file() and path != home / RECORD)
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def test_an_empty_folder_gets_every_file_for_all_to_read(tmp_path: Path) -> None:
    assert list(lay_out(tmp_path, NEW)) == [f"laid out 4 files of rectbot 1.1.0 in {tmp_path}"]
    assert _tree(tmp_path) == NEW.files
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes.pop("run") == 0o755
    assert set(modes.values()) == {0o644}
    assert list(lay_out(tmp_path, NEW)) == []


def test_what_is_there_stays_and_what_is_missing_comes_back(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/a.yml").write_bytes(b"mine")
    list(lay_out(tmp_path, OLD))
    assert (tmp_path / "docker/a.yml").read_bytes() == b"mine"
    (tmp_path / "docker/x/b.conf").unlink()
    assert list(lay_out(tmp_path, OLD)) == ["laid out again: docker/x/b.conf"]


def test_files_of_another_version_wait_for_upgrade(tmp_path: Path) -> None:
    list(lay_out(tmp_path, OLD))
    (line,) = lay_out(tmp_path, NEW)
    assert "rectbot 1.0.0, not 1.1.0: 'rectbot init --upgrade'" in line
    assert _tree(tmp_path) == OLD.files


def test_an_upgrade_brings_what_is_new_and_says_what_it_did(tmp_path: Path) -> None:
    list(lay_out(tmp_path, OLD))
    assert list(upgrade(tmp_path, NEW)) == [
        "replaced by those of rectbot 1.1.0: .env.example, docker/a.yml",
        "new in rectbot 1.1.0: run",
        "gone in rectbot 1.1.0: gone",
        "settings that are new, explained in .env.example: B_SETTING",
    ]
    assert _tree(tmp_path) == NEW.files
    assert list(upgrade(tmp_path, NEW)) == []


def test_an_upgrade_keeps_what_the_operator_changed_and_says_what_differs(tmp_path: Path) -> None:
    list(lay_out(tmp_path, OLD))
    (tmp_path / "docker/a.yml").write_bytes(b"one\nmine\n")
    (tmp_path / "gone").write_bytes(b"mine too")
    (tmp_path / "docker/x/b.conf").unlink()
    told = list(upgrade(tmp_path, NEW))
    kept = "docker/a.yml: yours stays; 2 lines differ from rectbot 1.1.0's: diff -u docker/a.yml docker/a.yml.new"
    assert kept in told
    assert "docker/x/b.conf: was removed here and stays away; 'rectbot init' brings it back" in told
    assert "gone: yours stays; rectbot 1.1.0 has no such file any more" in told
    assert (tmp_path / "docker/a.yml").read_bytes() == b"one\nmine\n"
    assert (tmp_path / "docker/a.yml.new").read_bytes() == b"one\n2\n"
    assert not (tmp_path / "docker/x/b.conf").exists()
    assert kept in list(upgrade(tmp_path, NEW)), "it is said again, until it is mended"
    (tmp_path / "docker/a.yml.new").replace(tmp_path / "docker/a.yml")
    assert not any("a.yml" in line for line in upgrade(tmp_path, NEW))


NAMES = ("a", "docker/b.yml", "docker/c/d.json")
CONTENTS = st.sampled_from([b"", b"1\n", b"2\n", b"1\n2\n"])
versions = st.dictionaries(st.sampled_from(NAMES), CONTENTS)


@settings(deadline=None, max_examples=60)
@given(old=versions, new=versions, edits=st.dictionaries(st.sampled_from((*NAMES, "own")), st.none() | CONTENTS))
def test_whatever_the_operator_did_an_upgrade_takes_nothing_away(
    old: dict[str, bytes], new: dict[str, bytes], edits: dict[str, bytes | None]
) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        list(lay_out(home, Shipped("1", old)))
        for name, content in edits.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        before = _tree(home)
        told = "\n".join(upgrade(home, Shipped("2", new)))
        after = _tree(home)
        for name in {*NAMES, "own"}:
            theirs = before.get(name) != old.get(name)
            if theirs:
                assert after.get(name) == before.get(name)
            else:
                assert after.get(name) == new.get(name)
            if theirs and name in new and name in before and before[name] != new[name]:
                assert after[f"{name}.new"] == new[name]
                assert f"diff -u {name} {name}.new" in told
        assert _tree(home) == after
        list(upgrade(home, Shipped("2", new)))
        assert _tree(home) == after, "the second time changes nothing"


def test_a_folder_that_docker_made_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    list(lay_out(tmp_path, OLD))
    (tmp_path / "docker/a.yml").unlink()
    (tmp_path / "docker/a.yml").mkdir()
    for act in (lay_out, upgrade):
        with pytest.raises(RectbotError, match=r"a\.yml: is a folder and should be a file: .* remove it"):
            list(act(tmp_path, OLD))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1"}', '{"version": "1", "files": []}', "\xff"])
def test_a_damaged_record_is_one_clear_line(tmp_path: Path, text: str) -> None:
    list(lay_out(tmp_path, OLD))
    (tmp_path / RECORD).write_text(text, encoding="latin-1")
    with pytest.raises(RectbotError, match="is damaged; remove it"):
        list(upgrade(tmp_path, NEW))


def test_a_checkout_is_brought_up_to_date_by_git(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="git pull"):
        list(init(Layout(tmp_path, tmp_path / "var"), upgrade=True))
