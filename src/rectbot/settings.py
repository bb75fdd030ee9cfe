"""Every setting of rectbot, typed, from the environment or from `.env`.

The environment wins over `.env`. An empty value counts as unset. `.env.example` explains each name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from foundation.durations import DurationError, in_unit
from foundation.redaction import forget, know
from rectbot.errors import ConfigError
from rectbot.hosts import host_alone
from rectbot.lists import parse_jobs, parse_logins

BASE_PORTS = {
    "push-proxy": 9443,
    "push-inner": 9444,  # within the push proxy, on loopback
    "console": 3000,  # Grafana where it is installed, else our console
    "console-beside": 3002,  # our console beside Grafana
    "prometheus": 9090,
    "pushgateway": 9091,
    "alertmanager": 9093,
    "loki": 3100,
    "metabase": 3001,  # with docker compose only
    "redis": 6379,
    "hub": 9464,
    "discord": 9800,
    "link": 9810,  # the first site's link to Redis; the next site has the next port
}

DEFAULT_LOCK_TTL_MS = 90_000
# By the end of a setting's name: what a number alone means there, and what to write.
_LENGTHS = {
    "_ms": ("ms", "a whole number of milliseconds"),
    "_sec": ("s", "a number of seconds"),
    "_minutes": ("m", "a number of minutes"),
    "_hours": ("h", "a number of hours"),
    "_days": ("d", "a number of days"),
}
_BETWEEN_URLS = re.compile(r"[\s,;]+(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")  # a comma may be part of one, too
PUSH_USER = "prom"  # whom the push proxy knows, where nobody has another name
_SITE = "up to 64 letters, digits, '-' and '_' make a site's name"
_EMAIL = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$"  # as Metabase's
_URL = "write http:// or https:// and a host"


class FailoverSettings(BaseModel):
    """The part of the settings that says which site this is, where the lease is kept, and how it is timed.

    Whoever sets one of them means the failover, so `wants_failover` lets no bot start when it is not said to be on.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)  # only Settings is ever made

    failover_enabled: bool | None = None  # ask wants_failover(): unset is not off
    site_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description=_SITE)
    failover_priority: tuple[str, ...] = ("xserver", "oci")
    redis_url: SecretStr | None = None
    redis_host: str = "127.0.0.1"
    redis_port: int | None = Field(default=None, ge=1, le=65535)
    redis_user: str | None = Field(default=None, pattern=r"^\S+$", description="a user's name holds no blanks")
    redis_password: SecretStr | None = None
    redis_passwords: SecretStr | None = None
    redis_default_password: SecretStr | None = None
    redis_db: int = Field(default=0, ge=0)
    redis_tls: bool = False
    redis_bind: str | None = None
    redis_cacert: Path | None = None
    lease_url: SecretStr | None = None
    lease_poll_sec: float = Field(default=5, ge=0.2, le=300)
    lock_ttl_ms: int = Field(default=DEFAULT_LOCK_TTL_MS, ge=1)
    renew_interval_ms: int | None = Field(default=None, ge=1)
    hb_ttl_sec: float = Field(default=90, gt=0)
    failback_delay_sec: float = Field(default=30, ge=0)
    failback_max_sec: float = Field(default=3_600, ge=0)
    login_budget: int = Field(default=500, ge=20)
    stop_timeout_ms: int | None = Field(default=None, ge=1)
    leader_lock_key: str = "rectbot:leader"
    hb_prefix: str = "rectbot:hb:"
    failover_containment: Literal["auto", "off"] = "auto"

    @field_validator("*", mode="before")
    @classmethod
    def _read_length(cls, value: object, info: ValidationInfo) -> object:
        """A length of time may have units: 10s, 1m30s."""
        unit, wanted = next((each for end, each in _LENGTHS.items() if str(info.field_name).endswith(end)), ("", ""))
        if not unit or not isinstance(value, str):
            return value
        try:
            return in_unit(value, unit)
        except DurationError:
            raise ValueError(f"write {wanted}, or a duration like 10s or 1m30s") from None

    @field_validator("redis_host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        try:
            return host_alone(value)
        except ValueError as error:
            hint = "write a name or an address; its port into REDIS_PORT, a URL into REDIS_URL"
            raise ValueError(f"{error}: {hint}") from None

    @field_validator("failover_priority", mode="before")
    @classmethod
    def _split_priority(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("failover_priority")
    @classmethod
    def _check_priority(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for site in value:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", site):
                raise ValueError(f"the site name {site!r} may hold letters, digits, '-' and '_' only")
        if not value or len(set(value)) != len(value):
            raise ValueError("list each site once, most preferred first, for example xserver,oci")
        return value

    @field_validator("redis_passwords")
    @classmethod
    def _check_logins(cls, value: SecretStr | None) -> SecretStr | None:
        parse_logins(value.get_secret_value() if value else "")
        return value

    @property
    def redis_logins(self) -> dict[str, str]:
        """The passwords by user of those who may log in at the stack's Redis, beside this host itself."""
        return parse_logins(self.redis_passwords.get_secret_value() if self.redis_passwords else "")

    @property
    def redis_login(self) -> tuple[str, str]:
        """User and password at Redis; an empty user is Redis' `default`."""
        user = self.redis_user or ""
        password = self.redis_password.get_secret_value() if self.redis_password else ""
        return user, self.redis_logins.get(user, password)


class Settings(FailoverSettings):
    """The settings, one field for each environment variable of the same name in upper case."""

    model_config = ConfigDict(defer_build=False)

    # The bucket of LEASE_URL; not among the failover's, for a bot may use Amazon for other things
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_region: str | None = None

    # Discord
    discord_bot_token: SecretStr | None = None
    discord_api_url: str | None = None
    discord_login_timeout_sec: float = Field(default=60, gt=0)
    discord_away_limit_sec: float = Field(default=60, gt=0)
    discord_alert_webhook_url: SecretStr | None = None
    alert_urls: SecretStr | None = None
    bot_app: str | None = None
    bot_standby: Literal["warm", "cold"] = "warm"
    bot_pid_file: Path | None = None

    # Push
    pushgateway_url: str | None = None
    pushgateway_user: str | None = Field(
        default=None, pattern=r"^[^#:][^:]*$", description="no colon, no # at its start"
    )
    pushgateway_password: SecretStr | None = None
    pushgateway_passwords: SecretStr | None = None
    push_jobs: str | None = None
    pushgateway_cacert: Path | None = None
    pushgateway_insecure: bool = False
    memory_alert: str | None = None
    push_proxy_bind: str = "127.0.0.1"
    push_proxy_address: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$", description="write HOST:PORT"
    )

    # Logs
    loki_url: str | None = None
    loki_user: str | None = None
    loki_password: SecretStr | None = None
    loki_cacert: Path | None = None
    loki_spool: Path | None = None
    loki_spool_mb: float = Field(default=64, gt=0)

    # Console
    dashboard_admin_password: SecretStr | None = None
    dashboard_viewer_password: SecretStr | None = None
    console_secret: SecretStr | None = None
    console_bind: str = "127.0.0.1"
    console_port: int | None = Field(default=None, ge=0, le=65535)
    console_login: bool = False
    console_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+/?$", description=_URL)
    console_prometheus_url: str | None = Field(default=None, pattern=r"^https?://", description=_URL)
    console_alertmanager_url: str | None = Field(default=None, pattern=r"^https?://", description=_URL)
    console_loki_url: str | None = Field(default=None, pattern=r"^https?://", description=_URL)

    # History
    history_enabled: bool = True
    history_database_url: SecretStr | None = None
    report_monthly: bool = False
    status_page: bool = False
    history_database_password: SecretStr | None = None
    history_reader_password: SecretStr | None = None
    history_admin_url: SecretStr | None = None

    # Metabase
    metabase_url: str = Field(
        default="http://127.0.0.1:3001", pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", description=_URL
    )
    metabase_admin_email: str = Field(
        default="admin@rectbot.invalid", pattern=_EMAIL, description="write NAME@HOST.TLD"
    )
    metabase_admin_password: SecretStr | None = None

    # The stack
    hub_bind: str = "127.0.0.1"
    rectbot_home: Path = Path()
    rectbot_port_offset: int = Field(default=0, ge=0, le=55_000)

    def port(self, name: str) -> int:
        """The port of a part of the stack, shifted by `RECTBOT_PORT_OFFSET`."""
        if name == "redis" and self.redis_port is not None:
            return self.redis_port
        return BASE_PORTS[name] + self.rectbot_port_offset

    @field_validator("pushgateway_passwords")
    @classmethod
    def _check_push_logins(cls, value: SecretStr | None) -> SecretStr | None:
        parse_logins(value.get_secret_value() if value else "")
        return value

    @field_validator("push_jobs")
    @classmethod
    def _check_jobs(cls, value: str | None) -> str | None:
        parse_jobs(value or "", ())
        return value

    @property
    def push_login(self) -> tuple[str, str | None]:
        """User and password at the push proxy; no password: none was given."""
        user = self.pushgateway_user or PUSH_USER
        logins = parse_logins(self.pushgateway_passwords.get_secret_value() if self.pushgateway_passwords else "")
        own = self.pushgateway_password.get_secret_value() if self.pushgateway_password else None
        return user, logins.get(user, own)

    @property
    def jobs(self) -> dict[str, tuple[str, ...]]:
        """Under which jobs the hosts of sites push, by site: those that are expected to (`PUSH_JOBS`)."""
        return parse_jobs(self.push_jobs or "", self.failover_priority)

    def job_of(self, site: str | None) -> str:
        """The job under which a site's host pushes by default."""
        jobs = self.jobs
        return jobs[site][0] if site in jobs else next(iter(jobs.values()))[0] if site is None else f"{site}-bot"

    @property
    def alert_services(self) -> list[str]:
        """The addresses in ALERT_URLS; each holds secrets."""
        text = self.alert_urls.get_secret_value() if self.alert_urls else ""
        return [url for url in _BETWEEN_URLS.split(text.strip()) if url]

    @property
    def push_url(self) -> str:
        """Where `rectbot push` sends to."""
        job = self.job_of(self.site_id)
        return self.pushgateway_url or f"https://localhost:{self.port('push-proxy')}/metrics/job/{job}"


_WANTED = {  # https://docs.pydantic.dev/latest/errors/validation_errors/
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
    "literal_error": "write {expected}",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than_equal": "it must be {le} or less",
}

KNOWN = frozenset(name.upper() for name in Settings.model_fields)
_OF_AN_IMAGE = "_VERSION"  # docker compose reads these
_SWITCH = "FAILOVER_ENABLED"
_ALIKE = 0.8  # of 1; of difflib's measure


def wants_failover(settings: Settings) -> bool:
    """Whether the workload runs under the lease only (FAILOVER_ENABLED), or simply runs.

    Raises ConfigError when nobody has said so and a site, a store or a timing is named, or the name is misspelt: a
    line that was forgotten must not log a second bot in.
    """
    if settings.failover_enabled is not None:
        return settings.failover_enabled
    names = {*os.environ, *_read_env_file(settings.rectbot_home / ".env")}
    for name in sorted(name for name in names if name.upper() not in KNOWN):
        if _meant(name, cutoff=0.5 if "FAILOVER" in name.upper() else _ALIKE) == _SWITCH:
            raise ConfigError(f"unknown setting {name}; did you mean {_SWITCH}? It must be true or false")
    given = [name.upper() for name in FailoverSettings.model_fields if name in settings.model_fields_set]
    if given:
        raise ConfigError(
            f"{_SWITCH} is not set, but {', '.join(given)}: write {_SWITCH}=true into {settings.rectbot_home / '.env'},"
            f" so that the bot logs in only under the lease, or {_SWITCH}=false if a second login is wanted"
        )
    return False


def _meant(name: str, cutoff: float = _ALIKE) -> str | None:
    """The setting that is so much like this name that it must be meant."""
    close = difflib.get_close_matches(name.upper(), KNOWN, n=1, cutoff=cutoff)
    return close[0] if close else None


def spool_folder(settings: Settings, job: str, site: str) -> Path:
    """Where a site's log lines of this job wait for Loki: `LOKI_SPOOL`, else under var/."""
    return settings.loki_spool or settings.rectbot_home / "var" / "logs" / f"{job}-{site}"


def reachable(bind: str) -> str:
    """Where this machine reaches what listens on `bind`."""
    return "127.0.0.1" if bind == "0.0.0.0" else bind  # noqa: S104 - everywhere, so here too


def find_home() -> Path:
    """The project folder.

    That is `RECTBOT_HOME`, else the current folder or the nearest one above it that has docker/monitoring, else this
    checkout, else the current folder.
    """
    if home := os.environ.get("RECTBOT_HOME"):
        return Path(home).resolve()
    here = Path.cwd()
    checkout = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, checkout):
        if (folder / "docker" / "monitoring").is_dir():
            return folder
    return here


def shift_of(home: Path) -> int:
    """`RECTBOT_PORT_OFFSET` alone, where other settings may be wrong; what is no number counts as unset."""
    name = "RECTBOT_PORT_OFFSET"
    text = os.environ.get(name)
    if not text:
        with suppress(OSError, UnicodeDecodeError):
            text = dotenv_values(home / ".env", encoding="utf-8").get(name)
    return int(text) if text and text.strip().isdecimal() else 0


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings from the environment and `<home>/.env`.

    Raises ConfigError with the file's line, or the variable's name, when a value or a name is wrong.
    """
    home = Path(overrides.pop("rectbot_home", None) or find_home())
    env_file = home / ".env"
    lines = _read_env_file(env_file)
    given = _named(dotenv_values(env_file, encoding="utf-8") if lines else {}) | _named(os.environ)
    return _checked(given | {"rectbot_home": home} | overrides, env_file, lines)


def _named(values: Mapping[str, str | None]) -> dict[str, str]:
    """The settings among these variables, by field; in either case, as the shell of an operator may have them."""
    return {name.lower(): value for name, value in values.items() if value and name.upper() in KNOWN}


def settings_of(values: Mapping[str, str], home: Path) -> Settings:
    """The settings that an env file with these values makes, before there is one. Raises ConfigError."""
    return _checked(_named(values) | {"rectbot_home": home}, home / ".env", {})


def _checked(values: dict[str, Any], env_file: Path, lines: dict[str, int]) -> Settings:
    """`lines` says where in the file each of them stands."""
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, env_file, lines)) from None
    _keep_secret(settings)
    return settings


def _keep_secret(settings: Settings) -> None:
    """Nothing of these is printed from now on."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    known = {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
    secrets = [value for name, value in known.items() if not name.endswith(("_url", "_urls"))]
    urls = [value for name, value in known.items() if name.endswith("_url")]
    urls += [value for value in values.values() if isinstance(value, str) and "://" in value]
    users = [settings.pushgateway_user, settings.loki_user, PUSH_USER, "default", settings.site_id]
    forget()  # a process has one set of settings; those of before are read no more
    know(secrets, [user for user in (*users, *settings.failover_priority) if user], urls, settings.alert_services)


def _read_env_file(path: Path) -> dict[str, int]:
    """Line number of each name in an `.env` file; refuses broken lines and misspelt names."""
    try:
        stream = path.open(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); make it readable for this user") from None
    lines: dict[str, int] = {}
    with stream:
        try:
            bindings = list(parse_stream(stream))
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    for binding in bindings:
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count(
            "\n"
        )  # it counts from the blank lines
        if binding.error or (binding.key is not None and binding.value is None):
            name = text.strip().split("=")[0]
            name = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ]{0,39}", name) else "this line"  # it may be a secret
            raise ConfigError(f"{path}:{line}: cannot read {name[:40]!r}; write NAME=value")
        if binding.key is None:
            continue
        lines[binding.key] = line
        if binding.key not in KNOWN and not binding.key.endswith(_OF_AN_IMAGE) and (close := _meant(binding.key)):
            raise ConfigError(f"{path}:{line}: unknown setting {binding.key}; did you mean {close}?")
    return lines


def _explain(error: ValidationError, env_file: Path, lines: dict[str, int]) -> str:
    """One line for the first wrong value, without the value itself where it is secret."""
    first = error.errors()[0]
    name = str(first["loc"][0]).upper() if first["loc"] else "settings"
    in_file = name in lines and name not in os.environ
    where = f"{env_file}:{lines[name]}" if in_file else "environment"
    secret = any(word in name for word in ("PASSWORD", "TOKEN", "URL", "SECRET", "KEY"))
    given = str(first.get("input"))
    shown = "" if secret or "@" in given else f"={given[:60]!r}"
    return f"{where}: {name}{shown} is wrong: {_wanted(name, first)}; see .env.example"


def _wanted(name: str, mistake: ErrorDetails) -> str:
    """What the value should be; in our words, for pydantic's are for programmers."""
    field = Settings.model_fields.get(name.lower())
    text = _WANTED.get(mistake["type"], "")
    if mistake["type"] == "string_pattern_mismatch" and field is not None and field.description:
        text = field.description
    return text.format(**mistake.get("ctx", {})) or mistake["msg"].removeprefix("Value error, ")
