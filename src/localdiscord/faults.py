"""How the local Discord misbehaves on request.

`POST /control` takes a JSON object with the fields of Control; `GET /control` shows what is in force.
An unknown field or a wrong type is refused with 400.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SITE_FAULTS = ("refuse_logins", "invalid_token", "delay_ms", "ack_heartbeats", "hang_up")


class Strict(BaseModel):
    """A JSON body whose every field is known and of the right type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class DropSockets(Strict):
    """Which sockets to close, and how."""

    site: str | None = Field(default=None, description="the sockets of one site; null: of every site")
    code: int = Field(default=1006, description="1000-1014 or 4000-4014 with a close frame; 1006: cut without one")

    @field_validator("code")
    @classmethod
    def _check_code(cls, code: int) -> int:
        # RFC 6455, section 7.4.1: 1004 and 1005 are reserved and never sent.
        if code not in {*range(1000, 1015), *range(4000, 4015)} - {1004, 1005}:
            raise ValueError("a close code is 1000-1014 or 4000-4014")
        return code


class Aim(Strict):
    """Which sessions an action is for."""

    site: str | None = Field(default=None, description="the sessions of one site; null: of every site")


class InvalidSession(Aim):
    """An INVALID_SESSION for live sessions."""

    resumable: bool = Field(default=False, description="the `d` of op 9: whether the client may resume")


class WebhookFail(Strict):
    """The next webhook executions fail."""

    status: Literal[400, 401, 403, 404, 429, 500, 502, 503] = Field(description="the HTTP status to answer with")
    times: int = Field(default=1, ge=1, description="how many executions fail")
    retry_after: float = Field(default=1.0, ge=0, description="seconds, told to the client with a 429")


class Control(Strict):
    """A request to misbehave: faults stay in force until they are taken back, actions happen once."""

    site: str | None = Field(
        default=None, description="limits the faults of this request to one site; null: every site"
    )

    refuse_logins: bool | None = Field(
        default=None, description="fault: Discord is out: REST answers 503, IDENTIFY is closed with 4000"
    )
    invalid_token: bool | None = Field(
        default=None, description="fault: the token is wrong: REST answers 401, IDENTIFY 4004"
    )
    delay_ms: float | None = Field(
        default=None, ge=0, le=60_000, description="fault: every answer is late by so many milliseconds"
    )
    ack_heartbeats: bool | None = Field(
        default=None, description="fault when false: heartbeats get no ACK, as on a dead link"
    )

    hang_up: Literal["open", "hello", "login"] | None = Field(
        default=None,
        description="fault: the gateway closes new sockets with 4000: at once, after HELLO, or at IDENTIFY and RESUME",
    )

    heartbeat_interval_ms: int | None = Field(
        default=None, ge=50, description="told to new connections; Discord's is 41250"
    )
    privileged_intents: bool | None = Field(
        default=None, description="whether presences, members and message content are allowed"
    )
    identify_limit: int | None = Field(
        default=None, ge=0, description="IDENTIFYs left in 24 hours from now on; the token is good again"
    )
    identify_window_s: float | None = Field(
        default=None, ge=0, description="one IDENTIFY in so many seconds, else INVALID_SESSION; Discord's is 5"
    )
    webhook_fail: WebhookFail | None = Field(
        default=None, description="the next webhook executions fail; null: no more"
    )

    drop_sockets: DropSockets | None = Field(default=None, description="action: closes gateway sockets")
    reconnect: Aim | Literal[True] | None = Field(default=None, description="action: sends RECONNECT (op 7)")
    invalid_session: InvalidSession | Literal[True] | None = Field(
        default=None, description="action: sends INVALID_SESSION (op 9)"
    )


@dataclass
class SiteFaults:
    """The faults in force for one site."""

    refuse_logins: bool = False
    invalid_token: bool = False
    delay_ms: float = 0
    ack_heartbeats: bool = True
    hang_up: str | None = None


@dataclass
class Faults:
    """The faults in force: for every site, and over these for single sites."""

    general: SiteFaults = field(default_factory=SiteFaults)
    by_site: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, site: str | None) -> SiteFaults:
        """What a client of this site meets."""
        return SiteFaults(**{**asdict(self.general), **self.by_site.get(site or "", {})})

    def apply(self, control: Control) -> None:
        """Takes the faults of a request over. A fault for every site replaces what single sites had."""
        for name in control.model_fields_set.intersection(SITE_FAULTS):
            value = getattr(control, name)
            if value is None:
                value = getattr(SiteFaults(), name)
            if control.site is not None:
                self.by_site.setdefault(control.site, {})[name] = value
                continue
            setattr(self.general, name, value)
            for faults in self.by_site.values():
                faults.pop(name, None)

    def describe(self) -> dict[str, Any]:
        return {**asdict(self.general), "sites": {site: faults for site, faults in self.by_site.items() if faults}}
