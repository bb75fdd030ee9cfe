"""Finds the user's own client: `--app module:factory`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import discord

from rectbot.bot.client import RectbotClient
from rectbot.errors import ConfigError
from rectbot.failover import Lease

ClientFactory = Callable[[Lease], discord.Client]


def load_app(app: str | None) -> ClientFactory:
    """What makes a fresh client for each lease: ours, or the one that `module:factory` names.

    The factory is called without arguments, or with the lease if it has a parameter `lease`. Raises ConfigError with
    one line that says what is wrong.
    """
    if app is None:
        return RectbotClient
    factory = _find(app)
    try:
        takes_lease = "lease" in inspect.signature(factory).parameters
    except ValueError:  # a callable without a signature
        takes_lease = False

    def make(lease: Lease) -> discord.Client:
        try:
            client = factory(lease=lease) if takes_lease else factory()
        except Exception as error:
            raise ConfigError(f"--app {app}: the factory failed: {_describe(error)}") from error
        return _checked(app, client)

    return make


def _find(app: str) -> Callable[..., Any]:
    module_name, separator, attribute = app.partition(":")
    if not (module_name and separator and attribute):
        raise ConfigError(f"--app {app}: write module:factory, for example mybot:make_client")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.split(".")[: error.name.count(".") + 1] == error.name.split("."):
            raise ConfigError(
                f"--app {app}: there is no module {error.name} in {Path.cwd()} or on PYTHONPATH"
            ) from None
        raise ConfigError(
            f"--app {app}: {module_name} needs the module {error.name}; install it in this venv"
        ) from error
    except Exception as error:
        raise ConfigError(f"--app {app}: {module_name} cannot be imported: {_describe(error)}") from error
    factory = getattr(module, attribute, None)
    if factory is None:
        raise ConfigError(f"--app {app}: {module_name} ({module.__file__}) has no {attribute}")
    if isinstance(factory, discord.Client):
        raise ConfigError(
            f"--app {app}: {attribute} is a client; name a function that makes one, as each login needs a new one"
        )
    if not callable(factory):
        raise ConfigError(f"--app {app}: {attribute} is not a function")
    found: Callable[..., Any] = factory
    return found


def _checked(app: str, client: object) -> discord.Client:
    if not isinstance(client, discord.Client):
        kind = "a coroutine: make it a plain function" if inspect.iscoroutine(client) else type(client).__name__
        if inspect.iscoroutine(client):
            client.close()
        raise ConfigError(f"--app {app}: the factory must return a discord.Client, it returned {kind}")
    if client.http.connector is not discord.utils.MISSING:
        raise ConfigError(
            f"--app {app}: the client has its own connector, which the lease cannot guard; leave connector= out"
        )
    return client


def _describe(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
