"""Debian's servers: which package brings which, and where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

DEBIAN_PACKAGES = {
    "redis-server": "redis-server",
    "prometheus": "prometheus",
    "prometheus-pushgateway": "prometheus-pushgateway",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "nginx": "nginx-light",
}


# What the push proxy turns addresses away with: a module in a package of its own in Debian, built in upstream.
STREAM_PACKAGE = "libnginx-mod-stream"
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def find_server(binary: str) -> str | None:
    """The full path of a server; also in the folders that Debian keeps from a normal user's PATH."""
    return shutil.which(binary, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def has_grafana() -> bool:
    """Whether Grafana shows the dashboards; without it the console takes its port."""
    return find_server("grafana") is not None


def has_nginx_stream() -> bool:
    """Whether nginx has `stream`, as a module or built in; True where there is no nginx to ask."""
    nginx = find_server("nginx")
    if NGINX_STREAM.exists() or nginx is None:
        return True
    told = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False)
    return "--with-stream" in told.stderr.split()
