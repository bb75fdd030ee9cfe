"""What a site must know to take part in the failover."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from rectbot.errors import ConfigError

_KILL_MARGIN_MS = 20  # from the lease's end as we count it to the last socket closed by the kernel
_MIN_TTL_MS = 500
_MIN_LOGINS = 20
_DAY_MS = 24 * 3_600_000


def new_owner(site: str) -> str:
    """A name for this process that no other process, now or later, has."""
    return f"{site}:{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


@dataclass(frozen=True, slots=True)
class FailoverConfig:
    """One site's part in the failover; all sites must agree on everything but `site` and `owner`.

    `site` is this site's name, or empty for an observer, who reads the state and never takes part.
    `priority` lists the sites, most preferred first. Times are in milliseconds but where the name says otherwise.
    """

    site: str
    priority: tuple[str, ...] = ("xserver", "oci")
    lock_key: str = "rectbot:leader"
    hb_prefix: str = "rectbot:hb:"
    lock_ttl_ms: int = 90_000
    renew_interval_ms: int = 0  # 0: a third of lock_ttl_ms
    hb_ttl_sec: float = 90  # how long operators see a heartbeat; it is fresh for lock_ttl_ms only
    failback_delay_sec: float = 30
    failback_max_sec: float = 3_600  # repeated losses of the lead make the failback wait longer, up to this
    login_budget: int = 500  # logins of all sites in any 24 hours; Discord resets a bot's token after 1,000
    stop_timeout_ms: int = 0  # what a workload gets to stop in; 0: a quarter of lock_ttl_ms, at most 10 s
    sit_out_ms: int = 5_000  # after a workload failed; doubles with each failure in a row
    sit_out_max_ms: int = 300_000
    owner: str = field(default="")

    def __post_init__(self) -> None:
        fill = object.__setattr__  # frozen: only defaults that depend on other fields are set here
        if not self.owner:
            fill(self, "owner", new_owner(self.site or "observer"))
        if not self.renew_interval_ms:
            fill(self, "renew_interval_ms", self.lock_ttl_ms // 3)
        if not self.stop_timeout_ms:
            fill(self, "stop_timeout_ms", min(10_000, self.lock_ttl_ms // 4))

    @property
    def lease_ms(self) -> int:
        """How long a lease may be used, counted from before its request was worked out.

        2 % less than others watch the lock before they take it, as the rate of each clock may be 1 % off: see rules.py.
        """
        return self.lock_ttl_ms * 98 // 100 - _KILL_MARGIN_MS

    @property
    def patience_ms(self) -> int:
        """How long one answer of the store may take. A leader whose answers take a quarter of the TTL goes on."""
        return max(self.renew_interval_ms, self.lock_ttl_ms // 3)

    @property
    def retry_ms(self) -> int:
        """Pause after a request that failed."""
        return min(1_000, max(20, self.renew_interval_ms // 4))

    @property
    def reserve_ms(self) -> int:
        """How long a released lock is kept for the site that it is handed to."""
        return min(5_000, self.lock_ttl_ms // 2)

    @property
    def failback_ms(self) -> int:
        return round(self.failback_delay_sec * 1000)

    @property
    def damping_ms(self) -> int:
        """How long a site that lost its lead twice leaves the lead to others; doubles with each further loss."""
        return max(2_000, 2 * self.failback_ms)

    @property
    def damping_max_ms(self) -> int:
        return round(self.failback_max_sec * 1000)

    @property
    def login_burst(self) -> int:
        """Logins that may follow each other at once: half of the budget, as the other half comes back in 24 hours."""
        return self.login_budget // 2

    @property
    def login_ms(self) -> int:
        """In which time one login comes back."""
        return -(-_DAY_MS // (self.login_budget - self.login_burst))

    @property
    def preferred(self) -> tuple[str, ...]:
        """The sites that go before this one, most preferred first."""
        return self.priority[: self.priority.index(self.site)]

    @property
    def record_key(self) -> str:
        """Of the record in Redis: one at which earlier versions had a hash. See stores/redis/register.py."""
        return f"{self.lock_key}:epoch"

    @property
    def channel(self) -> str:
        return f"{self.lock_key}:changed"

    @property
    def events_key(self) -> str:
        """`rectbot:events` for the lock `rectbot:leader`."""
        return f"{self.lock_key.removesuffix(':leader')}:events"

    def heartbeat_key(self, site: str) -> str:
        return f"{self.hb_prefix}{site}"

    def validate(self) -> FailoverConfig:
        """Returns itself. Raises ConfigError with the rule that a combination of settings breaks."""
        order = ",".join(self.priority)
        if self.site not in self.priority:
            raise ConfigError(
                f"SITE_ID={self.site} is not in FAILOVER_PRIORITY={order}: add it there or correct it"
                if self.site
                else f"SITE_ID is not set: name this site, one of FAILOVER_PRIORITY={order}"
            )
        if self.lock_ttl_ms < _MIN_TTL_MS:
            raise ConfigError(f"LOCK_TTL_MS={self.lock_ttl_ms} is too short: it must be at least {_MIN_TTL_MS}")
        usable = self.lease_ms - self.stop_timeout_ms
        if 2 * self.renew_interval_ms > usable:
            raise ConfigError(
                f"RENEW_INTERVAL_MS={self.renew_interval_ms} is too long: two renewals must fit into LOCK_TTL_MS="
                f"{self.lock_ttl_ms} less 2 % and STOP_TIMEOUT_MS={self.stop_timeout_ms}, so at most"
                f" {max(usable // 2, 0)}; shorten it or STOP_TIMEOUT_MS, or lengthen LOCK_TTL_MS"
            )
        if self.hb_ttl_sec * 1000 < self.lock_ttl_ms:
            raise ConfigError(
                f"HB_TTL_SEC={self.hb_ttl_sec:g} is too short: a heartbeat must live as long as the lock,"
                f" LOCK_TTL_MS={self.lock_ttl_ms}"
            )
        if self.failback_max_sec < self.failback_delay_sec:
            raise ConfigError(
                f"FAILBACK_MAX_SEC={self.failback_max_sec:g} is too short:"
                f" it must be at least FAILBACK_DELAY_SEC={self.failback_delay_sec:g}"
            )
        if self.login_budget < _MIN_LOGINS:
            raise ConfigError(f"LOGIN_BUDGET={self.login_budget} is too small: allow {_MIN_LOGINS} in 24 h at least")
        return self


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What is known about a program that runs under the lease. Times are in seconds."""

    ready_file: str = ""  # the program makes this file when it serves; without one it serves from its start
    ready_timeout: float = 60
    health_cmd: str = ""  # a shell command that succeeds while the program serves
    health_interval: float = 10  # between two checks, and for one of them at most
    restarts: int = 3  # in a row, before the site gives up the lead
    backoff: float = 1  # before the first restart; doubles with each further one
    contain: bool = True  # in a PID namespace, where the kernel allows that
    warm: bool = False  # the program is started before the lease, and waits for it on its line
    tells: bool = False  # it says on its line that it serves, logs in, and why it ends; as our own bot does
    silence_limit: float = 60  # after so long without a word such a program is taken for dead
    stop_s: float = 10  # how long a stop may take; told to the program
