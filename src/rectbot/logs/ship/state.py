"""What `rectbot logs ship` must remember: how far it read, and the batch that was not answered yet.

Both are in one file that is replaced at once. So after a crash the same batch is sent again, byte for byte, which Loki
takes for the repetition that it is: no line is lost, and none comes twice.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.logs.ship.generations import Library


class State:
    """The file at `path`. Raises ConfigError when it is unusable, or used by another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.library = Library()
        self.unsent: bytes | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load()
        except BlockingIOError:
            raise ConfigError(f"{path}: another 'rectbot logs ship' uses it; give each its own --state") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be used ({error.strerror}); name another file with --state") from None

    def _load(self) -> None:
        try:
            saved = json.loads(self._path.read_bytes())
            self.library = Library.load(saved)
            self.unsent = base64.b64decode(saved["unsent"]) if saved["unsent"] else None
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise ConfigError(
                f"{self._path}: is not a state of 'rectbot logs ship'; remove it to begin anew, or correct --state"
            ) from None

    def save(self, unsent: bytes | None) -> None:
        """Replaces the file with what the library knows now, and has it on disk when this returns."""
        self.unsent = unsent
        known = self.library.save()
        text = json.dumps({**known, "unsent": base64.b64encode(unsent).decode() if unsent else None})
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise RectbotError(f"{self._path}: cannot be written ({error.strerror}); make room on the disk") from None

    def close(self) -> None:
        """Lets another process have the file."""
        os.close(self._lock)
