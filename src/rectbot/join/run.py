"""`rectbot join`: makes this host the site that an invitation is for. Either all of it is done, or nothing."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dotenv import dotenv_values

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.stores import open_register
from rectbot.failover.wiring import failover_config, store_options
from rectbot.join.checks import look
from rectbot.settings import Settings, load_settings, settings_of
from rectbot.stack import invitation
from rectbot.stack.env_file import assign
from rectbot.stack.invitation import Header, Invitation
from rectbot.stack.layout import read_text, write_private

_FILES = frozenset(("monitoring.crt", "store.crt"))
_NAMES = frozenset(
    (
        *("FAILOVER_ENABLED", "SITE_ID", "FAILOVER_PRIORITY", "LEASE_URL", "LEASE_POLL_SEC", "LEADER_LOCK_KEY"),
        *("HB_PREFIX", "LOCK_TTL_MS", "RENEW_INTERVAL_MS", "HB_TTL_SEC", "FAILBACK_DELAY_SEC", "FAILBACK_MAX_SEC"),
        *("LOGIN_BUDGET", "STOP_TIMEOUT_MS", "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USER", "REDIS_PASSWORD"),
        *("REDIS_DB", "REDIS_TLS", "REDIS_CACERT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
        *("PUSHGATEWAY_URL", "PUSHGATEWAY_USER", "PUSHGATEWAY_PASSWORD", "PUSHGATEWAY_CACERT", "LOKI_URL"),
        *("DISCORD_BOT_TOKEN", "DISCORD_ALERT_WEBHOOK_URL", "DISCORD_API_URL", "ALERT_URLS"),
    )
)
_MONITORING = ("REDIS_PASSWORDS", "PUSHGATEWAY_PASSWORDS", "DASHBOARD_ADMIN_PASSWORD")  # in nobody else's .env
_CLAIM_MS = 10_000
_LARGEST = 100_000

Say = Callable[[str], None]


def join(home: Path, line: str, passphrase: Callable[[Header], str | None], say: Say) -> Settings:
    """Checks everything that the site needs, with a line each, then writes .env (0600) and the certificates.

    `passphrase` is asked for one when the invitation is encrypted. What .env has beside is kept; what it has otherwise
    is named, and kept in .env.before-join. The invitation is used up in the store of the lease, so nobody joins with it
    a second time, here or elsewhere. Raises ConfigError or RectbotError when something is in the way: then nothing was
    changed, and unless it says otherwise the invitation is still good.
    """
    home = home.resolve()
    header = invitation.read_header(line)
    env_file = home / ".env"
    there = dotenv_values(stream=io.StringIO(_text_of(env_file))) if env_file.exists() else {}
    _check_place(env_file, there, header)
    found = invitation.read(line, passphrase(header) if header.salt else None)
    _check_content(found)
    with _staged(home, found) as staged:
        kept = {name: value or "" for name, value in there.items()}
        settings = settings_of(kept | _filled(found, staged.temporary), home)
        if failed := look(settings, header, say):
            raise RectbotError(f"{', '.join(failed)} failed: nothing was changed; mend that, then join again")
        values = _filled(found, staged.final)
        old = _text_of(env_file) if env_file.exists() else ""
        staged.add(env_file, _env_text(env_file, old, values))
        changed = [name for name, value in values.items() if there.get(name) not in (None, "", value)]
        asyncio.run(_claim(settings, header))
        if changed:
            write_private(home / ".env.before-join", old)
            say(f"join: {', '.join(changed)} had other values in .env: they are replaced, and kept in .env.before-join")
        staged.put_in_place()
    say(f"join: wrote {', '.join(str(path) for path in staged.final.values())}: this host is the site {header.site}")
    return load_settings(rectbot_home=home)


def find_line(text: str) -> str:
    """The invitation in what a pipe, a file or an argument holds: what a login prints before it is passed over.

    Raises ConfigError when there is none.
    """
    match = re.search(r"rbi\d+\.", text[:_LARGEST])
    if match is None:
        raise ConfigError(
            "no invitation came: 'rectbot invite SITE' on the monitoring host prints one, which begins with rbi1."
        )
    return text[match.start() : _LARGEST].strip()


def _text_of(path: Path) -> str:
    return read_text(path, "make it readable for this user")


def _check_place(env_file: Path, there: Mapping[str, str | None], header: Header) -> None:
    site = there.get("SITE_ID")
    if site and site != header.site:
        raise ConfigError(
            f"{env_file}: this host is the site {site}, and the invitation is for {header.site}: invite {site}, or join"
            " in another folder"
        )
    if any(there.get(name) for name in _MONITORING):
        raise ConfigError(
            f"{env_file}: is a monitoring host's ('rectbot init' was run here): join on the site's host, or in another"
            " folder"
        )


def _check_content(found: Invitation) -> None:
    unknown = sorted((found.values.keys() - _NAMES) | (found.files.keys() - _FILES))
    if unknown:
        raise ConfigError(
            f"the invitation holds what this version of rectbot does not know ({', '.join(unknown)[:200]}): it was made"
            f" by {found.header.by[:40]}; update rectbot on this host, then join again"
        )
    if found.values.get("SITE_ID") != found.header.site:
        raise ConfigError("the invitation is for another site than it says: invite the site again")


def _filled(found: Invitation, paths: Mapping[str, Path]) -> dict[str, str]:
    """The settings, with the certificates' paths in their places."""
    filled = dict(found.values)
    for name, path in paths.items():
        filled = {key: value.replace(f"<{name}>", str(path)) for key, value in filled.items()}
    return filled


