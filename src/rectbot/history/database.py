"""Where the history is kept: SQLite in var/history.db, or PostgreSQL; through SQLAlchemy, kept up to date by Alembic.

Several may open it at once, also for the first time: whoever changes the schema holds a lock meanwhile.
"""

from __future__ import annotations

import fcntl
import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from foundation.terminal import one_line
from rectbot.errors import ConfigError, RectbotError
from rectbot.history import places

if TYPE_CHECKING:
    from rectbot.settings import Settings

HEAD = "0003"  # the newest of migrations/versions: who finds it need not load Alembic
BUSY_SECONDS = 10
_MIGRATING = 0x72656374  # the advisory lock's number at PostgreSQL


class HistoryUnavailable(RectbotError):  # noqa: N818 (a state)
    """The history's database is away, locked, full or broken. Nothing was changed in it."""


def url_of(settings: Settings) -> URL:
    """HISTORY_DATABASE_URL, or the file's. Raises ConfigError for one that is neither SQLite's nor PostgreSQL's."""
    given = settings.history_database_url
    if given is None:
        return URL.create("sqlite", database=str(places.database(settings)))
    how = "HISTORY_DATABASE_URL: write postgresql://USER:PASSWORD@HOST:5432/NAME, or sqlite:////PATH/history.db"
    try:
        url = make_url(given.get_secret_value())
    except (ArgumentError, ValueError):
        raise ConfigError(how) from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not url.database or url.database == ":memory:":
        raise ConfigError(how)
    return url


@contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """The database, with today's schema. Raises ConfigError, or HistoryUnavailable, also for what happens within."""
    url = url_of(settings)
    where = f"the history in {url.database}" if url.drivername == "sqlite" else f"the history at {_shown(url)}"
    engine = _engine(url)
    try:
        _bring_up_to_date(engine, url)
        yield engine
    except OSError as error:
        raise HistoryUnavailable(f"{where}: {error.strerror or error}; check the disk and its permissions") from None
    except SQLAlchemyError as error:
        raise HistoryUnavailable(f"{where}: {_explain(error)}") from None
    finally:
        engine.dispose()


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        wait = {"connect_timeout": 5, "options": f"-c lock_timeout={BUSY_SECONDS}s -c statement_timeout=60s"}
        return create_engine(url, connect_args=wait, pool_size=1)
    folder = Path(str(url.database)).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(link: Any, _: object) -> None:
    link.isolation_level = None  # transactions are ours to begin: sqlite3 would begin them too late for DDL
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA synchronous=NORMAL")  # in WAL mode a power cut may cost the last write, which is made again


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def reading_much() -> Iterator[None]:
    """Looks for no garbage meanwhile: there is none, and of a year of failovers that search is a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: one at a time, whoever else has the database open."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATING})
        yield connection


def _bring_up_to_date(engine: Engine, url: URL) -> None:
    with _claimed(url):
        with engine.connect() as connection:
            if _version(connection) == HEAD:
                return
        with writing(engine) as connection:
            if (version := _version(connection)) != HEAD:
                _migrate(connection, version)


@contextmanager
def _claimed(url: URL) -> Iterator[None]:
    """The file is made for its owner only, and by one process at a time: WAL mode is entered without a transaction."""
    if url.drivername != "sqlite":
        yield
        return
    path = Path(str(url.database))
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        yield
    finally:
        os.close(handle)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(connection: Connection, version: str | None, to: str = "head") -> None:
    from alembic import command  # noqa: PLC0415 - 10 MB, once in a while
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    if version is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(version)
        except CommandError:
            raise ConfigError(
                f"the history's database has the schema {version[:40]!r} of a newer rectbot: update this one"
            ) from None
    command.upgrade(config, to)


def _shown(url: URL) -> str:
    return f"PostgreSQL at {url.host or 'its socket'}{f':{url.port}' if url.port else ''}/{url.database or ''}"


_MENDS = (  # what the drivers say; SQLite's messages are in its result codes' documentation
    (r"database is locked", "another program has locked it for more than 10 s: end that"),
    (r"disk is full|No space left", "the disk is full: make room"),
    (r"disk I/O error", "the disk refuses: is it full, or broken?"),
    (r"readonly|read-only", "it cannot be written: check its owner and permissions"),
    (r"unable to open", "it cannot be opened: check the path and its permissions"),
    (r"malformed|not a database|disk image", "the file is damaged: restore it (rectbot restore), or move it away"),
    (r"password authentication failed|no password supplied", "the password is wrong: correct HISTORY_DATABASE_URL"),
    (r"Connection refused|timeout expired|could not translate|failed to resolve", "it does not answer: start it"),
    (r"permission denied", "this user may not do that: give it rights on the schema"),
)


def _explain(error: SQLAlchemyError) -> str:
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    first = one_line(next(iter(said.strip().splitlines()), type(error).__name__))[:200]
    for look, mend in _MENDS:
        if re.search(look, said, re.IGNORECASE):
            return f"{mend} ({first})"
    return first
