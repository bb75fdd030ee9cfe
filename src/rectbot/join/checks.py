"""What a host must have in order to be the site of an invitation; asked before anything is written."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from urllib3.exceptions import HTTPError

from foundation.terminal import one_line
from rectbot import __version__
from rectbot.doctor import lease, monitoring, proxy, site
from rectbot.doctor.store import FAIL_CLOCK_SECONDS, WARN_CLOCK_SECONDS
from rectbot.doctor.subject import Engine, Subject
from rectbot.doctor.verdict import Result, Verdict, fail, ok, warn
from rectbot.errors import RectbotError
from rectbot.pool import Pool
from rectbot.push.send import TIMEOUT_SECONDS
from rectbot.push.target import target_of
from rectbot.settings import Settings
from rectbot.stack.invitation import Header
from rectbot.stack.layout import Layout
from rectbot.turned_away import turned_away

_WHATEVER_THE_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the clock is what is in question


def look(settings: Settings, header: Header, say: Callable[[str], None]) -> list[str]:
    """Says a line for each check, and how to mend what is wrong; returns the names of those that failed."""
    subject = Subject(settings, Layout.of(settings), Engine.SITE)
    checks: dict[str, Callable[[Subject], Verdict]] = {
        "version": lambda _: _same_version(header),
        "clock": _clock,
        "store": lease.answers,
        "push": proxy.push_would_arrive,
        "log": site.log_has_a_way,
        "token": _token,
        "webhook": monitoring.the_webhook_is_there,
    }
    failed = []
    for name, check in checks.items():
        try:
            verdict = check(subject)
        except RectbotError as error:
            verdict = fail(str(error), "start what does not answer, and let this host through its firewall")
        say(f"join: {verdict.result.name}  {name:<8} {one_line(verdict.found)}")
        if verdict.mend:
            say(f"join:       {'':<8} mend: {one_line(verdict.mend)}")
        if verdict.result is Result.FAIL:
            failed.append(name)
            if name == "clock":
                break  # what follows would fail for that reason, and say another
    return failed


def _same_version(header: Header) -> Verdict:
    if header.by == __version__:
        return ok(f"both hosts have rectbot {__version__}")
    return warn(f"the monitoring host has rectbot {header.by[:40]}, this host {__version__}", "update the older one")


def _clock(subject: Subject) -> Verdict:
    """This host's clock and the monitoring host's show the same: certificates and pushes need that."""
    target = target_of(subject.settings)
    if target.tls is not None:
        target.tls.verify_flags |= _WHATEVER_THE_TIME
    url = target.url._replace(path="/").url
    before = time.time()
    try:
        with Pool(ssl_context=target.tls, retries=False, timeout=TIMEOUT_SECONDS) as pool:
            told = pool.request("GET", url, redirect=False).headers.get("Date", "")
        there = parsedate_to_datetime(told).timestamp()
    except HTTPError as error:
        if turned_away(error):
            mend = "on the monitoring host: rectbot invite SITE --allow ADDRESS-OF-THIS-HOST, or rectbot init --allow"
            return fail(f"{url}: this host's address is not allowed", mend)
        reason = "its certificate is another" if isinstance(error.__cause__, ssl.SSLError) else "it does not answer"
        return fail(f"unknown: {url} cannot be asked: {reason}", "is it up, and open in its firewall for this host?")
    except ValueError:
        return fail(f"unknown: {url} does not tell the time", "is it our push proxy that listens there?")
    apart = (before + time.time()) / 2 - there
    found = f"this host's clock is {_span(apart)} {'ahead of' if apart > 0 else 'behind'} the monitoring host's"
    mend = "let NTP set both clocks: timedatectl set-ntp true"
    if abs(apart) > FAIL_CLOCK_SECONDS:
        return fail(found, mend)
    return warn(found, mend) if abs(apart) > WARN_CLOCK_SECONDS + 1 else ok("it agrees with the monitoring host's")


def _span(seconds: float) -> str:
    seconds = abs(seconds)
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def _token(subject: Subject) -> Verdict:
    if subject.settings.discord_bot_token is None:
        mend = "put DISCORD_BOT_TOKEN into .env for our bot; a program of your own brings its own"
        return warn("none came with the invitation", mend)
    return site.token_is_good(subject)
