"""`rectbot install`: what keeps a site's bot and its pushes running, as systemd units or as lines for a crontab."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.wiring import check_url
from rectbot.settings import Settings
from rectbot.stack.shipped import is_installed

BOT, PUSH, TIMER = "rectbot-bot.service", "rectbot-push.service", "rectbot-push.timer"
SYSTEM_UNITS = Path("/etc/systemd/system")
_CRON_LOG_KIB = 5_120  # of the bot's log that cron's shell writes
MISCONFIGURED = "2 78"  # exit codes that no restart mends: a wrong setting; EX_CONFIG of a user's own program

# systemd.exec(5). The first group needs no privileges, so it also holds in a user's own units.
_HARDENING = """\
NoNewPrivileges=yes
UMask=0077
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
# The bot's watchdog makes a PID namespace with a /proc of its own (failover/process/containment.py). The kernel allows
# that /proc only where nothing is laid over parts of the one that is there; pushes need nothing of the kind.
_NAMESPACES_OF_BOT = "RestrictNamespaces=user pid mnt\nSystemCallFilter=mount\n"
_NAMESPACES_OF_PUSH = "RestrictNamespaces=yes\n"
_HARDENING_OF_SYSTEM = """\
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
"""
_LAID_OVER_PROC = "ProtectKernelLogs=yes\nProtectKernelTunables=yes\n"


@dataclass(frozen=True)
class Site:
    """What is to run: at which site, from which checkout, as which user, and which program in place of our bot."""

    name: str
    home: Path
    user: str | None  # None: units of the user who asks, under systemd --user
    command: tuple[str, ...] = ()
    folder: Path = Path("/")  # where the command runs

    @property
    def rectbot(self) -> Path:
        """The command: this very one, but in a checkout that checkout's."""
        return Path(sysconfig.get_path("scripts") if is_installed() else self.home / ".venv/bin") / "rectbot"

    @property
    def push_command(self) -> tuple[str, ...]:
        """What cron runs."""
        if is_installed():
            return (str(self.rectbot), "push")
        return (str(self.home / "scripts" / "prometheus-push.sh"),)

    @property
    def documentation(self) -> str:
        """A unit's line that names the page for operators."""
        page = self.home / "docs" / "operations.md"
        return "" if is_installed() else f"Documentation={_escape(page.as_uri())}\n"

    @property
    def pid_file(self) -> Path:
        """Where the bot writes its process id, and the push agent finds it."""
        return self.home / "var" / "run" / f"bot-{self.name}.pid"

    @property
    def bot_command(self) -> tuple[str, ...]:
        if self.command:
            return (str(self.rectbot), "failover", "run", "--", *self.command)
        return (str(self.rectbot), "bot")

    @property
    def environment(self) -> dict[str, str]:
        """What is the site's own; all other settings, and the secrets, stay in .env."""
        return {
            "RECTBOT_HOME": str(self.home),
            "FAILOVER_ENABLED": "true",
            "SITE_ID": self.name,
            "BOT_PID_FILE": str(self.pid_file),
        }


def units(site: Site) -> dict[str, str]:
    """The systemd units by name."""
    bot = f"""\
[Unit]
Description=rectbot: the bot of site {site.name}
{site.documentation}Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={_words(site.bot_command)}
WorkingDirectory={_percent(site.folder if site.command else site.home)}
Restart=always
RestartSec=5
RestartPreventExitStatus={MISCONFIGURED}
# The bot logs out and releases the lease; its watchdog must live until then.
KillMode=mixed
TimeoutStopSec=30
{_common(site, _NAMESPACES_OF_BOT)}
[Install]
WantedBy={"multi-user.target" if site.user else "default.target"}
"""
    push = f"""\
[Unit]
Description=rectbot: push this host's metrics once
{site.documentation}
[Service]
Type=oneshot
ExecStart={_words((str(site.rectbot), "push"))}
WorkingDirectory={_percent(site.home)}
TimeoutStartSec=50
{_common(site, _NAMESPACES_OF_PUSH)}{_LAID_OVER_PROC if site.user else ""}"""
    timer = """\
[Unit]
Description=rectbot: push this host's metrics every minute

[Timer]
OnCalendar=minutely
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
    return {BOT: bot, PUSH: push, TIMER: timer}


def _common(site: Site, namespaces: str) -> str:
    lines = [f"User={site.user}"] if site.user else []
    lines += [f'Environment="{name}={_escape(value)}"' for name, value in site.environment.items()]
    text = "\n".join(lines) + "\n" + _HARDENING + namespaces
    if site.user:
        writable = dict.fromkeys([site.home / "var", *([site.folder] if site.command else [])])
        text += _HARDENING_OF_SYSTEM + f"ReadWritePaths={_quoted(map(str, writable))}\n"
    return text


def _escape(text: str) -> str:
    """For a quoted word of a unit: systemd.syntax(7) and its specifiers."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _words(command: Sequence[str]) -> str:
    """A command line of systemd.service(5): quoted words, in which `$` begins a variable."""
    return _quoted(command).replace("$", "$$")


def _quoted(words: Iterable[str]) -> str:
    return " ".join(f'"{_escape(word)}"' for word in words)


def _percent(path: Path) -> str:
    """A path that is the whole of a setting, which needs no quotes and takes none."""
    return str(path).replace("%", "%%")


