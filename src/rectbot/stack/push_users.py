"""Who may push: this host, and each site that was invited, with a password of its own (PUSHGATEWAY_PASSWORDS)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bcrypt

from rectbot.errors import ConfigError
from rectbot.lists import join_logins, parse_jobs, parse_logins
from rectbot.settings import PUSH_USER
from rectbot.stack import proof
from rectbot.stack.env_file import Values, new_password, sites_of
from rectbot.stack.layout import read_text, write_private

NAMES = ("PUSHGATEWAY_USER", "PUSHGATEWAY_PASSWORD", "PUSHGATEWAY_PASSWORDS", "PUSH_JOBS", "FAILOVER_PRIORITY")
_BCRYPT_ROUNDS = 10  # about 50 ms for each push: nginx computes it in its event loop
BESIDE = "hub"  # as whom this host pushes where a line of htpasswd that was made by hand has its usual name


def own(values: Values) -> str:
    """As whom this host pushes."""
    return values.get("PUSHGATEWAY_USER") or PUSH_USER


def of_sites(values: Values) -> dict[str, str]:
    """The passwords of sites, by site. Raises ConfigError for another form, and for a site that has our own name."""
    try:
        found = parse_logins(values.get("PUSHGATEWAY_PASSWORDS") or "")
    except ValueError as error:
        raise ConfigError(f"PUSHGATEWAY_PASSWORDS is wrong: {error}; or empty it, and invite each site again") from None
    if own(values) in found:
        raise ConfigError(f"PUSHGATEWAY_PASSWORDS names {own(values)}, which is this host: rename that site")
    return found


def jobs(values: Values) -> dict[str, tuple[str, ...]]:
    """Under which jobs sites push, by site. Raises ConfigError."""
    try:
        return parse_jobs(values.get("PUSH_JOBS") or "", sites_of(values))
    except ValueError as error:
        raise ConfigError(f"PUSH_JOBS is wrong: {error}") from None


def job_of(values: Values, site: str) -> str:
    """The job under which a site pushes, or would."""
    return jobs(values).get(site, (f"{site}-bot",))[0]


def renewed(values: Values, *sites: str) -> dict[str, str]:
    """What an env file is to be given, so that these sites have new passwords, and a job each. Raises ConfigError."""
    known = of_sites(values) | {site: new_password() for site in sites}
    expected = jobs(values)
    listed = [f"{site}:{job}" for site, names in expected.items() for job in names]
    listed += [f"{site}:{site}-bot" for site in sites if site not in expected]
    made = {"PUSHGATEWAY_PASSWORDS": join_logins(known)}
    if any(site not in expected for site in sites):
        made["PUSH_JOBS"] = ",".join(listed)
    jobs({**values, **made})
    of_sites({**values, **made})
    return made


def render_proof(values: Values) -> str:
    """The text of proof.conf for nginx."""
    return proof.render(own(values), values.get("PUSHGATEWAY_PASSWORD") or "", of_sites(values), jobs(values))


def write_htpasswd(path: Path, values: Values, *, anew: bool) -> Iterator[str]:
    """Keeps htpasswd in step with the passwords in .env, so that editing .env and running init again is enough.

    A line that somebody has written by hand for another user stays, unless it is made `anew`. Yields a line when the
    file was written.
    """
    there = path.exists()
    wanted = {own(values): values.get("PUSHGATEWAY_PASSWORD") or "", **of_sites(values)}
    lines = lines_of(read_text(path, "make it readable for this user")) if there else {}
    gone = {site for site in sites_of(values) if site not in wanted and site in lines}
    right = {user for user, secret in wanted.items() if _matches(lines.get(user, ""), secret)}
    if there and right == wanted.keys() and not gone:
        return
    renamed = set() if own(values) == BESIDE else {PUSH_USER}
    kept = {} if anew else {user: digest for user, digest in lines.items() if user not in {*gone, *wanted, *renamed}}
    digests = {user: lines[user] if user in right else _digest(secret) for user, secret in wanted.items()}
    write_private(path, "".join(f"{user}:{digest}\n" for user, digest in (digests | kept).items()))
    yield f"{'replaced' if there else 'wrote'} {path} (user {', '.join(digests | kept)}, bcrypt)"


def made_by_hand(path: Path, values: Values) -> bool:
    """Whether somebody has made htpasswd before `init` did: it admits us with a password that nobody has told us."""
    if values.get("PUSHGATEWAY_PASSWORD") or not path.exists():
        return False
    return own(values) in lines_of(read_text(path, "make it readable for this user"))


def admits(text: str, user: str, password: str) -> bool:
    """True when this htpasswd file's text lets the user in with the password."""
    return _matches(lines_of(text).get(user, ""), password)


def lines_of(text: str) -> dict[str, str]:
    """The hashes by user; nginx takes the first of a user."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        user, colon, digest = line.partition(":")
        if colon and not user.startswith("#"):
            found.setdefault(user, digest.strip())
    return found


def _matches(digest: str, password: str) -> bool:
    try:
        return bool(digest) and bcrypt.checkpw(password.encode(), digest.encode())
    except ValueError:
        return False


def _digest(password: str) -> str:
    """nginx asks libcrypt, which knows bcrypt as $2b$ and $2y$; htpasswd(1) writes $2y$."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS)).decode().replace("$2b$", "$2y$", 1)
