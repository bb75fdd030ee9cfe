"""A log file of our supervisord whose disk refuses: what was lost is counted, and said once it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervisor.loggers import LevelsByName, LogRecord

from rectbot.stack.supervisord import DurableFileHandler


def _emit(handler: DurableFileHandler, message: bytes | str) -> None:
    handler.emit(LogRecord(LevelsByName.INFO, message))


@pytest.mark.parametrize("refuses", ["/dev/full", "/nowhere/file"], ids=["no space", "cannot be opened"])
def test_what_could_not_be_written_is_counted_and_told(tmp_path: Path, refuses: str) -> None:
    path = tmp_path / "log"
    path.symlink_to(refuses)
    handler = DurableFileHandler(str(path), maxBytes=100_000)
    for number in range(3):
        _emit(handler, f"lost {number}\n".encode())
    path.unlink()
    _emit(handler, b"kept\n")
    _emit(handler, b"kept too\n")
    assert path.read_text() == "... 3 pieces of this log could not be written ...\nkept\nkept too\n"


def test_bytes_that_are_no_text_and_percent_signs_are_kept(tmp_path: Path) -> None:
    handler = DurableFileHandler(str(tmp_path / "log"))
    _emit(handler, b"\xff 100 % %s\n")
    handler.setFormat("%(levelname)s %(message)s")
    _emit(handler, "100 %s")
    assert (tmp_path / "log").read_bytes() == b"\xff 100 % %s\nINFO 100 %s"


def test_a_closed_handler_can_be_closed_reopened_and_removed_again(tmp_path: Path) -> None:
    handler = DurableFileHandler(str(tmp_path / "log"))
    handler.close()
    handler.close()
    handler.reopen()
    _emit(handler, b"x")
    handler.remove()
    handler.remove()
    assert not (tmp_path / "log").exists()
