"""`rectbot dashboards build`: writes the dashboards' JSON, or says where it differs from the code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from rectbot.dashboards import failover, hosts, logs, overview
from rectbot.dashboards.limits import Limits
from rectbot.errors import RectbotError

PAGES: dict[str, Callable[[Limits], Dashboard]] = {
    "overview": overview.build,
    "hosts": hosts.build,
    "failover": failover.build,
    "logs": logs.build,
}


def render(rules: Path) -> dict[str, str]:
    """The JSON of each dashboard by its file's name; the same code and rules give the same bytes."""
    limits = Limits.read(rules)
    return {f"{name}.json": _text(build(limits)) for name, build in PAGES.items()}


def _text(page: Dashboard) -> str:
    return json.dumps(page.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def write(monitoring: Path) -> list[Path]:
    """Writes grafana/dashboards/*.json under docker/monitoring; gives what has changed. Raises RectbotError."""
    changed = []
    for path, text in _differing(monitoring).items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RectbotError(f"{path}: cannot be written ({error.strerror})") from None
        changed.append(path)
    return changed


def check(monitoring: Path) -> None:
    """Raises RectbotError when a dashboard's file is not what the code and the alert rules make."""
    if differing := _differing(monitoring):
        names = ", ".join(str(path) for path in differing)
        raise RectbotError(f"{names}: not what the code makes; run: rectbot dashboards build")


def _differing(monitoring: Path) -> dict[Path, str]:
    folder = monitoring / "grafana" / "dashboards"
    rendered = {folder / name: text for name, text in render(monitoring / "prometheus" / "alerts").items()}
    return {path: text for path, text in rendered.items() if not path.is_file() or path.read_text("utf-8") != text}
