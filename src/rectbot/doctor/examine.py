"""Which promises are checked where, and how the findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from foundation.terminal import as_json as to_json
from foundation.terminal import one_line
from rectbot.doctor import disk, exposure, files, lease, monitoring, proxy, rights, site, store
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Result, Verdict, fail
from rectbot.errors import ConfigError, RectbotError
from rectbot.settings import Settings

Check = Callable[[Subject], Verdict]

STACK: dict[str, Check] = {
    "addresses": exposure.addresses,
    "proxy-tls": proxy.refuses_plain_text,
    "proxy-password": proxy.refuses_without_password,
    "proxy-address": proxy.refuses_outsiders,
    "allowlist": files.who_may_push,
    "certificate": proxy.certificate_is_good,
    "htpasswd": files.bcrypt_cost,
    "disk": disk.has_room,
    "file-modes": files.file_modes,
    "passwords": files.passwords,
    "redis-password": store.asks_for_a_password,
    "redis-rights": rights.least_rights,
    "redis-data": store.keeps_its_data,
    "clock": store.agrees_on_the_time,
    "leader": monitoring.somebody_leads,
    "push": monitoring.pushes_arrive,
    "targets": monitoring.targets_are_up,
    "rules": monitoring.rules_are_loaded,
    "alertmanager": monitoring.alerts_are_handed_on,
    "webhook": monitoring.the_webhook_is_there,
    "dashboard": exposure.dashboard_needs_a_login,
    "console": exposure.console_is_guarded,
    "tunnel": exposure.tunnel_shows_the_dashboard_only,
    "versions": exposure.versions,
}
SITE: dict[str, Check] = {
    "failover": site.runs_under_the_lease,
    "bot": site.bot_runs,
    "start": site.something_starts_it,
    "token": site.token_is_good,
    "lease": lease.answers,
    "timing": site.same_timing,
    "containment": site.what_contains_it,
    "log": site.log_has_a_way,
    "log-secrets": site.secrets_stay_out_of_the_log,
    "disk": disk.has_room,
    "file-modes": files.file_modes,
    "passwords": files.passwords,
    "redis-password": store.asks_for_a_password,
    "redis-rights": rights.least_rights,
    "clock": store.agrees_on_the_time,
    "push": proxy.push_would_arrive,
    "pushed": site.pushed_lately,
    "webhook": monitoring.the_webhook_is_there,
}
_MOUNTS: dict[str, Check] = {"mounts": files.containers_can_read}
FILES = (
    {"failover": site.runs_under_the_lease}
    | _MOUNTS
    | {
        name: STACK[name]
        for name in ("disk", "allowlist", "htpasswd", "file-modes", "passwords", "dashboard", "tunnel")
    }
)
CHECKS = {Engine.NATIVE: STACK, Engine.COMPOSE: STACK | _MOUNTS, Engine.SITE: SITE, Engine.NONE: FILES}
_REDIS = (store.asks_for_a_password, rights.least_rights, store.keeps_its_data, store.agrees_on_the_time)
_STYLES: dict[Result, dict[str, Any]] = {
    Result.PASS: {"fg": "green"},
    Result.WARN: {"fg": "yellow"},
    Result.FAIL: {"fg": "red", "bold": True},
}


def examine(settings: Settings, *, as_json: bool) -> int:
    """Prints a verdict for each promise; returns 1 when one is broken, else 0."""
    subject = Subject.of(settings)
    verdicts: dict[str, Verdict] = {}
    for name, verdict in run(subject):
        verdicts[name] = verdict
        if not as_json:
            _print(name, verdict)
    result = max(verdict.result for verdict in verdicts.values())
    if as_json:
        click.echo(to_json(report(subject.engine, verdicts), indent=2))
    else:
        counts = ", ".join(f"{sum(v.result is each for v in verdicts.values())} {each.name}" for each in Result)
        click.echo(f"\n{subject.engine.value}: {counts}")
    return 1 if result is Result.FAIL else 0


def run(subject: Subject) -> Iterator[tuple[str, Verdict]]:
    """Each check's name and verdict, in order. What cannot be asked is a FAIL: nobody knows."""
    if subject.engine is Engine.NONE:
        mend = "start it with 'rectbot up' or docker compose; at a site set SITE_ID and PUSHGATEWAY_URL"
        yield "stack", fail("no stack runs here", mend)
    for name, check in _checks(subject).items():
        try:
            yield name, check(subject)
        except ConfigError as error:
            yield name, fail(str(error), "mend that, or restart what has not seen it change")
        except RectbotError as error:
            yield name, fail(str(error), "start what does not answer, then ask again")


def _checks(subject: Subject) -> dict[str, Check]:
    """Where the lease is elsewhere that store is asked, and no Redis: only Compose has one all the same."""
    checks = CHECKS[subject.engine]
    if subject.engine is Engine.SITE:
        elsewhere = not lease.is_in_redis(subject.settings)
    else:
        elsewhere = subject.engine is not Engine.NONE and not lease.is_in_the_stack(subject.settings)
        checks = checks | ({"lease": lease.answers} if elsewhere else {})
    if elsewhere and subject.engine is not Engine.COMPOSE:
        return {name: check for name, check in checks.items() if check not in _REDIS}
    return checks


def report(engine: Engine, verdicts: dict[str, Verdict]) -> dict[str, object]:
    """The documented JSON."""
    return {
        "engine": engine.value,
        "result": max(verdict.result for verdict in verdicts.values()).name,
        "checks": [
            {"name": name, "result": verdict.result.name, "found": verdict.found, "mend": verdict.mend}
            for name, verdict in verdicts.items()
        ],
    }


def _print(name: str, verdict: Verdict) -> None:
    click.echo(f"{click.style(verdict.result.name, **_STYLES[verdict.result])}  {name:<15} {one_line(verdict.found)}")
    if verdict.mend:
        click.secho(f"      {'':<15} mend: {one_line(verdict.mend)}", dim=True)
