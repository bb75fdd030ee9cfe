"""A push by way of trial: does one that a site sends now arrive?

It goes the whole way, with TLS, password and the Pushgateway behind the proxy, since a proxy that still shakes hands
may long have ceased to take pushes. What it leaves in the Pushgateway is an empty group of a job that nobody looks at.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from rectbot.settings import Settings

JOB = "push-proxy-check"
TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Trial:
    """What a trial push needs: the password, and the certificate that the proxy must show."""

    user: str
    password: str = field(repr=False)
    certificate: Path

    async def push(self, host: str, port: int) -> int | None:
        """The HTTP status that a push is answered with; None when it is not answered, or not by our proxy."""
        import aiohttp  # noqa: PLC0415 - the doctor at a site needs the name of the job only

        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
            context.check_hostname = False  # it is asked at an address that the certificate need not name
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # tls.crt itself is what is trusted
            auth = aiohttp.BasicAuth(self.user, self.password, "utf-8")
            url = f"https://{host}:{port}/metrics/job/{JOB}"
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.put(url, data=b"", auth=auth, ssl=context, allow_redirects=False) as answer,
            ):
                return answer.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None


def trial_of(settings: Settings) -> Trial | None:
    """A trial with this machine's own password and certificate; None without a password."""
    user, password = settings.push_login
    if password is None:
        return None
    certificate = settings.rectbot_home / "docker/monitoring/tls/tls.crt"
    return Trial(user, password, certificate)
