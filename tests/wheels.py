"""Empty virtual environments in which the built wheel is installed, far from the checkout, and with no network.

The packages beside it are those that setup has installed here, packed as wheels again: pip resolves the extras among
them, so that a dependency that nobody declares is missing there as it would be on a user's host.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType

from checkout import ROOT, committed
from rectbot.stack.wheel import pack

PLANTED = "planted-secret-that-no-wheel-may-hold"
# What `rectbot init` makes beside the committed files; the build must leave all of it where it is.
SECRETS = (
    *(".env", "docker/monitoring/tls/tls.key", "docker/monitoring/pushgateway/htpasswd"),
    *("docker/monitoring/secrets/bot.env", "docker/monitoring/pushgateway/allowlist.conf"),
    *("docker/monitoring/cloudflared/config.yml", "var/main/log/bot.log"),
)


def build(folder: Path) -> Path:
    """The wheel, built from a copy of what git knows, where `init` has been run: with secrets beside the files."""
    source = folder / "source"
    for name in committed():
        if not name.startswith(("tests/", "docs/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    for name in SECRETS:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(PLANTED)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pack_packages(folder: Path) -> None:
    """A wheel of each package of requirements.lock that is installed here; some are for other systems."""
    for name in re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        try:
            file, content = pack(distribution(name), zipfile.ZIP_STORED)
        except PackageNotFoundError:
            continue
        (folder / file).write_bytes(content)


def index(folder: Path) -> Path:
    """What stands for PyPI: our wheel, and those of other people."""
    packages = folder / "index"
    packages.mkdir()
    pack_packages(packages)
    wheel = build(folder / "built")
    wheel.rename(packages / wheel.name)
    return packages


def pip_from(packages: Path) -> dict[str, str]:
    """A login's environment in which pip knows these packages, and no others."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(packages),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@dataclass(frozen=True)
class Installation:
    """A virtual environment, and a folder to run its command in."""

    venv: Path
    home: Path

    @property
    def rectbot(self) -> Path:
        return self.venv / "bin" / "rectbot"

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Of a person's shell: nothing of the checkout, and no settings of whoever runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, **settings}

    def run(
        self, *words: str, code: int | None = 0, settings: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """Runs `rectbot WORDS` in the folder."""
        done = subprocess.run(
            [str(self.rectbot), *words],
            cwd=self.home,
            env=self.environment(settings),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert code is None or done.returncode == code, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def packages(self) -> set[str]:
        """What is installed, by normalised names."""
        folders = self.venv.glob("lib/python*/site-packages/*.dist-info")
        return {re.sub(r"[-_.]+", "-", folder.name.split("-")[0]).lower() for folder in folders}


def install(wheel: Path, packages: Path, folder: Path, extra: str = "") -> Path:
    """The wheel with one extra, in a virtual environment of its own; gives its folder."""
    venv = folder / f"venv-{extra}"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    what = f"rectbot[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    options = ["--quiet", "--no-index", "--find-links", str(packages), "--no-compile", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", *options, what]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment | {"PIP_CONFIG_FILE": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return venv
