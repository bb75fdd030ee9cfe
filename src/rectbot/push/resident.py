"""`rectbot push --every`: measures and pushes for ever, in a process that holds next to nothing.

The command line reads the settings, which takes libraries of 20 MiB and more, and then becomes this: a Python with the
standard library and this package only, as the failover's agent is. What it is to do is told through memory that only it
can read, since that holds the password.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))  # `-I -S` leaves it out, and all that we do not need with it

from foundation.redaction import know
from foundation.terminal import one_line
from rectbot.errors import ConfigError, RectbotError
from rectbot.push.errors import PushError
from rectbot.push.last import mark
from rectbot.push.measure import Meter
from rectbot.push.outage import Outage
from rectbot.push.send import send

FIRST_INTERVAL_SECONDS = 2.0
_TELLING_SECONDS = 40.0


@dataclass(frozen=True)
class Address:
    """See `rectbot.push.send.Url`."""

    url: str
    host: str
    port: int | None
    request_uri: str


@dataclass(frozen=True)
class Place:
    """See `rectbot.push.send.Target`."""

    url: Address
    user: str
    headers: dict[str, str] = field(repr=False)
    tls: ssl.SSLContext | None


def become(plan: dict[str, Any]) -> NoReturn:
    """This process goes on as the agent that does what is planned."""
    memory = os.memfd_create("rectbot", 0)
    os.write(memory, json.dumps(plan, default=str).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = [sys.executable, "-I", "-S", __file__, str(memory)]
    os.execv(arguments[0], arguments)  # noqa: S606


class Agent:
    """Pushes as `rectbot.push.agent.push_every` has planned it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._address = Address(**plan["address"])
        paths = (Path(plan[name]) if plan[name] else None for name in ("pid_file", "spool", "outage"))
        pid_file, spool, outage = paths
        self._meter = Meter(pid_file, spool, plan["memory_alert"])
        self._outage = Outage(outage, self._tell)

    def run(self) -> NoReturn:
        """One line is printed when pushes begin to arrive, to fail, and to fail for another reason."""
        seconds: float = self._plan["seconds"]
        state = ""
        due = time.monotonic() + min(FIRST_INTERVAL_SECONDS, seconds)
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            new = self._push()
            if new != state:
                sys.stderr.write(one_line(f"push: {new}") + "\n")
                state = new
            due += seconds * (1 + max(0.0, time.monotonic() - due) // seconds)

    def _push(self) -> str:
        try:
            body = self._meter.read()
            send(body, Place(self._address, self._plan["user"], self._plan["headers"], self._tls()))
        except PushError as error:
            self._outage.failed(error)
            return f"failed: {error}"
        except RectbotError as error:
            return f"failed: {error}"
        mark(Path(self._plan["arrived"]))
        self._outage.over()
        return f"arrives at {self._address.url}"

    def _tls(self) -> ssl.SSLContext | None:
        """Each time anew: the certificate may have been renewed."""
        return None if self._plan["tls"] is None else make_tls(**self._plan["tls"])

    def _tell(self, what: str) -> bool:
        command = [sys.executable, "-m", "rectbot.push.telling", self._plan["job"]]
        try:
            done = subprocess.run(command, input=what, text=True, check=False, timeout=_TELLING_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def make_tls(*, cafile: str | None, insecure: bool) -> ssl.SSLContext:
    """Trusts this certificate, else the system's authorities. Raises ConfigError when it cannot be read."""
    if insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise ConfigError(f"PUSHGATEWAY_CACERT={cafile}: is not a certificate in PEM format") from None
    except OSError as error:
        raise ConfigError(
            f"PUSHGATEWAY_CACERT={cafile}: cannot be read ({error.strerror}); correct the path or its permissions"
        ) from None


def main() -> None:
    """The process: until SIGTERM or SIGINT, which it obeys at once; its exit code is 0 then."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        with os.fdopen(int(sys.argv[1]), "rb") as stream:
            plan = json.load(stream)
        know(plan["secrets"], [plan["user"]])
        Agent(plan).run()
    except KeyboardInterrupt:
        sys.exit(0)
    except RectbotError as error:
        sys.stderr.write(one_line(f"rectbot: {error}") + "\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
