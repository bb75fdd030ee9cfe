"""The line that takes a site's settings to its host: `rbi1.HEADER.BODY.CHECK`.

HEADER, for anybody to read, says who it is for and until when; BODY holds settings and certificates, compressed, and
encrypted with a passphrase unless it goes through a pipe that is safe. CHECK tells a line that was cut or damaged from
a passphrase that is wrong. The parts are base64url, so the line survives terminals, mails and QR codes.

Encryption is AES-256-GCM (NIST SP 800-38D) with a key from scrypt (RFC 7914); HEADER is authenticated with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rectbot.errors import ConfigError, RectbotError

FORMAT = 1
DEFAULT_HOURS = 24
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}  # 32 MiB and about 0.1 s for each guess
_SCRYPT_MEMORY = 64 * 2**20
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_GROUPS, _GROUP = 4, 4  # 79 bits, each guess of which costs a scrypt
_LARGEST = 64 * 1024
_CHECK_BYTES = 6
_SLACK_SECONDS = 300  # by which the clock of the host that invites may be ahead of ours
_AGAIN = "invite the site again: 'rectbot invite SITE' on the monitoring host"
_DAMAGED = f"the invitation was cut or damaged on its way: copy the whole line once more, or {_AGAIN}"


@dataclass(frozen=True)
class Header:
    """What everybody may read of an invitation. Times are Unix seconds."""

    id: str
    site: str
    made: int
    until: int
    by: str  # the version of rectbot that made it
    salt: str = ""  # of the passphrase; empty: it is not encrypted


@dataclass(frozen=True)
class Invitation:
    """All that a site needs: settings by name, and the text of certificates by file name.

    A setting may name a file of these as `<NAME>`.
    """

    header: Header
    values: dict[str, str] = field(repr=False)
    files: dict[str, str] = field(repr=False)


def make(
    site: str,
    values: Mapping[str, str],
    files: Mapping[str, str],
    *,
    version: str,
    passphrase: str | None,
    seconds: float = DEFAULT_HOURS * 3600,
    now: float | None = None,
) -> tuple[Header, str]:
    """A new invitation: its header, and the line. Without a passphrase whoever has the line can read it.

    Raises RectbotError when the library that encrypts is missing.
    """
    made = int(time.time() if now is None else now)
    salt = secrets.token_hex(16) if passphrase is not None else ""
    header = Header(secrets.token_hex(8), site, made, made + int(seconds), version, salt)
    public = _b64(json.dumps(asdict(header), separators=(",", ":")).encode())
    body = zlib.compress(json.dumps({"values": dict(values), "files": dict(files)}).encode(), 9)
    if passphrase is not None:
        nonce = os.urandom(12)
        body = nonce + _cipher(passphrase, salt).encrypt(nonce, body, public.encode())
    text = f"rbi{FORMAT}.{public}.{_b64(body)}"
    return header, f"{text}.{_check(text)}"


def read_header(line: str, now: float | None = None) -> Header:
    """What an invitation says to everybody.

    Raises ConfigError for what is none, or is damaged, expired, of another version, or of the future: then this host's
    clock is wrong.
    """
    header, _, _ = _parse(line)
    now = time.time() if now is None else now
    if now < header.made - _SLACK_SECONDS:
        raise ConfigError(
            f"the invitation was made {_span(header.made - now)} in the future of this host's clock, which shows"
            f" {shown_time(now)}: set the clock (timedatectl set-ntp true), then join again"
        )
    if now > header.until:
        raise ConfigError(
            f"the invitation of {header.site} expired at {shown_time(header.until)} (this host's clock shows"
            f" {shown_time(now)}): {_AGAIN.replace('SITE', header.site)}"
        )
    return header


def read(line: str, passphrase: str | None = None, now: float | None = None) -> Invitation:
    """An invitation with its secrets. Raises ConfigError as read_header() does, and for a wrong passphrase."""
    header = read_header(line, now)
    _, public, body = _parse(line)
    if header.salt:
        body = _decrypted(body, header, public, passphrase)
    try:
        unpack = zlib.decompressobj()
        content = json.loads(unpack.decompress(body, _LARGEST))
        values, files = content["values"], content["files"]
        good = all(isinstance(text, str) for each in (values, files) for pair in each.items() for text in pair)
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(_DAMAGED) from None
    if not good:
        raise ConfigError(_DAMAGED)
    return Invitation(header, values, files)


def new_passphrase() -> str:
    """Some groups of letters and digits that can be read out."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def _parse(line: str) -> tuple[Header, str, bytes]:
    """Header, its text, and the body. Blanks and line breaks inside of the line are of its way here."""
    text = "".join(line.split())
    kind = re.match(r"rbi(\d{1,4})\.", text)
    if kind is None:
        raise ConfigError(f"this is no invitation of rectbot: it begins with rbi{FORMAT}. and is one line; {_AGAIN}")
    if int(kind[1]) != FORMAT:
        other = "newer" if int(kind[1]) > FORMAT else "older"
        update = "update rectbot on this host" if other == "newer" else "update rectbot on the monitoring host"
        raise ConfigError(
            f"the invitation is of {'an' if other == 'older' else 'a'} {other} version of rectbot (format {kind[1]},"
            f" this one reads {FORMAT}): {update}, and invite the site again"
        )
    front, _, check = text.rpartition(".")
    parts = front.split(".")
    if len(text) > _LARGEST or len(parts) != 3 or check != _check(front):
        raise ConfigError(_DAMAGED)
    try:
        given: dict[str, Any] = json.loads(_unb64(parts[1]))
        header = Header(**{name: given[name] for name in Header.__dataclass_fields__})
        body = _unb64(parts[2])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise ConfigError(_DAMAGED) from None
    if not isinstance(header.made, int) or not isinstance(header.until, int) or not isinstance(header.site, str):
        raise ConfigError(_DAMAGED)
    return header, parts[1], body


def _decrypted(body: bytes, header: Header, public: str, passphrase: str | None) -> bytes:
    if passphrase is None:
        raise ConfigError("the invitation is encrypted: give the passphrase that 'rectbot invite' has shown")
    try:
        cipher = _cipher(passphrase, header.salt)
    except ValueError:
        raise ConfigError(_DAMAGED) from None
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (see _cipher)

    try:
        found: bytes = cipher.decrypt(body[:12], body[12:], public.encode())
    except (InvalidTag, ValueError):
        raise ConfigError(
            f"the passphrase is not that of this invitation ({header.id} for {header.site}): type the one that was"
            " shown with it"
        ) from None
    return found


def _cipher(passphrase: str, salt: str) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (what is plain needs none)
    except ImportError:
        raise RectbotError(
            "the library that encrypts invitations is not installed: pip install cryptography, or send the invitation"
            " through ssh: ssh HOST rectbot invite SITE --plain | rectbot join -"
        ) from None
    word = re.sub(r"[\s-]", "", passphrase.lower()).encode()
    key = hashlib.scrypt(word, salt=bytes.fromhex(salt), maxmem=_SCRYPT_MEMORY, dklen=32, **_SCRYPT)
    return AESGCM(key)


def _check(text: str) -> str:
    return _b64(hashlib.blake2b(text.encode(), digest_size=_CHECK_BYTES).digest())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def shown_time(seconds: float) -> str:
    """Unix seconds as people read them."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.0f} minutes"
