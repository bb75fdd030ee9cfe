"""A real PostgreSQL for tests: Debian's, on a free port, with data in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from servers import free_port

PASSWORD = "test-password"


@dataclass
class Postgres:
    """A server that can be stopped and started again on the same data."""

    folder: Path
    port: int
    user: str  # PostgreSQL does not run as root
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://{self.user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", self._data, "-U", self.user, "-A", "scram-sha-256", "--pwfile", str(secret), "-N")

    def start(self) -> None:
        options = ("-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1")
        command = [str(_program("postgres")), "-D", self._data, "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def new_database(self, name: str) -> str:
        """Makes an empty one, and returns its URL."""
        with psycopg.connect(self.url, autocommit=True) as link:
            link.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)  # at once, as in a crash
            self.process.wait(timeout=60)
            self.process = None

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _user(self) -> str | None:
        return self.user if os.geteuid() == 0 else None

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=5):
            return True
        return False

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(_program(name)), *arguments], user=self._user, cwd=self.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()


def _program(name: str) -> Path:
    """Debian keeps the servers of each version in a folder of its own, and not on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    assert found, "PostgreSQL is not installed: run scripts/setup.sh requirements-dev.lock"
    return found[-1]


def _some_user() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """The folder is not below pytest's, which only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="rectbot-postgres-"))
    server = Postgres(folder, free_port(), _some_user())
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, server.user)
        folder.chmod(0o755)
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
