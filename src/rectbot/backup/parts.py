"""What a backup holds, and where that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rectbot.errors import ConfigError
from rectbot.stack.layout import Layout

FORM = 1
MANIFEST, HISTORY, SECRETS = "manifest.json", "history.jsonl", "secrets.sealed"
STATE, SHARED = "state", "monitoring"


class Folder(NamedTuple):
    """A server's data."""

    name: str
    path: Path
    last: tuple[str, ...] = ()  # what is copied after all else: what repeats, and so completes, the rest


def folders(layout: Layout, elsewhere: dict[str, Path] | None = None) -> list[Folder]:
    """Not Redis': a lease of yesterday is not to be restored. `elsewhere` says where some of them are, by name."""
    found = {
        "loki": Folder("loki", layout.var / "loki"),
        "prometheus": Folder("prometheus", layout.var / "prometheus" / "data", ("wal",)),
        "alertmanager": Folder("alertmanager", layout.var / "alertmanager" / "data"),
        "pushgateway": Folder("pushgateway", layout.var / "pushgateway"),
        "grafana": Folder("grafana", layout.var / "grafana"),
    }
    for name, path in (elsewhere or {}).items():
        if name not in found:
            raise ConfigError(f"--data {name}=...: there are {', '.join(found)}")
        found[name] = found[name]._replace(path=path)
    return list(found.values())


def shared(layout: Layout) -> Iterator[Path]:
    """What operators change in docker/monitoring, and holds no secret."""
    for pattern in ("grafana/dashboards/*.json", "prometheus/alerts/*.yml"):
        yield from sorted(layout.monitoring.glob(pattern))
    if layout.allowlist.exists():
        yield layout.allowlist


def secrets(layout: Layout) -> Iterator[Path]:
    """Only for eyes of the operator."""
    found = [layout.env_file, layout.certificate, layout.private_key, layout.htpasswd]
    if layout.container_secrets.is_dir():
        found += sorted(layout.container_secrets.iterdir())
    yield from (path for path in found if path.is_file())
