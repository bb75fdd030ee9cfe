"""From Alertmanager to ALERT_URLS: a process for each notification, so that Apprise and its waits are not the hub's.

It reads a JSON object from standard input: `title`, `text`, and the places in ALERT_URLS where that is `done` already.
It writes one: those where it is done now, and of the others why not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
import time
from typing import Any

from foundation.terminal import one_line
from rectbot.alerts.alertmanager_text import title_and_text
from rectbot.alerts.notifier import deliver
from rectbot.errors import RectbotError

log = logging.getLogger(__name__)
_SECONDS = 30.0  # for the process; Alertmanager would wait longer
_REMEMBERED_SECONDS = 600.0  # so long Alertmanager may try again; later the same again is a reminder


class Relay:
    """What Alertmanager posts to the hub goes on to all services.

    Alertmanager tries again what was not taken everywhere. Then only those that have not got it get it.
    """

    def __init__(self, services: int) -> None:
        self._services = services
        self._done: dict[
            bytes, tuple[float, set[int]]
        ] = {}  # of what is to be tried again: since when, and where it is
        self._one_at_a_time = asyncio.Lock()

    async def take(self, body: bytes) -> tuple[int, str]:
        """An HTTP status, and why: 200 when all have taken it, 502 when it should be tried again."""
        if not self._services:
            return 200, "ALERT_URLS is not set: nobody is told"
        try:
            title, text = title_and_text(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return 400, "this is no notification of Alertmanager"
        key = hashlib.sha256(body).digest()
        async with self._one_at_a_time:
            now = time.monotonic()
            self._done = {each: of for each, of in self._done.items() if now - of[0] < _REMEMBERED_SECONDS}
            since, done = self._done.pop(key, (now, set()))
            answer = await _run({"title": title, "text": text, "done": sorted(done)})
            if not answer["failed"]:
                return 200, "told"
            self._done[key] = since, done | set(answer["done"])
        for line in answer["failed"]:
            log.warning("an alert was not delivered: %s", line)
        return 502, "not all have taken it"


async def _run(order: dict[str, Any]) -> dict[str, Any]:
    command = (sys.executable, "-m", "rectbot.alerts.relay")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate(json.dumps(order).encode())
        answer: dict[str, Any] = json.loads(said)
    except TimeoutError:
        return {"done": [], "failed": [f"no answer within {_SECONDS:.0f} s"]}
    except ValueError:
        return {"done": [], "failed": [f"the relay ended with {process.returncode}"]}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer


def main() -> None:
    """The process."""
    from rectbot.alerts.services import services  # noqa: PLC0415 (the hub does without)
    from rectbot.settings import load_settings  # noqa: PLC0415

    order = json.load(sys.stdin)
    done: set[int] = set(order["done"])
    try:
        to = [each for each in enumerate(services(load_settings())) if each[0] not in done]
    except RectbotError as error:
        failed = [one_line(error)]
    else:
        outcomes = deliver(order["text"], order["title"], [notifier for _, notifier in to])
        done |= {place for (place, _), outcome in zip(to, outcomes, strict=True) if outcome.error is None}
        failed = [one_line(f"{each.name}: {each.error}") for each in outcomes if each.error is not None]
    json.dump({"done": sorted(done), "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()
