"""The role at PostgreSQL as whom Metabase reads the history; and that it can do nothing else, asked of PostgreSQL.

Passwords go to PostgreSQL as what it keeps of them (SCRAM), so that no log of statements has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from foundation.terminal import one_line
from rectbot.errors import ConfigError, RectbotError

READER = "rectbot_reader"
_TIMEOUT_SECONDS = 10
_NOTHING_MORE = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT CONNECTION LIMIT 20"
_MAY_MAKE = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
_OWNS = "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()"
_BEYOND_READING = r"""
    SELECT format('%s on %s.%s', kind, n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS kind
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_%'
        AND n.nspname <> 'information_schema' AND has_table_privilege(c.oid, kind)
    UNION ALL SELECT format('CREATE in schema %s', nspname) FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\_%' AND has_schema_privilege(oid, 'CREATE')
    UNION ALL SELECT format('%s in this database', kind) FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS kind
        WHERE has_database_privilege(current_database(), kind)
    UNION ALL SELECT format('membership of %s', r.rolname) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        JOIN pg_roles me ON me.oid = m.member WHERE me.rolname = current_user
    UNION ALL SELECT 'a superuser''s rights' FROM pg_roles
        WHERE rolname = current_user AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
    LIMIT 3"""


class PostgresError(RectbotError):
    """PostgreSQL did not do what it was asked to."""


def lay_out(admin: URL, history: URL, password: str) -> Iterator[str]:
    """As somebody who may: makes the history's owner and database where they are missing, and the reader.

    `password` is the reader's, those of the others are in the URLs. What is there keeps what it holds; passwords become
    those that are given here. Yields a line for each thing made. Raises PostgresError.
    """
    owner, name = str(history.username), str(history.database)
    with _connected(admin, "HISTORY_ADMIN_URL") as link:
        if owner != admin.username:
            yield from _role(link, owner, str(history.password or ""), "LOGIN")
        if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            link.execute(_sql("CREATE DATABASE {} OWNER {}", name, owner))
            yield f"made the database {name!r}, owned by {owner!r}"
        yield from _role(link, READER, password, _NOTHING_MORE)
    with _connected(admin.set(database=name), "HISTORY_ADMIN_URL") as link:
        link.execute(_sql("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", name))
        link.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # before PostgreSQL 15 everybody may
        link.execute(_sql("GRANT ALL ON SCHEMA public TO {}", owner))
        link.execute(_sql("GRANT CONNECT ON DATABASE {} TO {}", name, READER))


def admit(history: URL, password: str) -> Iterator[str]:
    """As the history's owner: lets the reader read all that is there and all that will be.

    Where the reader is missing it is made, if the owner may do that. Raises ConfigError when it may not, PostgresError.
    """
    with _connected(history, "HISTORY_DATABASE_URL") as link:
        there = link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone()
        may = link.execute(_MAY_MAKE).fetchone()
        if may and may[0]:
            yield from _role(link, READER, password, _NOTHING_MORE)
        elif not there:
            raise ConfigError(
                f"PostgreSQL has no role {READER}, and {history.username} may not make it: run this once with"
                " HISTORY_ADMIN_URL=postgresql://SUPERUSER:PASSWORD@HOST:5432/postgres in the environment"
            )
        schema = link.execute("SELECT current_schema()").fetchone()
        where = schema[0] if schema and schema[0] else "public"
        owns = link.execute(_OWNS).fetchone()
        if owns and owns[0]:
            link.execute(_sql("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", str(history.database)))
            link.execute(_sql("GRANT CONNECT ON DATABASE {} TO {}", str(history.database), READER))
        link.execute(_sql("GRANT USAGE ON SCHEMA {} TO {}", where, READER))
        link.execute(_sql("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", where, READER))
        link.execute(_sql("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO {}", where, READER))


def prove(history: URL, password: str) -> None:
    """Logs in as the reader, reads, and asks PostgreSQL for anything that it may do beyond that.

    Raises PostgresError when it cannot read, or may write.
    """
    with _connected(as_reader(history, password), f"the role {READER}") as link:
        link.execute("SELECT * FROM uptime_by_month LIMIT 1")
        found = [row[0] for row in link.execute(_BEYOND_READING).fetchall()]
    if found:
        raise PostgresError(
            f"{_shown(history)}: {READER} may do more than read ({one_line(', '.join(found))}): Metabase does not get"
            " it; take that from it, or from PUBLIC (REVOKE), or drop the role and run this again"
        )


def as_reader(history: URL, password: str) -> URL:
    """The history's address, for the reader."""
    return history.set(username=READER, password=password)


def _role(link: psycopg.Connection[Any], name: str, password: str, options: str) -> Iterator[str]:
    there = link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    kept = link.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    how = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if there else "CREATE ROLE {} " + options + " PASSWORD {}")
    link.execute(how.format(sql.Identifier(name), sql.Literal(kept)))
    if name == READER:
        link.execute(_sql("ALTER ROLE {} SET default_transaction_read_only = on", name))
        link.execute(_sql("ALTER ROLE {} SET statement_timeout = '60s'", name))
    if not there:
        yield f"made the role {name!r}{', which may only read' if name == READER else ''}"


def _sql(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))


@contextmanager
def _connected(url: URL, setting: str) -> Iterator[psycopg.Connection[Any]]:
    """Each statement is a transaction of its own: a database cannot be made within one."""
    query = {name: str(value) for name, value in url.query.items()}
    try:
        with psycopg.connect(
            host=url.host,
            port=url.port or 5432,
            dbname=url.database,
            user=url.username,
            password=str(url.password or ""),
            connect_timeout=_TIMEOUT_SECONDS,
            autocommit=True,
            **query,  # type: ignore[arg-type] # sslmode and the like
        ) as link:
            yield link
    except psycopg.Error as error:
        said = one_line(next(iter(str(error).strip().splitlines()), type(error).__name__))[:200]
        raise PostgresError(
            f"{_shown(url)}, by {setting}: {said}; is it up, and are user, password and rights right?"
        ) from None


def _shown(url: URL) -> str:
    return f"PostgreSQL at {url.host or 'its socket'}:{url.port or 5432}/{url.database}"