def _env_text(path: Path, old: str, values: Mapping[str, str]) -> str:
    example = path.with_name(".env.example")
    text = old or (_text_of(example) if example.exists() else "# Made by 'rectbot join'.\n")
    text = assign(text, values)
    read = dotenv_values(stream=io.StringIO(text))
    if lost := [name for name, value in values.items() if read.get(name) != value]:
        raise ConfigError(
            f"{path}: {', '.join(lost)} cannot be written there: make its lines NAME=value, one line each"
        )
    return text


@dataclass
class _Staged:
    """Files that are written beside their places, and put there all at once."""

    temporary: dict[str, Path]
    final: dict[str, Path]

    def add(self, path: Path, text: str) -> None:
        self.final[path.name], self.temporary[path.name] = path, path.with_name(f".{path.name}.{os.getpid()}.join")
        write_private(self.temporary[path.name], text)

    def put_in_place(self) -> None:
        for name, path in self.final.items():
            try:
                self.temporary[name].replace(path)
            except OSError as error:
                raise RectbotError(f"{path}: cannot be written ({error.strerror}); invite the site again") from None


@contextmanager
def _staged(home: Path, found: Invitation) -> Iterator[_Staged]:
    staged = _Staged({}, {})
    try:
        for name, text in found.files.items():
            staged.add(home / name, text)
        yield staged
    finally:
        for path in staged.temporary.values():
            path.unlink(missing_ok=True)


async def _claim(settings: Settings, header: Header) -> None:
    """Uses the invitation up: writes its id into the store, where only the first one who does can.

    Raises ConfigError when it was used before.
    """
    options = store_options(settings)
    prefix = settings.leader_lock_key.removesuffix(":leader")
    config = replace(failover_config(settings, observer=True), lock_key=f"{prefix}:invite:{header.id}")
    register = open_register(config, url=options.pop("url"), **options)
    who = {"joined": socket.gethostname(), "at": int(time.time())}
    # The rest is what a record of a lease has: Redis shows parts of it to other programs.
    record = json.dumps({"lock": None, "beats": {}, "owner": config.owner, "n": 0, **who}).encode()
    give_up_at = boottime_ms() + _CLAIM_MS
    try:
        seen = await register.read(give_up_at)
        if seen.record is None:
            seen = await register.swap(seen, record, [], give_up_at)
    finally:
        await register.close()
    if seen.record != record:
        raise ConfigError(
            f"the invitation {header.id} was used already{_by_whom(seen.record)}: invite the site again: 'rectbot"
            f" invite {header.site}'; if that was not you, first 'rectbot revoke {header.site}'"
        )


def _by_whom(record: bytes | None) -> str:
    try:
        found = json.loads(record or b"")
        when = invitation.shown_time(found["at"])
        return f", by the host {found['joined'][:100]} at {when}"
    except (ValueError, KeyError, TypeError):
        return ""
