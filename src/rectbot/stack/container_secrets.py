"""The secrets of docker compose: one file for each use, mounted into the one container that needs it.

An environment variable of a container can be read by everybody who may talk to Docker, and ends up in its inspections.
The images run as users of their own, with no capability to read another's 0600 file. So the files are readable (0444,
Docker's own default for secrets), in a folder that only its owner may enter (0700): on the host nobody else gets at
them, and a container sees only what is mounted into it. They are copies: .env, tls/ and htpasswd stay the source.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from rectbot.errors import RectbotError
from rectbot.lists import parse_logins
from rectbot.stack import push_users, redis_users, targets
from rectbot.stack.env_file import new_password, single_quoted
from rectbot.stack.layout import Layout, read_text, write_private

BOT_SITE = "oci"  # where SITE_ID names no other, as docker-compose.monitoring.yml has it
_BI_DATABASE = "metabase-db:5432"
_FOLDER_MODE = 0o700
_FILE_MODE = 0o444
_LEASE = ("LEASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_HUB = (
    *_LEASE,
    "REDIS_USER",
    "REDIS_PASSWORD",
    "PUSHGATEWAY_USER",
    "PUSHGATEWAY_PASSWORD",
    "DASHBOARD_ADMIN_PASSWORD",
    "DASHBOARD_VIEWER_PASSWORD",
    "CONSOLE_SECRET",
    "HISTORY_DATABASE_URL",
    "ALERT_URLS",
    "DISCORD_ALERT_WEBHOOK_URL",  # for REPORT_MONTHLY
)
# What containers mount, in docker/monitoring, that holds no secret.
_SHARED = (
    *("alertmanager", "alloy", "grafana", "loki", "prometheus", "redis", "cloudflared/config.yml"),
    *("pushgateway/nginx.conf", "pushgateway/engine", "pushgateway/allowlist.conf"),
)
_BI = ("HISTORY_ADMIN_URL", "HISTORY_READER_PASSWORD", "METABASE_ADMIN_EMAIL", "METABASE_ADMIN_PASSWORD")
_GENERATED = "metabase-db-password"  # nothing but the containers of the profile `bi` ever needs it


def write(layout: Layout) -> Iterator[str]:
    """Brings the files in step with .env, the certificate and htpasswd; yields a line when something changed.

    Raises RectbotError when a file cannot be read or written.
    """
    folder = layout.container_secrets
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(_FOLDER_MODE)
        written = [name for name, text in _contents(layout).items() if _replace(layout, name, text)]
    except OSError as error:
        raise RectbotError(f"{folder}: cannot be written ({error.strerror}); check its owner") from None
    if written:
        yield f"wrote {folder} for docker compose ({', '.join(written)})"


def open_shared(layout: Layout) -> Iterator[str]:
    """Lets containers read the configuration that they mount; a clone under umask 077 does not. No secret is touched.

    Yields a line when a mode was changed. Raises RectbotError when it cannot be.
    """
    shut = closed(layout)
    for path in shut:
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o755 if path.is_dir() else 0o444))
        except OSError as error:
            raise RectbotError(f"{path}: containers cannot read it ({error.strerror}); chmod a+rX it") from None
    if shut:
        yield f"made {len(shut)} files and folders in {layout.monitoring} readable for containers"


def closed(layout: Layout) -> list[Path]:
    """What containers mount and, as users of their own, cannot read. Raises RectbotError when nobody here can tell."""
    there = [path for name in _SHARED if (path := layout.monitoring / name).exists()]
    mounted = [layout.monitoring, layout.monitoring / "pushgateway", *there]
    try:
        mounted += [path for folder in there if folder.is_dir() for path in folder.rglob("*")]
        mounted += layout.container_secrets.glob("*")
        return [path for path in mounted if path.exists() and not path.is_symlink() and not _is_open(path)]
    except OSError as error:
        raise RectbotError(f"{error.filename}: cannot be read ({error.strerror}); run this as its owner") from None


def _is_open(path: Path) -> bool:
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed == needed


def _contents(layout: Layout) -> dict[str, str]:
    env = {name: value or "" for name, value in dotenv_values(layout.env_file).items()}
    mend = "make it readable for this user"  # init has just made what was missing
    generated = layout.container_secrets / _GENERATED
    database = read_text(generated, mend) if generated.exists() else new_password()
    env["HISTORY_DATABASE_URL"] = env.get("HISTORY_DATABASE_URL") or _history_url(env)
    contents = {
        "redis-auth.conf": redis_users.render(env),
        "hub.env": "".join(f"{name}={single_quoted(env[name])}\n" for name in _HUB if env.get(name)),
        "bot.env": "".join(f"{name}={single_quoted(value)}\n" for name, value in _bot(env).items()),
        "bi.env": "".join(f"{name}={single_quoted(value)}\n" for name, value in _bi(env, database).items()),
        "discord-webhook-url": env.get("DISCORD_ALERT_WEBHOOK_URL", ""),
        "dashboard-admin-password": env.get("DASHBOARD_ADMIN_PASSWORD", ""),
        "push-htpasswd": read_text(layout.htpasswd, mend),
        "push-proof.conf": push_users.render_proof(env),
        "pushes.yml": targets.render("pushgateway:9091", push_users.jobs(env)),
        "tls.crt": read_text(layout.certificate, mend),
        "tls.key": read_text(layout.private_key, mend),
    }
    return contents if generated.exists() else contents | {_GENERATED: database}


def _history_url(env: dict[str, str]) -> str:
    """With the profile `bi` the history is in its PostgreSQL; empty: in SQLite."""
    profiles = re.split(r"[,\s]+", env.get("COMPOSE_PROFILES", ""))
    password = env.get("HISTORY_DATABASE_PASSWORD")
    return (
        f"postgresql://rectbot:{quote(password, safe='')}@{_BI_DATABASE}/history"
        if password and "bi" in profiles
        else ""
    )


def _bi(env: dict[str, str], password: str) -> dict[str, str]:
    """What sets Metabase up, and is thrown away afterwards, may do at PostgreSQL what it likes."""
    given = {name: env[name] for name in ("HISTORY_DATABASE_URL", *_BI) if env.get(name)}
    if f"@{_BI_DATABASE}/" in env["HISTORY_DATABASE_URL"]:
        given["HISTORY_ADMIN_URL"] = f"postgresql://metabase:{quote(password.strip(), safe='')}@{_BI_DATABASE}/metabase"
    return given


def _bot(env: dict[str, str]) -> dict[str, str]:
    """The bot of the compose file logs in at Redis as its site does."""
    passwords = parse_logins(env.get("REDIS_PASSWORDS", ""))
    site = env.get("SITE_ID") or BOT_SITE
    user = site if site in passwords else env.get("REDIS_USER", "")
    password = passwords.get(user, env.get("REDIS_PASSWORD", ""))
    own = {"REDIS_USER": user, "REDIS_PASSWORD": password, "DISCORD_BOT_TOKEN": env.get("DISCORD_BOT_TOKEN", "")}
    return own | {name: env[name] for name in _LEASE if env.get(name)}


def _replace(layout: Layout, name: str, text: str) -> bool:
    path = layout.container_secrets / name
    if path.exists() and read_text(path, "make it readable for this user") == text:
        if path.stat().st_mode & 0o777 != _FILE_MODE:
            path.chmod(_FILE_MODE)
        return False
    write_private(path, text)
    path.chmod(_FILE_MODE)
    return True