def crontab(site: Site) -> str:
    """Lines for `crontab -e`. The bot is started each minute, and at once ends where it runs already."""
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in site.environment.items())
    folder = shlex.quote(str(site.folder if site.command else site.home))
    lock, log = (
        shlex.quote(str(site.home / "var" / name)) for name in (f"bot-{site.name}.lock", f"bot-{site.name}.log")
    )
    run = shlex.quote(str(site.pid_file.parent))
    bot = (
        f"mkdir -p {run} && cd {folder} && {settings} flock -n -E 0 {lock} {shlex.join(site.bot_command)} >>{log} 2>&1"
    )
    # What is over some megabytes is copied away and emptied: the bot goes on writing at the file's end.
    rotate = f"""find {log} -size +{_CRON_LOG_KIB}k -exec sh -c 'cp "$0" "$0.1" && : >"$0"' {{}} ';' 2>/dev/null;"""
    bot = f"umask 077; {rotate} {bot}"
    push = f"{settings} {shlex.join(site.push_command)} >/dev/null"
    lines = ("# rectbot at the site " + site.name, *(f"* * * * * {_cron(line)}" for line in (bot, push)))
    return "\n".join(lines) + "\n"


def _cron(line: str) -> str:
    return line.replace("%", "\\%")  # crontab(5): a bare % ends the command


def check(settings: Settings, site: Site) -> None:
    """Raises ConfigError that names every setting that the site lacks."""
    if site.name not in settings.failover_priority:
        known = ", ".join(settings.failover_priority)
        raise ConfigError(f"unknown site {site.name!r}; the sites are {known} (FAILOVER_PRIORITY)")
    if settings.failover_enabled is False:
        raise ConfigError(
            "FAILOVER_ENABLED=false contradicts the units, whose bot runs under the lease: write FAILOVER_ENABLED=true"
        )
    given = settings.model_fields_set
    wanted = {
        "DISCORD_BOT_TOKEN": bool(site.command) or settings.discord_bot_token is not None,
        "LEASE_URL, REDIS_URL or REDIS_HOST": bool({"lease_url", "redis_url", "redis_host"} & given),
        "PUSHGATEWAY_URL": settings.pushgateway_url is not None,
        "PUSHGATEWAY_PASSWORD": settings.pushgateway_password is not None,
    }
    if missing := [name for name, there in wanted.items() if not there]:
        raise ConfigError(
            f"{site.home / '.env'}: not set: {', '.join(missing)}; docs/operations.md says what to put there"
        )
    check_url(settings)
    if not os.access(site.rectbot, os.X_OK):
        mend = "install rectbot again with pip" if is_installed() else f"run: make -C {site.home} setup"
        raise ConfigError(f"{site.rectbot} is missing; {mend}")


def install(
    settings: Settings, name: str, command: Sequence[str], *, dry_run: bool, cron: bool, say: Callable[[str], None]
) -> None:
    """Writes the units and starts them, or prints what would be written (`dry_run`), or the crontab.

    As root they are the system's units and run as the checkout's owner; else the user's own. Without systemd, or with
    `cron`, only lines for a crontab are printed. Run again it changes what has changed.

    Raises ConfigError for what is missing, RectbotError when a unit cannot be written or started.
    """
    home = settings.rectbot_home.resolve()
    owner = pwd.getpwuid(home.stat().st_uid).pw_name if os.geteuid() == 0 else None
    site = Site(name, home, owner, tuple(command), Path.cwd())
    check(settings, site)
    if cron or not _booted_with_systemd():
        say(crontab(site).rstrip("\n"))
        return
    folder = SYSTEM_UNITS if owner else user_units()
    if dry_run:
        for unit, text in units(site).items():
            say(f"# {folder / unit}\n{text}")
        return
    for line in write(site, folder):
        say(f"install: {line}")


def user_units() -> Path:
    """Where systemd looks for the units of whoever asks."""
    return Path.home() / ".config" / "systemd" / "user"


def _booted_with_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()  # sd_booted(3)


def write(site: Site, folder: Path) -> Iterator[str]:
    """Writes the units into `folder` and starts them; yields a line for each thing done. Raises RectbotError."""
    changed = []
    try:
        site.pid_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if site.user:
            _give(site.user, site.pid_file.parent, site.home / "var")
        folder.mkdir(parents=True, exist_ok=True)
        for unit, text in units(site).items():
            path = folder / unit
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                path.chmod(0o644)
                changed.append(unit)
                yield f"wrote {path}"
    except OSError as error:
        raise RectbotError(f"{error.filename}: cannot be written ({error.strerror}); are you root?") from None
    systemctl = ["systemctl"] if site.user else ["systemctl", "--user"]
    _run([*systemctl, "daemon-reload"])
    _run([*systemctl, "enable", "--quiet", "--now", BOT, TIMER])
    if BOT in changed:
        _run([*systemctl, "restart", BOT])
    yield f"{BOT} and {TIMER} run; logs: journalctl {'' if site.user else '--user '}-u {BOT}"
    if not site.user:
        yield "so that they run while you are logged out: loginctl enable-linger"


def _give(user: str, *paths: Path) -> None:
    entry = pwd.getpwnam(user)
    for path in paths:
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise RectbotError(f"{' '.join(command)} failed: {lines[-1] if lines else 'no reason given'}")
