"""Bytes that only who knows the passphrase can read, or change unnoticed: scrypt (RFC 7914), then AES-256-GCM."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from rectbot.errors import ConfigError, RectbotError

_MARK = b"rectbot sealed 1\n"
_SALT, _NONCE = 16, 12
_COST = 2**15  # with 8 and 1: 32 MB and a tenth of a second for each guess
SHORTEST = 8


def seal(data: bytes, passphrase: str) -> bytes:
    """Raises ConfigError for a passphrase that anybody would guess."""
    if len(passphrase) < SHORTEST:
        raise ConfigError(f"the passphrase must have at least {SHORTEST} characters")
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _MARK + salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, data, _MARK)


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """Raises RectbotError for a wrong passphrase, and for bytes that were changed."""
    rest = sealed.removeprefix(_MARK)
    if rest == sealed or len(rest) < _SALT + _NONCE:
        raise RectbotError("the secrets in this backup cannot be read: another version of rectbot made it")
    salt, nonce, body = rest[:_SALT], rest[_SALT : _SALT + _NONCE], rest[_SALT + _NONCE :]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, body, _MARK)
    except InvalidTag:
        raise RectbotError("the passphrase is wrong, or the backup is damaged") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode())
