"""`rectbot logs ship`: ships the lines of files, for programs in any language.

The files themselves are the buffer: while Loki is away nothing more is read.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.logs.client.push import Fate, PushClient
from rectbot.logs.client.target import Target, target_of
from rectbot.logs.ship.backoff import Backoff
from rectbot.logs.ship.batch import Clock, Line, encode
from rectbot.logs.ship.follow import Follower
from rectbot.logs.ship.guess import guess
from rectbot.logs.ship.state import State
from rectbot.settings import Settings

BATCH_BYTES = 512 * 1024
BATCH_SECONDS = 2.0
POLL_SECONDS = 0.25
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    """How files are shipped: further labels, where to remember, from the end, and whether to stop at the end."""

    job: str = "bot"
    labels: Mapping[str, str] | None = None
    state: Path | None = None
    new_only: bool = False
    once: bool = False


def ship_files(settings: Settings, paths: Sequence[Path], options: Options, say: Callable[[str], None]) -> None:
    """Ships what is in the files and what comes, until SIGTERM or SIGINT, or with `once` until their end.

    The labels are job, site, filename, and level where a line has one. Raises ConfigError for wrong settings or a
    file that cannot be read, RectbotError when the disk is full, and with `once` when Loki does not answer.
    """
    target = target_of(settings) or Target(f"http://127.0.0.1:{settings.port('loki')}")
    labels = {**(options.labels or {}), "job": options.job, "site": settings.site_id or socket.gethostname()}
    state = State(options.state or settings.rectbot_home / "var" / "logs" / f"ship-{options.job}.json")
    client = PushClient(target)
    try:
        with _stop_on_signals() as stop:
            courier = _Courier(
                client=client, state=state, paths=paths, labels=labels, options=options, stop=stop, say=say
            )
            courier.run()
    finally:
        client.close()
        state.close()


def parse_labels(words: Sequence[str]) -> dict[str, str]:
    """The labels in NAME=VALUE words. Raises ConfigError."""
    labels = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value or not _LABEL.fullmatch(name):
            raise ConfigError(f"--label {word}: write NAME=VALUE; a name holds letters, digits and '_' only")
        labels[name] = value
    return labels


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Courier:
    """Reads a batch, remembers it, delivers it, and remembers that."""

    def __init__(
        self,
        *,
        client: PushClient,
        state: State,
        paths: Sequence[Path],
        labels: Mapping[str, str],
        options: Options,
        stop: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self._client, self._state, self._labels, self._stop, self._say = client, state, labels, stop, say
        self._once = options.once
        self._clock = Clock()
        self._trouble: dict[str, str] = {}
        self._files: deque[Follower] = deque()
        given = frozenset(path.absolute() for path in paths)
        for path in dict.fromkeys(path.absolute() for path in paths):
            self._files.append(Follower(path, state.library, given, new_only=options.new_only))
        for file in self._files:  # all, before anything is read: of one file that has two names each must know
            with contextlib.suppress(OSError):
                file.start()

    def run(self) -> None:
        """Until told to stop, or with `once` until the files end."""
        if self._state.unsent is not None:
            self._deliver(self._state.unsent)
        while not self._stop.is_set():
            began = time.monotonic()
            lines = self._read()
            if not lines and self._once:
                return
            if lines:
                body = encode(lines)
                self._state.save(body)
                self._deliver(body)
            full = sum(len(line.text) for line in lines) >= BATCH_BYTES // 2
            if not full and not self._once:
                pause = BATCH_SECONDS if lines else POLL_SECONDS
                self._stop.wait(max(0.0, began + pause - time.monotonic()))

    def _read(self) -> list[Line]:
        """Up to a batch; the next one begins with the file after the last."""
        lines: list[Line] = []
        room = BATCH_BYTES
        for _ in range(len(self._files)):
            file = self._files[0]
            found = self._read_file(file, room)
            lines += self._stamped(str(file.path), found)
            room -= sum(map(len, found))
            self._files.rotate(-1)
            if room <= 0:
                break
        return lines

    def _read_file(self, file: Follower, limit: int) -> list[bytes]:
        name = str(file.path)
        try:
            lines = file.read(limit)
            trouble = f"{name}: is not there yet" if file.absent else ""
        except OSError as error:
            lines, trouble = [], f"{name}: cannot be read ({error.strerror}); make it readable for this user"
        if file.lost:
            file.lost = False
            self._say(f"{name}: was truncated or rotated away; what was not read of it by then is gone")
        if trouble != self._trouble.get(name, ""):
            self._trouble[name] = trouble
            self._say(trouble or f"{name}: is read now")
        return lines

    def _stamped(self, name: str, lines: Sequence[bytes]) -> Iterator[Line]:
        now = time.time_ns()
        for raw in lines:
            text = raw.decode(errors="replace")
            if not text.strip():
                continue
            level, moment = guess(text, now)
            labels = {**self._labels, "filename": name} | ({"level": level} if level else {})
            yield Line(tuple(sorted(labels.items())), self._clock.stamp(moment), text)

    def _deliver(self, body: bytes) -> None:
        """Sends a batch until it is taken or refused for good; keeps it in the state when told to stop before."""
        backoff, failing = Backoff(), False
        while True:
            answer = self._client.push(body)
            if answer.fate is not Fate.LATER:
                break
            if self._once:
                raise RectbotError(f"the lines are kept and sent next time: {answer.reason}")
            if not failing:
                self._say(f"cannot ship, and wait: {answer.reason}")
            failing = True
            if self._stop.wait(backoff.failed(answer.retry_after)):
                return
        if answer.fate is Fate.NEVER:
            self._say(f"a batch was refused for good: {answer.reason}")
        elif failing:
            self._say("lines are shipped again")
        self._state.save(None)
