"""How nginx tells a push with the right password from a guess, without the slow check of bcrypt.

Guesses are few a second, pushes need not wait for them (limit_req in nginx.conf). Whether the password is right is for
bcrypt to say all the same, so this is no second way in; and the digest of a password that `init` has made is as hard to
invert as that password is to guess.
"""

from __future__ import annotations

import base64
import hashlib

PUSH_USER = "prom"
_PREFIX = "rectbot push "


def render(user: str, password: str) -> str:
    """The text of proof.conf, for ngx_http_secure_link_module: what a request with this password says, digested."""
    header = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    digest = hashlib.md5(f"{_PREFIX}{header}".encode(), usedforsecurity=False).digest()
    value = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f'secure_link "{value}";\nsecure_link_md5 "{_PREFIX}$http_authorization";\n'
