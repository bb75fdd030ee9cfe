"""Stand-ins for the upstream images, made of Debian packages, under the names that the compose file gives."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from compose.engine import Engine, run

ROOT = Path(__file__).resolve().parents[2]
STANDINS = ROOT / "tests/compose/standins.Dockerfile"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_STAGES = {  # upstream image: the stage that stands in for it
    "valkey/valkey": "valkey",
    "prom/prometheus": "prometheus",
    "prom/alertmanager": "alertmanager",
    "prom/pushgateway": "pushgateway",
    "nginx": "nginx",
    "python": "python",
}


def build_standins(engine: Engine, cache: Path) -> set[str]:
    """Builds the stand-ins of Debian 13 and returns the services that have one; the others exist in no Debian."""
    engine.docker("import", "--change", f"ENV PIP_CERT={CERTIFICATES}", _debian(cache), "rectbot-test/debian")
    services = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())["services"]
    images = {name: _pinned(str(service["image"])) for name, service in services.items()}
    base = re.search(r"^FROM (\S+)", (ROOT / "docker/bot/Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    for image in sorted({*images.values(), base[1]}):
        if stage := _STAGES.get(image.rpartition(":")[0]):
            options = ("--network", "host", "--target", stage, "--tag", image, "--file", STANDINS)
            engine.docker("build", "--quiet", *options, STANDINS.parent)
    return {name for name, image in images.items() if image.rpartition(":")[0] in (*_STAGES, "rectbot")}


def _pinned(image: str) -> str:
    """With the default of Compose's ${NAME:-default}."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", image)


def _debian(cache: Path) -> Path:
    """A minimal Debian 13 as an archive; debootstrap makes it once. It trusts what this machine trusts."""
    archive = cache / "trixie.tar"
    if not archive.exists():
        tree = cache / "trixie"
        shutil.rmtree(tree, ignore_errors=True)
        options = ("--variant=minbase", "--include=ca-certificates")
        run(["debootstrap", *options, "trixie", tree, "http://deb.debian.org/debian"], timeout=600)
        shutil.copy(CERTIFICATES, tree / CERTIFICATES.relative_to("/"))
        (tree / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (tree / "usr/sbin/policy-rc.d").chmod(0o755)
        run(["tar", "-C", tree, "-cf", archive.with_suffix(".part"), "."], timeout=300)
        archive.with_suffix(".part").rename(archive)
        shutil.rmtree(tree)
    return archive
