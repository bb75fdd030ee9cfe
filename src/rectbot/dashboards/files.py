"""The dashboards' folder: every *.json in it is one; a broken one costs only itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rectbot.dashboards.migrate import migrated
from rectbot.dashboards.model import NAMES
from rectbot.errors import RectbotError

_MOST_BYTES = 8 * 1024 * 1024
_NOT_IN_A_UID = re.compile(r"[^\w-]+")


def read_all(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The dashboards by uid, ours first and in their order, then the others by their names; and why files are none."""
    dashboards: dict[str, dict[str, Any]] = {}
    broken: dict[str, str] = {}
    for path in _paths(folder):
        try:
            dashboard = read(path)
            if (other := dashboards.get(dashboard["uid"])) is not None:
                raise RectbotError(f"its uid {dashboard['uid']!r} is that of {other['title']!r}; give it another")
            dashboards[dashboard["uid"]] = dashboard
        except RectbotError as error:
            mend = "; 'rectbot dashboards build' makes it anew" if path.stem in NAMES else ""
            broken[path.name] = f"{error}{mend}"
    return dashboards, broken


def _paths(folder: Path) -> list[Path]:
    ours = [folder / f"{name}.json" for name in NAMES]
    try:
        return [*ours, *(path for path in sorted(folder.glob("*.json")) if path not in ours)]
    except OSError:
        return ours


def read(path: Path) -> dict[str, Any]:
    """One dashboard as today's Grafana would have it. Raises RectbotError, which says why the file is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RectbotError(f"it is larger than {_MOST_BYTES // 2**20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RectbotError(f"it cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise RectbotError(f"it is no JSON ({error})") from None
    if isinstance(found, Mapping) and isinstance(found.get("dashboard"), Mapping):
        found = found["dashboard"]  # as Grafana's API gives it
    if not isinstance(found, Mapping) or not isinstance(found.get("panels", found.get("rows")), list):
        raise RectbotError("it is JSON, but no dashboard of Grafana's classic format: it has no list of panels")
    dashboard = migrated(found)
    uid = _NOT_IN_A_UID.sub("-", str(dashboard.get("uid") or path.stem))
    return {**dashboard, "uid": uid, "title": str(dashboard.get("title") or path.stem)}
