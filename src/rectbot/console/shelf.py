"""The dashboards that the console shows: the files of a folder, read again when they change."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rectbot.console.translate import translated
from rectbot.console.words import LANGUAGES, Words
from rectbot.dashboards.files import read_all

_LOOK_SECONDS = 3.0
Dashboards = dict[str, dict[str, Any]]  # by uid


class Shelf:
    """By language. `broken` says of each file that is no dashboard why."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._looked = -_LOOK_SECONDS
        self._signature: object = None
        self._by_language: dict[str, Dashboards] = {language: {} for language in LANGUAGES}
        self.broken: dict[str, str] = {}

    def __getitem__(self, language: str) -> Dashboards:
        if self._clock() - self._looked >= _LOOK_SECONDS:
            self._looked = self._clock()
            self._look()
        return self._by_language[language]

    def _look(self) -> None:
        signature = sorted(_signature(path) for path in self._folder.glob("*.json"))
        if signature == self._signature:
            return
        found, self.broken = read_all(self._folder)
        self._by_language = {
            language: {uid: translated(each, Words(language)) for uid, each in found.items()} for language in LANGUAGES
        }
        self._signature = signature


def _signature(path: Path) -> tuple[str, int, int]:
    try:
        known = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, known.st_mtime_ns, known.st_size
