"""What every command shares: the group that shows our errors, and the settings."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from foundation.command import say
from foundation.errors import OperatorError
from foundation.terminal import lines
from rectbot.errors import ConfigError

if TYPE_CHECKING:
    from rectbot.settings import Settings


class Group(click.Group):
    """A group that turns our errors into one line and an exit code, and lists commands in the order of their file."""

    def invoke(self, ctx: click.Context) -> Any:
        sys.excepthook = _report_bug
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            say(f"rectbot: {error}", err=True)
            ctx.exit(error.exit_code)
        except ModuleNotFoundError as error:
            extra = extra_for(f"{ctx.command_path} {ctx.invoked_subcommand}", error)
            if extra is None:
                raise
            say(f"rectbot: this command needs more than is installed ({error.name}): pip install '{extra}'", err=True)
            ctx.exit(ConfigError.exit_code)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output went away; Python would complain about that at exit
            ctx.exit(0)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists each command with its whole first sentence, where click would cut it off."""
        rows = [(name, each.get_short_help_str(limit=1000)) for name, each in self.commands.items() if not each.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


# Modules that only an extra brings, by the extra that is enough where no command's own is named.
_EXTRA_OF_MODULE = {
    "apprise": "rectbot[alerts]",
    "discord": "rectbot[bot]",
    "obstore": "rectbot[s3]",
    "grafana_foundation_sdk": "grafana-foundation-sdk==1769699379!11.6.*",  # for building the dashboards only
    **dict.fromkeys(("cramjam", "re2", "lark", "msgspec", "zstandard"), "rectbot[logs]"),
    **dict.fromkeys(("alembic", "psycopg", "segno", "sqlalchemy"), "rectbot[stack]"),
    **dict.fromkeys(
        ("aiohttp", "fastapi", "nicegui", "orjson", "rich", "starlette", "supervisor", "uvicorn"),
        "rectbot[stack]",
    ),
}
_EXTRA_OF_COMMAND = {
    "bot": "rectbot[bot]",
    "logs serve": "rectbot[logs]",
    "logs query": "rectbot[logs]",
}


def require(module: str) -> None:
    """Raises ModuleNotFoundError where a module is missing that another process of this command would import."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def extra_for(command: str, error: ModuleNotFoundError) -> str | None:
    """What to install where this module is missing; None where no extra has it, so that it is a fault of another kind.

    `command` is the command's whole path, as `rectbot logs serve`.
    """
    extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
    own = _EXTRA_OF_COMMAND.get(command.partition(" ")[2])
    return own if extra == "rectbot[stack]" and own else extra


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback

    sys.stderr.write(lines("".join(traceback.format_exception(kind, error, trace))))


def read_settings() -> Settings:
    """The settings of this call. Raises ConfigError."""
    from rectbot.settings import load_settings

    return load_settings()
