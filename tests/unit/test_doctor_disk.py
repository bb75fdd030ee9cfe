"""`doctor` names the disk before it is full, and when it is."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rectbot.doctor.disk import has_room
from rectbot.doctor.subject import Engine, Subject
from rectbot.settings import Settings
from rectbot.stack.layout import Layout

ROOMY = {"f_flag": 0, "f_bavail": 500, "f_blocks": 1000, "f_frsize": 2**20, "f_favail": 500, "f_files": 1000}


@pytest.mark.parametrize(
    ("disk", "result"),
    [
        ({}, "PASS"),
        ({"f_favail": 0, "f_files": 0}, "PASS"),
        ({"f_bavail": 90}, "WARN"),
        ({"f_favail": 90}, "WARN"),
        ({"f_bavail": 10}, "FAIL"),
        ({"f_bavail": 0}, "FAIL"),
        ({"f_favail": 0}, "FAIL"),
        ({"f_frsize": 4096}, "FAIL"),
        ({"f_flag": os.ST_RDONLY}, "FAIL"),
    ],
)
def test_bytes_inodes_and_mode(
    disk: dict[str, int], result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**ROOMY | disk))
    layout = Layout(tmp_path, tmp_path / "var" / "main")
    settings: Any = Settings()
    verdict = has_room(Subject(settings, layout, Engine.SITE))
    assert verdict.result.name == result
    assert str(tmp_path) in verdict.found
