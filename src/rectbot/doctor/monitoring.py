"""Whether the operator would be told: pushes, Prometheus, Alertmanager, the webhook."""

from __future__ import annotations

import re
import time
from typing import Any

import yaml

from rectbot.alerts.webhook import shown, webhook_url
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Verdict, fail, ok, warn
from rectbot.errors import ConfigError
from rectbot.push.ages import MISSING_SECONDS, STALE_SECONDS, push_times
from rectbot.samples import samples
from rectbot.stack.components import alert_webhook


def somebody_leads(subject: Subject) -> Verdict:
    """One site holds the lease."""
    text = subject.get(f"{subject.hub_url}/metrics").data.decode()
    if not any(sample.value for sample in samples(text, "rectbot_redis_up")):
        return fail("the hub cannot read the lease's store", "'rectbot logs hub' says why")
    leaders = [sample.labels["site"] for sample in samples(text, "rectbot_failover_leader") if sample.value]
    if not leaders:
        return fail("no site leads: no bot is online", "'rectbot failover status' says why")
    preferred = subject.settings.failover_priority[0]
    if leaders != [preferred]:
        return warn(f"{leaders[0]} leads, and {preferred} is preferred", "'rectbot failover status' says why")
    return ok(f"{preferred} leads")


def pushes_arrive(subject: Subject) -> Verdict:
    """The last push of each job is young."""
    text = subject.get(subject.url("pushgateway") + "/metrics").data.decode()
    ages = {job: time.time() - then for job, then in push_times(text).items()}
    mend = "run scripts/prometheus-push.sh on that host: it says what is wrong"
    expected = [job for jobs in subject.settings.jobs.values() for job in jobs]
    if missing := [job for job in expected if job not in ages]:
        many = "jobs" if len(missing) > 1 else "job"
        return fail(f"the {many} {', '.join(missing)} {'have' if missing[1:] else 'has'} never pushed", mend)
    told = ", ".join(f"{job} {age:.0f} s ago" for job, age in sorted(ages.items()))
    oldest = max(ages.values())
    if oldest > MISSING_SECONDS:
        return fail(f"last pushes: {told}", f"{mend}; a job that is no more: delete it in the Pushgateway")
    if oldest > STALE_SECONDS:
        return warn(f"last pushes: {told}", mend)
    return ok(f"last pushes: {told}")


def targets_are_up(subject: Subject) -> Verdict:
    """Prometheus scrapes every part that the configuration names and that runs here."""
    active = subject.get_json("prometheus", "/api/v1/targets?state=active")["data"]["activeTargets"]
    health = {target["labels"]["job"]: target for target in active}
    wanted = {"prometheus", "pushgateway", "alertmanager", "hub"} | ({"loki"} & subject.containers.keys())
    missing = sorted(wanted - health.keys())
    down = [f"{job} ({target['lastError']})" for job, target in sorted(health.items()) if target["health"] == "down"]
    if missing:
        return fail(f"Prometheus has no target for {', '.join(missing)}", "restore prometheus/targets, and restart it")
    if down:
        return fail(f"Prometheus cannot scrape {', '.join(down)}", "start what is down; its log says why it is")
    return ok(f"{len(active)} targets are up: {', '.join(sorted(health))}")


def rules_are_loaded(subject: Subject) -> Verdict:
    """Every alert in the rule files is loaded as it stands there, and can be evaluated."""
    groups = subject.get_json("prometheus", "/api/v1/rules?type=alert")["data"]["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
    files = sorted((subject.layout.monitoring / "prometheus" / "alerts").glob("*.yml"))
    named = [rule for file in files for rule in _rules(yaml.safe_load(file.read_text(encoding="utf-8")))]
    restart = "promtool check config docker/monitoring/prometheus/prometheus.yml, then restart Prometheus"
    missing = [rule["alert"] for rule in named if rule["alert"] not in loaded]
    if not named or missing:
        return fail(f"rules that Prometheus has not loaded: {', '.join(missing) or 'all'}", restart)
    broken = [name for name, rule in sorted(loaded.items()) if rule["health"] == "err"]
    if broken:
        return fail(f"rules that cannot be evaluated: {', '.join(broken)}", restart)
    return ok(f"{len(named)} alerts are loaded")


def _rules(file: Any) -> list[dict[str, Any]]:
    groups = file.get("groups", []) if isinstance(file, dict) else []
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def alerts_are_handed_on(subject: Subject) -> Verdict:
    """Prometheus knows an Alertmanager, whose configuration is the committed one and tells Discord."""
    active = subject.get_json("prometheus", "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    if not active:
        return fail("Prometheus knows no Alertmanager", "restore prometheus/targets/alertmanager.yml")
    running = yaml.safe_load(subject.get_json("alertmanager", "/api/v2/status")["config"]["original"])
    path = subject.layout.monitoring / "alertmanager" / "alertmanager.yml"
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    for part in ("route", "inhibit_rules"):
        if not _holds(running.get(part), written.get(part)):
            return fail(f"Alertmanager runs with another {part} than {path.name}", "restart Alertmanager")
    if any(name == "discord" and receiver.get("discord_configs") for name, receiver in _receivers(running).items()):
        return ok("Prometheus hands alerts to Alertmanager, and Alertmanager to Discord")
    return warn("alerts are shown, and sent nowhere", "set DISCORD_ALERT_WEBHOOK_URL in .env, and restart")


def _receivers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {receiver["name"]: receiver for receiver in config["receivers"]}


def _holds(running: Any, written: Any) -> bool:
    """Whether Alertmanager runs with what is written: it prints defaults as well, and matchers in other words."""
    if isinstance(written, dict):
        return isinstance(running, dict) and all(_holds(running.get(key), value) for key, value in written.items())
    if isinstance(written, list):
        return isinstance(running, list) and len(running) == len(written) and all(map(_holds, running, written))
    return _bare(running) == _bare(written)


def _bare(value: Any) -> str:
    return re.sub(r"[\s\"']", "", str(value))


def _services_are_usable(subject: Subject) -> Verdict:
    """Nothing is sent to them, so nothing is known of the other end."""
    from rectbot.alerts.services import services  # noqa: PLC0415 (Apprise is large, and seldom there)

    try:
        count = len(services(subject.settings))
    except ConfigError as error:
        return fail(str(error), "correct it in .env, run 'rectbot init', and restart")
    return ok(f"ALERT_URLS names {count}, in good form; 'rectbot alert --test' tries each")


def the_webhook_is_there(subject: Subject) -> Verdict:
    """Discord knows the webhook; nothing is sent to it."""
    settings = subject.settings
    local = alert_webhook(settings) if subject.engine is Engine.NATIVE else None
    if settings.discord_alert_webhook_url is None:
        if settings.alert_services:
            return _services_are_usable(subject)
        if local is None:
            return warn(
                "neither DISCORD_ALERT_WEBHOOK_URL nor ALERT_URLS is set: nobody is told",
                "set one in .env, and restart",
            )
        address, name = local, "the local Discord's webhook"
    else:
        try:
            url = webhook_url(settings)
        except ConfigError as error:
            return fail(str(error), "correct it in .env, run 'rectbot init', and restart")
        address, name = url.url, shown(url)
    status = subject.get(address).status
    if status == 200:
        return ok(f"{name} is there")
    if status == 429 or status >= 500:
        return warn(f"{name} answers {status} just now", "ask again later")
    return fail(
        f"{name} answers {status}: it was deleted, or its URL is wrong", "make a new one, put its URL into .env"
    )
