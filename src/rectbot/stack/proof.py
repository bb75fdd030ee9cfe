"""How nginx tells a push with the right password from a guess, without the slow check of bcrypt; and what is whose job.

Guesses are few a second, pushes need not wait for them (limit_req in nginx.conf). Whether the password is right is for
bcrypt to say all the same, so this is no second way in; and the digest of a password that `init` has made is as hard to
invert as that password is to guess.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

_PREFIX = "rectbot push "


def render(
    user: str,
    password: str,
    sites: Mapping[str, str] | None = None,
    jobs: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The text of proof.conf, for ngx_http_secure_link_module: what a request of each login says, digested.

    `user` is this host itself, who may push under any job. `sites` are the passwords of sites that log in as
    themselves: each pushes under its own `jobs` only, or SITE-bot where it has none.
    """
    sites = sites or {}
    proofs = [f"    {_user(name)} {_proof(name, secret)};\n" for name, secret in {**sites, user: password}.items()]
    others = [line for name in sites if name != user for line in _confined(name, (jobs or {}).get(name, ()))]
    return (
        f'map $remote_user $push_proof {{\n    default "";\n{"".join(proofs)}}}\n'
        f'map "$remote_user $uri" $anothers_job {{\n    default "";\n{"".join(others)}}}\n'
        f'secure_link $push_proof;\nsecure_link_md5 "{_PREFIX}$http_authorization";\n'
    )


def _proof(user: str, password: str) -> str:
    header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    digest = hashlib.md5(f"{_PREFIX}{header}".encode(), usedforsecurity=False).digest()
    return f'"{base64.urlsafe_b64encode(digest).decode().rstrip("=")}"'


def _confined(site: str, jobs: Sequence[str]) -> list[str]:
    own = "|".join(map(re.escape, jobs or (f"{site}-bot",)))
    return [
        f'    {_quoted(f"~^{re.escape(site)} /metrics/job/(?:{own})(?:/|$)")} "";\n',
        f"    {_quoted(f'~^{re.escape(site)} /metrics/')} 1;\n",
    ]


def _user(name: str) -> str:
    """A pattern, for plain words nginx compares without regard to case."""
    return _quoted(rf"~^{re.escape(name)}\z")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
