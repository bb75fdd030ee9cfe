"""`rectbot push --forget JOB`: a Pushgateway keeps what was pushed for ever, also of a job that was a mistake."""

from __future__ import annotations

import base64

import urllib3
from urllib3.exceptions import HTTPError

from rectbot.errors import ConfigError, RectbotError
from rectbot.pool import Pool
from rectbot.settings import Settings

_SECONDS = 5.0


def forget(settings: Settings, job: str) -> str:
    """Deletes all groups of the job at this host's Pushgateway, past the push proxy, which lets nobody delete.

    Returns what was done. Raises ConfigError when there is no such job, RectbotError when nobody answers.
    """
    here = f"http://127.0.0.1:{settings.port('pushgateway')}"
    with Pool(timeout=urllib3.Timeout(total=_SECONDS), retries=False) as pool:
        found = [group["labels"] for group in _ask(pool, "GET", f"{here}/api/v1/metrics").json()["data"]]
        groups = [labels for labels in found if labels.get("job") == job]
        if not groups:
            known = ", ".join(sorted({labels.get("job", "") for labels in found}))
            raise ConfigError(f"no job {job!r} was pushed here; there is {known or 'none'}")
        for labels in groups:
            path = _part("job", job) + "".join(_part(name, labels[name]) for name in sorted(labels) if name != "job")
            _ask(pool, "DELETE", f"{here}/metrics{path}")
    return f"{job} is forgotten ({len(groups)} {'group' if len(groups) == 1 else 'groups'})"


def _part(name: str, value: str) -> str:
    coded = base64.urlsafe_b64encode(value.encode()).decode() or "="
    return f"/{name}@base64/{coded}"


def _ask(pool: urllib3.PoolManager, method: str, url: str) -> urllib3.BaseHTTPResponse:
    try:
        answer = pool.request(method, url)
    except HTTPError:
        raise RectbotError("no Pushgateway answers on this machine: run this on the stack's host") from None
    if answer.status >= 300:
        raise RectbotError(f"the Pushgateway answers {answer.status} to {method}")
    return answer
