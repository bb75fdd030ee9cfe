"""`rectbot bi setup`: PostgreSQL's roles, then Metabase; all of it again and again, to the same end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from rectbot.bi import reader
from rectbot.bi.client import Metabase
from rectbot.bi.provision import Made, provision
from rectbot.errors import ConfigError, RectbotError
from rectbot.history import places, record
from rectbot.history.database import opened, url_of, writing
from rectbot.history.dump import dump, load

if TYPE_CHECKING:
    from pydantic import SecretStr

    from rectbot.settings import Settings

COMPOSE = "docker compose -f docker-compose.monitoring.yml"
_MADE, _CARRIED = "metabase", "carried_over"
_ALONE = 0x72656275  # the advisory lock's number at PostgreSQL: one setup at a time


def set_up(settings: Settings, wait_seconds: float) -> Iterator[str]:
    """Does everything, and yields a line for each thing done. Raises RectbotError, which says what to do."""
    url, password = _history(settings), _given(settings.history_reader_password, "HISTORY_READER_PASSWORD")
    admin_password = _given(settings.metabase_admin_password, "METABASE_ADMIN_PASSWORD")
    email = settings.metabase_admin_email
    changed = False
    if settings.history_admin_url is not None:
        for line in reader.lay_out(_admin(settings.history_admin_url), url, password):
            changed = True
            yield line
    with opened(settings) as engine, _alone(engine):
        for line in _prepared(settings, engine, url, password):
            changed = True
            yield line
        metabase = Metabase(settings.metabase_url)
        yield from metabase.wait(wait_seconds)
        try:
            if metabase.enter(email, admin_password):
                changed = True
                yield f"made {email} the administrator of Metabase; the password is METABASE_ADMIN_PASSWORD in .env"
            with engine.connect() as connection:
                made = Made.read(record.note(connection, _MADE))
            for line in provision(metabase, made, _connection(url, password), lambda now: _remember(engine, now)):
                changed = True
                yield line
        finally:
            metabase.leave()
    yield "Metabase is set up" if changed else "everything was there already, and was brought up to date"


def _prepared(settings: Settings, engine: Engine, url: URL, password: str) -> Iterator[str]:
    yield from _carried_over(settings, engine)
    yield from reader.admit(url, password)
    reader.prove(url, password)


def _history(settings: Settings) -> URL:
    url = url_of(settings)
    if url.drivername == "sqlite":
        raise ConfigError(
            "the history is in SQLite, which Metabase cannot reach: put bi into COMPOSE_PROFILES in .env, run 'rectbot"
            f" init' and '{COMPOSE} up -d', then '{COMPOSE} run --rm bi-setup'; or set HISTORY_DATABASE_URL"
        )
    if not (url.host and url.database and url.username):
        raise ConfigError("HISTORY_DATABASE_URL: write postgresql://USER:PASSWORD@HOST:5432/NAME")
    if url.username == reader.READER:
        raise ConfigError(f"HISTORY_DATABASE_URL: {reader.READER} may only read; name the history's owner")
    return url


def _admin(given: SecretStr) -> URL:
    how = "HISTORY_ADMIN_URL: write postgresql://SUPERUSER:PASSWORD@HOST:5432/postgres"
    try:
        url = make_url(given.get_secret_value())
    except (ArgumentError, ValueError):
        raise ConfigError(how) from None
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres") or not url.host:
        raise ConfigError(how)
    return url


def _given(secret: SecretStr | None, name: str) -> str:
    if secret is None:
        raise ConfigError(f"{name} is not set: 'rectbot init' makes it (with docker compose it then mounts it)")
    return secret.get_secret_value()


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Two at once would make everything twice."""
    with engine.connect() as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": _ALONE}).scalar():
            raise RectbotError("another 'rectbot bi setup' is at work: wait until it is done")
        connection.commit()
        yield


def _carried_over(settings: Settings, engine: Engine) -> Iterator[str]:
    """What SQLite knows from before the history was in PostgreSQL; once."""
    file = places.database(settings)
    with engine.connect() as connection:
        if record.note(connection, _CARRIED) or not file.exists():
            return
    with opened(settings.model_copy(update={"history_database_url": None})) as old, old.connect() as connection:
        lines = list(dump(connection))
    with writing(engine) as connection:
        added = load(connection, lines)
        record.remember(connection, _CARRIED, "yes")
    yield f"carried over what {file} holds, {added} events that were not known yet; that file is read no more"


def _connection(url: URL, password: str) -> dict[str, Any]:
    """What Metabase asks of a PostgreSQL database."""
    details: dict[str, Any] = {
        "host": url.host,
        "port": url.port or 5432,
        "dbname": url.database,
        "user": reader.READER,
        "password": password,
        "ssl": False,
    }
    mode = str(url.query.get("sslmode", ""))
    if mode in ("require", "verify-ca", "verify-full"):
        details |= {"ssl": True, "ssl-mode": mode}
    return details


def _remember(engine: Engine, made: Made) -> None:
    with writing(engine) as connection:
        record.remember(connection, _MADE, made.text())
