"""The `logging` handler that ships to Loki."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rectbot.logs.ship.lines import JsonFormatter, level_name

if TYPE_CHECKING:
    from rectbot.logs.client.target import Target
    from rectbot.logs.ship.batch import Labels
    from rectbot.logs.ship.ledger import Counts

SPOOL_BYTES = 64 * 1024 * 1024
BATCH_BYTES = 256 * 1024  # small enough that encoding it keeps the interpreter for about a millisecond
BATCH_SECONDS = 2.0  # each push costs the proxy the check of a bcrypt hash, about 50 ms
EXIT_SECONDS = 2.0
_OWN_LOGGER = "rectbot.logs"


class LokiHandler(logging.Handler):
    """Ships records as JSON lines to Loki (or rectbot's store) at `url`, with the labels job, site and level.

    The calling thread only formats: it waits for neither network nor disk, so that the handler may be used from an
    event loop. Batches are sent when `batch_bytes` are there or after `batch_seconds`. What cannot be sent waits in the
    folder `spool`, up to `spool_bytes` of compressed batches, beyond which the oldest are dropped; `counts` says how
    many lines that were, and so does a line in Loki. Without a folder some MB wait in memory. At exit (`close`, which
    `logging.shutdown` calls) what is left is sent for at most `exit_seconds`; the next process that has the same
    folder sends the rest.

    `secrets` are blanked out of every line. `labels` are further labels; keep their values few, as each combination is
    a stream. In a process that forks, make the handler in the child.

    Raises ConfigError when the address, the certificate or the folder is unusable.
    """

    def __init__(
        self,
        url: str | Target,
        *,
        job: str = "bot",
        site: str | None = None,
        labels: Mapping[str, str] | None = None,
        user: str | None = None,
        password: str | None = None,
        cacert: str | Path | None = None,
        secrets: Sequence[str] = (),
        spool: str | Path | None = None,
        spool_bytes: int = SPOOL_BYTES,
        batch_bytes: int = BATCH_BYTES,
        batch_seconds: float = BATCH_SECONDS,
        exit_seconds: float = EXIT_SECONDS,
        level: int | str = logging.NOTSET,
    ) -> None:
        # Here, so that importing rectbot.logs loads no HTTP client.
        from rectbot.logs.client.push import PushClient  # noqa: PLC0415
        from rectbot.logs.client.target import make_target  # noqa: PLC0415
        from rectbot.logs.ship.shipper import Shipper  # noqa: PLC0415
        from rectbot.logs.ship.spool import Spool  # noqa: PLC0415

        super().__init__(level)
        target = make_target(url, user, password, Path(cacert) if cacert else None) if isinstance(url, str) else url
        self.setFormatter(JsonFormatter([*secrets, *([password] if password else [])]))
        self._exit_seconds = exit_seconds
        self._labels = {**(labels or {}), "job": job, "site": site or socket.gethostname()}
        self._streams: dict[str, Labels] = {}
        self._pid = os.getpid()
        self._gave_up = float("-inf")
        self._client = PushClient(target)
        self._shipper = Shipper(
            self._client.push,
            Spool(Path(spool) if spool else None, spool_bytes),
            batch_bytes=batch_bytes,
            batch_seconds=batch_seconds,
            dropped_notice=self._dropped_notice,
        )

    @property
    def counts(self) -> Counts:
        """How many lines were sent, refused for good, dropped, and wait: all that were logged, at any moment."""
        return self._shipper.counts

    def handle(self, record: logging.LogRecord) -> bool:
        """Leaves out what shipping logs: each push would bring another one, and `shutdown` holds our lock."""
        own = record.name == _OWN_LOGGER or self._shipper.owns_thread(record.thread)
        return not own and bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Queues a record."""
        try:
            stream = self._stream(level_name(record.levelno))
            self._shipper.put(stream, int(record.created * 1e9), self.format(record))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Sends what there is, for at most `exit_seconds`. Other than `emit` it waits."""
        if os.getpid() == self._pid and not self._shipper.flush(self._exit_seconds):
            self._gave_up = time.monotonic()

    def close(self) -> None:
        """Sends what there is, for at most `exit_seconds`, and ends."""
        if os.getpid() == self._pid:  # in a forked child the threads are not there
            just_tried = time.monotonic() - self._gave_up < 1  # `logging.shutdown` calls flush, then close
            self._shipper.close(0 if just_tried else self._exit_seconds)
            self._client.close()
        super().close()

    def _stream(self, level: str) -> Labels:
        if level not in self._streams:
            self._streams[level] = tuple(sorted({**self._labels, "level": level}.items()))
        return self._streams[level]

    def _dropped_notice(self, new: int, total: int) -> tuple[Labels, str]:
        fields = {
            "level": "warn",
            "logger": _OWN_LOGGER,
            "msg": f"{new} log lines were dropped: there was no room to keep them until Loki took them",
            "dropped": new,
            "dropped_total": total,
        }
        return self._stream("warn"), json.dumps(fields)
