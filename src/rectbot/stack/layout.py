"""Where the stack keeps things: one place that knows every path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rectbot.errors import ConfigError, RectbotError
from rectbot.settings import Settings
from rectbot.stack import control_socket


@dataclass(frozen=True)
class Layout:
    """Paths of one stack: `home` is the checkout, `var` holds the state of the stack at this port offset."""

    home: Path
    var: Path

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """The layout for these settings; a port offset gets a state folder of its own, so two stacks never mix."""
        return cls.at(settings.rectbot_home, settings.rectbot_port_offset)

    @classmethod
    def at(cls, home: Path, offset: int) -> Layout:
        """The layout of a checkout at a port offset."""
        home = home.resolve()
        return cls(home, home / "var" / (f"offset-{offset}" if offset else "main"))

    @property
    def monitoring(self) -> Path:
        """The configuration that both engines read."""
        return self.home / "docker" / "monitoring"

    @property
    def compose_file(self) -> Path:
        """The production stack."""
        return self.home / "docker-compose.monitoring.yml"

    @property
    def env_file(self) -> Path:
        """The settings and secrets, 0600."""
        return self.home / ".env"

    @property
    def certificate(self) -> Path:
        """The push proxy's certificate."""
        return self.monitoring / "tls" / "tls.crt"

    @property
    def private_key(self) -> Path:
        """The push proxy's private key."""
        return self.monitoring / "tls" / "tls.key"

    @property
    def container_secrets(self) -> Path:
        """What docker compose mounts as secrets: readable files in a folder that only its owner may enter."""
        return self.monitoring / "secrets"

    @property
    def htpasswd(self) -> Path:
        """Who may push: user and bcrypt hash."""
        return self.monitoring / "pushgateway" / "htpasswd"

    @property
    def allowlist(self) -> Path:
        """From which addresses one may push."""
        return self.monitoring / "pushgateway" / "allowlist.conf"

    def folder(self, *parts: str) -> Path:
        """A folder under `var`, made if missing, for this user only."""
        path = self.var.joinpath(*parts)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RectbotError(
                f"{path}: cannot be made ({error.strerror}); check the disk and its permissions"
            ) from None
        return path

    def log(self, name: str) -> Path:
        """The log file of a component."""
        return self.folder("log") / f"{name}.log"

    @property
    def chosen_sites(self) -> Path:
        """Which sites `rectbot up --site` has chosen, a name a line; not there when all run here."""
        return self.var / "run" / "sites"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's control socket."""
        return control_socket.path(self.var)

    def claim(self) -> None:
        """Makes `var`, and closes it to others. Raises RectbotError when it is another user's."""
        for path in (self.home / "var", self.folder()):
            owner = control_socket.owner(path)
            if owner != os.geteuid():
                user = control_socket.name_of(owner)
                raise RectbotError(f"{path}: belongs to {user}; run this as {user}, or give it to yourself: chown -R")
            path.chmod(0o700)


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replaces a file atomically, readable by its owner only unless `mode` says otherwise.

    Raises RectbotError when the folder cannot be written or the disk is full; the old file is then still whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RectbotError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from None


def read_text(path: Path, mend: str) -> str:
    """Reads a file that must be there; the error says how to mend it."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: is missing; {mend}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{path}: cannot be read ({reason}); {mend}") from None
