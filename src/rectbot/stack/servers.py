"""Debian's servers: which package brings which, and where they are."""

from __future__ import annotations

import os
import shutil

DEBIAN_PACKAGES = {
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "prometheus-pushgateway": "prometheus-pushgateway",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "nginx": "nginx-light",
}


def find_server(binary: str) -> str | None:
    """The full path of a server; also in the folders that Debian keeps from a normal user's PATH."""
    return shutil.which(binary, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def has_grafana() -> bool:
    """Whether Grafana shows the dashboards; without it the console takes its port."""
    return find_server("grafana") is not None
