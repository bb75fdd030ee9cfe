"""Grafana in the native stack, where it is installed: with production's configuration and its own addresses."""

from __future__ import annotations

from pathlib import Path

from rectbot.settings import Settings
from rectbot.stack.layout import Layout, write_private

_DEBIAN_HOME = Path("/usr/share/grafana")  # where Grafana's own packages put what it serves


def command(binary: str, layout: Layout) -> tuple[str, ...]:
    """How Grafana is started."""
    unpacked = Path(binary).resolve().parent.parent
    home = unpacked if (unpacked / "conf" / "defaults.ini").is_file() else _DEBIAN_HOME
    ini = layout.monitoring / "grafana" / "grafana.ini"
    return (binary, "server", "--homepath", str(home), "--config", str(ini))


def environment(settings: Settings, layout: Layout) -> dict[str, str]:
    """What the engine adds to the files: addresses and folders. No secret: the password is read from a file."""
    folder, shared = layout.folder("grafana"), layout.monitoring / "grafana"
    addresses = {
        f"{name.upper()}_URL": f"http://127.0.0.1:{settings.port(name)}"
        for name in ("prometheus", "loki", "alertmanager")
    }
    port = settings.port("console")
    return addresses | {
        "DASHBOARDS_FOLDER": str(shared / "dashboards"),
        "GF_PATHS_PROVISIONING": str(shared / "provisioning"),
        "GF_PATHS_DATA": str(layout.folder("grafana", "data")),
        "GF_PATHS_LOGS": str(layout.folder("grafana", "log")),
        "GF_PATHS_PLUGINS": str(layout.folder("grafana", "plugins")),
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_SERVER_ROOT_URL": f"http://localhost:{port}/",
        "GF_SECURITY_ADMIN_PASSWORD": f"$__file{{{_password_file(folder)}}}",
    }


def write(settings: Settings, layout: Layout) -> None:
    """Writes the administrator's password to the file that Grafana reads when it first starts."""
    password = settings.dashboard_admin_password
    if password is not None:
        write_private(_password_file(layout.folder("grafana")), password.get_secret_value())


def _password_file(folder: Path) -> Path:
    return folder / "admin-password"
