"""The push proxy's self-signed certificate: made and checked with the `cryptography` library."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rectbot.errors import ConfigError

DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
VALID_DAYS = 397  # the longest that browsers and strict clients accept for a server certificate
_MEND = "run 'rectbot init --rotate tls'"


def make(hosts: Sequence[str] = ()) -> tuple[str, str]:
    """A new certificate and its private key, both PEM.

    `hosts` are further names or addresses beside localhost, 127.0.0.1 and ::1. The certificate is its own trust
    anchor: clients verify against the certificate itself. Raises ConfigError for a name that cannot stand in one.
    """
    names = list(dict.fromkeys((*DEFAULT_HOSTS, *hosts)))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # a client's clock may be a little behind
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def check_hosts(hosts: Sequence[str]) -> None:
    """Raises ConfigError for a name that cannot stand in a certificate."""
    for host in hosts:
        _general_name(host)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    labels = name.removeprefix("*.").split(".")
    if not all(label and len(label) <= 63 and label.replace("-", "").isalnum() for label in labels):
        raise ConfigError(
            f"--host {host!r}: is neither a host name nor an IP address; give for example prom.example.org"
        )
    return x509.DNSName(name)


def hosts_of(path: Path) -> list[str]:
    """The names and addresses an existing certificate stands for; one made by hand may have a common name only.

    Raises ConfigError when it is broken.
    """
    certificate = _load(path)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except ValueError:
        raise ConfigError(f"{path}: is not a certificate that can be read; {_MEND}") from None
    return [str(name.value) for name in extension.value]


def is_ours(path: Path) -> bool:
    """Whether `make` has made it: it stands for this machine's own names. Raises ConfigError when it is broken."""
    return set(DEFAULT_HOSTS) <= set(hosts_of(path))


def is_self_signed(path: Path) -> bool:
    """Whether it vouches for itself, so that clients need a copy of it."""
    found = _load(path)
    return found.issuer == found.subject


def check(certificate_path: Path, key_path: Path, now: dt.datetime | None = None) -> None:
    """Raises ConfigError when the pair is missing, unreadable, broken, expired, not yet valid, or does not match."""
    now = now or dt.datetime.now(dt.UTC)
    certificate = _load(certificate_path)
    try:
        key = serialization.load_pem_private_key(_read(key_path), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{key_path}: is not an unencrypted PEM private key; {_MEND}") from None
    if certificate.not_valid_after_utc < now:
        raise ConfigError(f"{certificate_path}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {_MEND}")
    if certificate.not_valid_before_utc > now:
        raise ConfigError(
            f"{certificate_path}: is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            f"check this machine's clock, or {_MEND}"
        )
    if key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_path}: does not belong to {certificate_path.name}; {_MEND}")


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise ConfigError(f"{path}: is not a PEM certificate; {_MEND}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing; run 'rectbot init'") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); mend its permissions, or {_MEND}") from None
