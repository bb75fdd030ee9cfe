"""The committed Alertmanager configuration, made fit for an Alertmanager on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from rectbot.errors import ConfigError

SILENT = "# DISCORD_ALERT_WEBHOOK_URL is not set, nor ALERT_URLS: Alertmanager shows alerts and tells nobody.\n"


def render_native(source: Path, webhook_url: str | None, hub: str | None = None, *, notify: bool = False) -> str:
    """The configuration in `source` as YAML that holds the webhook's URL itself.

    Debian's Alertmanager (0.25) has no `webhook_url_file`, and looks for templates beside the file that it is given.
    Without a webhook the receivers stay, so that the routes hold, but they send nobody a message; a comment on top says
    so. `hub` (HOST:PORT) is told of each alert, for the history, and with `notify` for ALERT_URLS; None: there is none.
    The text holds a secret: write it to a file that only this user can read.

    Raises ConfigError when `source` cannot be read or is not an Alertmanager configuration.
    """
    config = _load(source)
    config["templates"] = [str(source.resolve().parent / pattern) for pattern in config.get("templates", [])]
    for receiver in config["receivers"]:
        discord = receiver.pop("discord_configs", [])
        if webhook_url is not None:
            receiver["discord_configs"] = [_with_url(entry, webhook_url) for entry in discord]
        handed = receiver.pop("webhook_configs", [])
        if hub is not None:
            paths = [(urlsplit(entry["url"]).path, entry) for entry in handed]
            receiver["webhook_configs"] = [
                entry | {"url": f"http://{hub}{path}"} for path, entry in paths if notify or path != "/notify"
            ]
    return (SILENT if webhook_url is None and not notify else "") + yaml.safe_dump(config, sort_keys=False)


def _with_url(entry: dict[str, Any], webhook_url: str) -> dict[str, Any]:
    return {"webhook_url": webhook_url} | {key: value for key, value in entry.items() if key != "webhook_url_file"}


def _load(source: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}); restore it from git") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: is not YAML ({' '.join(str(error).split())}); mend that line") from None
    if not isinstance(config, dict) or not isinstance(config.get("receivers"), list):
        raise ConfigError(f"{source}: has no list of receivers; `amtool check-config {source}` says more")
    return config
