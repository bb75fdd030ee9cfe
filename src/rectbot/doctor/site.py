"""What a site's own host must have in order, so that its bot leads when it should, and only then."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil

from rectbot import install
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn, worst
from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.process import containment
from rectbot.failover.wiring import failover_config
from rectbot.logs.client.target import target_of as log_target_of
from rectbot.logs.ship.spool import look
from rectbot.push.ages import MISSING_SECONDS, STALE_SECONDS
from rectbot.push.last import seconds_ago
from rectbot.push.target import target_of
from rectbot.settings import spool_folder, wants_failover

_DISCORD = "https://discord.com/api/v10"
_TAIL_BYTES = 1_000_000


def runs_under_the_lease(subject: Subject) -> Verdict:
    """A bot that is started here logs in under the lease, and nobody has merely forgotten to say so."""
    settings = subject.settings
    mend = f"correct it in {subject.layout.env_file}, and restart the bot"
    said = _environment(_process(subject)).get("FAILOVER_ENABLED", "")
    if said.lower() in ("false", "0", "no", "off", "f", "n"):
        return fail(f"the bot that runs here was started with FAILOVER_ENABLED={said}", "restart it with true")
    try:
        if wants_failover(settings):
            if subject.engine is Engine.NONE and settings.site_id is None:
                return ok("FAILOVER_ENABLED=true: no bot is started here without a lease, or without a SITE_ID")
            failover_config(settings)
            return ok(f"FAILOVER_ENABLED=true: the bot of {settings.site_id} logs in under the lease only")
    except ConfigError as error:
        return fail(str(error), mend)
    if subject.engine is Engine.SITE or settings.failover_enabled is False:
        return warn(
            "FAILOVER_ENABLED=false: a bot that is started here logs in beside the other site's",
            "write FAILOVER_ENABLED=true, unless you want that",
        )
    return ok("no site and no store is named: a bot that is started here is alone")


def bot_runs(subject: Subject) -> Verdict:
    """The bot of this site runs, and the store hears of it."""
    site = subject.settings.site_id
    process = _process(subject)
    here = f"process {process.pid} runs" if process is not None else "no process of it is known here"
    mend = "systemctl status rectbot-bot (your own units: with --user); under cron the end of var/bot-SITE.log"
    if site is None:
        return fail(f"unknown, as SITE_ID is not set: {here}", f"name this site in {subject.layout.env_file}")
    try:
        beat = subject.snapshot.sites.get(site)
    except RectbotError as error:
        return fail(f"unknown whether it stands by or leads ({here}): {error}", "mend the way to the store first")
    # A heartbeat outlives its bot for a while; one that is due is no sign of life.
    if beat is None or beat.heartbeat_age_s * 1000 > subject.settings.lock_ttl_ms * 2 / 3 + 1000:
        return fail(f"the bot does not run: the store has no new heartbeat of {site}, and {here}", mend)
    state = subject.snapshot.state_of(site)
    return ok(f"{site}: {state}, heartbeat {beat.heartbeat_age_s:.0f} s ago; {here}")


def something_starts_it(subject: Subject) -> Verdict:
    """After a reboot, bot and pushes begin by themselves: by systemd, or by cron."""
    site = subject.settings.site_id or subject.settings.failover_priority[0]
    mend = f"rectbot install --site {site}"
    units = _unit_folder()
    if units is not None:
        missing = [name for name in (install.PUSH, install.TIMER) if not (units / name).exists()]
        other = f'"SITE_ID={site}"' not in (units / install.BOT).read_text(encoding="utf-8")
        if missing or other:
            return fail(f"{units} lacks {', '.join(missing) or f'units for {site}'}", mend)
        return _systemd_says(units, mend)
    lines = _crontab()
    if lines is None:
        return fail("unknown: there are no units of systemd, and the crontab cannot be read", mend)
    jobs = {
        "bot": ("rectbot' bot", "rectbot bot", "failover run"),
        "push": ("prometheus-push.sh", "rectbot' push", "rectbot push"),
    }
    missing = [name for name, words in jobs.items() if not any(word in line for line in lines for word in words)]
    if missing:
        return fail(f"neither systemd nor the crontab starts: {', '.join(missing)}", mend)
    return ok("the crontab starts bot and pushes")


def _systemd_says(units: Path, mend: str) -> Verdict:
    user = [] if units == install.SYSTEM_UNITS else ["--user"]
    states = {name: _output(["systemctl", *user, "is-active", name]) for name in (install.BOT, install.TIMER)}
    dead = [f"{name} is {state or 'unknown'}" for name, state in states.items() if state != "active"]
    if dead:
        return fail(f"systemd: {', '.join(dead)}", f"{mend}; 'journalctl -u {install.BOT}' says why it ended")
    return ok(f"systemd runs {install.BOT} and {install.TIMER}")


def _unit_folder() -> Path | None:
    folders = (install.SYSTEM_UNITS, install.user_units())
    return next((folder for folder in folders if (folder / install.BOT).is_file()), None)


def _crontab() -> list[str] | None:
    """The lines of this user's crontab that do something; None when nobody can tell."""
    text = _output(["crontab", "-l"])
    return None if text is None else [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def _output(command: list[str]) -> str | None:
    """What it prints, also when it fails; None when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()


def token_is_good(subject: Subject) -> Verdict:
    """Discord knows the bot's token. Asking is no login."""
    settings = subject.settings
    if settings.discord_bot_token is None:
        units = _unit_folder()
        started = [(units / install.BOT).read_text(encoding="utf-8")] if units is not None else _crontab() or []
        if any("failover" in line and "run" in line for line in started):
            return ok("none is set here: a program of your own runs under the lease, with its own")
        return fail("DISCORD_BOT_TOKEN is not set: our bot cannot log in", f"put it into {subject.layout.env_file}")
    token = settings.discord_bot_token.get_secret_value()
    if not (token.isascii() and token.isprintable() and " " not in token):
        return fail("DISCORD_BOT_TOKEN holds what no token holds", "copy it from the developer portal once more")
    base = (settings.discord_api_url or _DISCORD).rstrip("/")
    headers = {"Authorization": f"Bot {token}", "User-Agent": "DiscordBot (rectbot doctor, 1)"}
    status = subject.get(f"{base}/users/@me", headers).status
    if status == 200:
        return ok("Discord knows the token")
    if status == 401:
        return fail("Discord refuses DISCORD_BOT_TOKEN", "reset it in the developer portal, put it into .env on both")
    return warn(f"unknown: Discord answers {status} just now", "ask again later")


def pushed_lately(subject: Subject) -> Verdict:
    """A push of this host arrived within minutes."""
    job = target_of(subject.settings).job
    ago = seconds_ago(subject.settings, job)
    mend = "'rectbot push' says what is wrong; 'rectbot install' lets it run every minute"
    if ago is None:
        return fail(f"no push of {job} has ever arrived from here", mend)
    if ago > MISSING_SECONDS:
        return fail(f"the last push of {job} arrived {ago / 60:.0f} minutes ago", mend)
    if ago > STALE_SECONDS:
        return warn(f"the last push of {job} arrived {ago:.0f} s ago", mend)
    return ok(f"the last push of {job} arrived {ago:.0f} s ago")


def log_has_a_way(subject: Subject) -> Verdict:
    """The bot's log can be written, and does not pile up on its way to Loki."""
    settings = subject.settings
    if not _writable(settings.rectbot_home / "var"):
        return fail(f"{settings.rectbot_home / 'var'} cannot be written", "give it to the user who runs the bot")
    if (target := log_target_of(settings)) is None:
        return ok("the log stays on this host (the journal, or var/bot-SITE.log): LOKI_URL is not set")
    spool = spool_folder(settings, "bot", settings.site_id or "local")
    if not _writable(spool):
        return fail(f"{spool} cannot be written", "give it to the user who runs the bot, or set LOKI_SPOOL")
    waiting, dropped = look(spool) if spool.is_dir() else (0, 0)
    if waiting:
        return warn(f"{waiting} bytes of log wait for {target.url}", "is it up? 'rectbot logs query' asks it")
    lost = f"; {dropped} lines were dropped in the past" if dropped else ""
    return ok(f"it goes to {target.url}, and nothing waits{lost}")


def _writable(folder: Path) -> bool:
    """Whether it can be written, or made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK)


def same_timing(subject: Subject) -> Verdict:
    """All sites have the same LOCK_TTL_MS: the store tells what each of them works with."""
    settings = subject.settings
    if not {"lease_url", "redis_url", "redis_host"} & settings.model_fields_set:
        return warn("unknown: no store is named to compare with", "see that LOCK_TTL_MS is the same on all sites")
    heard = {name: site.ttl_ms for name, site in subject.snapshot.sites.items()}
    wrong = [f"{name} has {ttl}" for name, ttl in heard.items() if ttl != settings.lock_ttl_ms]
    if wrong:
        return fail(
            f"LOCK_TTL_MS is {settings.lock_ttl_ms} here, but {', '.join(wrong)}",
            "write the same into the .env of every site, and restart the bots",
        )
    others = heard.keys() - {settings.site_id}
    if not others:
        return warn("unknown: no other site's heartbeat tells its LOCK_TTL_MS", "start the other site, then ask again")
    return ok(f"LOCK_TTL_MS is {settings.lock_ttl_ms} here and at {', '.join(sorted(others))}")


def secrets_stay_out_of_the_log(subject: Subject) -> Verdict:
    """The end of each log under var/ holds no secret of .env."""
    secrets = {
        name: value.get_secret_value()
        for name in type(subject.settings).model_fields
        if hasattr(value := getattr(subject.settings, name), "get_secret_value") and len(value.get_secret_value()) > 7
    }
    verdicts = []
    for path in sorted((subject.settings.rectbot_home / "var").glob("bot-*.log")):
        text = _tail(path)
        if text is None:
            verdicts.append(warn(f"unknown: {path} cannot be read", "run doctor as the user who runs the bot"))
        elif found := [name.upper() for name, secret in secrets.items() if secret in text]:
            mend = "renew them (docs/operations.md, Rotating secrets), and delete the file"
            verdicts.append(fail(f"{path} holds {', '.join(found)}", mend))
    return worst(verdicts) if verdicts else ok("no log under var/ holds a secret")


def _tail(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return None


def what_contains_it(subject: Subject) -> Verdict:
    """What ends the bot's processes when its watchdog goes: seen at the bot that runs, else found by trying it."""
    process = _process(subject)
    inside = [] if process is None else [_is_in_a_namespace(child.pid) for child in _children(process)]
    if inside:
        kind = containment.NAMESPACE if any(inside) else containment.TIES
        return _verdict_on(kind, "the bot that runs is held by")
    kind = containment.TIES if subject.settings.failover_containment == "off" else containment.find()
    return _verdict_on(kind, "a program that this user starts is held by")


def _verdict_on(kind: str, who: str) -> Verdict:
    found = f"{who} {containment.words(kind)}"
    if kind == containment.NAMESPACE:
        return ok(found)
    return warn(found, "docs/failover.md says what that leaves open; root, or user namespaces, would allow it")


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _is_in_a_namespace(pid: int) -> bool:
    """Whether a process has a second number, in a PID namespace of its own: proc_pid_status(5)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(len(line.split()) > 2 for line in status.splitlines() if line.startswith("NSpid:"))


def _process(subject: Subject) -> psutil.Process | None:
    """The bot that runs here, as its pid file names it."""
    settings = subject.settings
    path = settings.bot_pid_file
    if path is None:
        path = install.Site(settings.site_id or "local", settings.rectbot_home, None).pid_file
    try:
        return psutil.Process(int(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, psutil.Error):
        return None


def _environment(process: psutil.Process | None) -> dict[str, str]:
    """Of a process of ours; empty where it cannot be read."""
    try:
        return {} if process is None else process.environ()
    except psutil.Error:
        return {}
