"""Runs programs under supervisord (supervisord.org): its configuration, its start, and its XML-RPC interface.

The stack has one supervisor, and each site has one of its own, which the stack's supervisor runs like any program.
"""

from __future__ import annotations

import http.client
import os
import resource
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import SecretStr

from rectbot.errors import RectbotError
from rectbot.settings import Settings
from rectbot.stack import control_socket
from rectbot.stack.components import Program, alert_webhook, components, local_sites
from rectbot.stack.layout import Layout, write_private

STACK_VARIABLE = "RECTBOT_STACK"  # marks every process of a stack, so that leftovers can be found
_STARTED = ("RUNNING", "STARTING")
_SUPERVISORD = (sys.executable, "-m", "rectbot.stack.supervisord", "-n", "-c")
_SITE_STOP_SECONDS = 6


def write_configuration(settings: Settings, layout: Layout) -> None:
    """Writes the supervisors' configurations: the stack's, and one for each site."""
    parts = components(settings, layout)
    programs = [part.program for part in parts if part.site is None and not part.also]
    for site in local_sites(settings, layout):
        path = layout.folder("sites") / f"{site}.conf"
        site_programs = [part.program for part in parts if part.site == site]
        write_private(path, _configuration(layout, f"site-{site}", site_programs, autostart=True))
        programs.append(Program(site_program(site), (*_SUPERVISORD, str(path)), {}, _SITE_STOP_SECONDS))
    control_socket.prepare(layout.var)
    control = f"[unix_http_server]\nfile={_escape(str(layout.supervisor_socket))}\nchmod=0600\n\n{_RPC_INTERFACE}"
    write_private(_main_configuration(layout), control + _configuration(layout, "supervisord", programs))


_RPC_INTERFACE = """[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

"""


def site_program(site: str) -> str:
    """The program that is a whole site: its supervisor."""
    return f"site-{site}"


def _main_configuration(layout: Layout) -> Path:
    return layout.var / "supervisord.conf"


def _configuration(layout: Layout, name: str, programs: Sequence[Program], *, autostart: bool = False) -> str:
    head = {
        "logfile": str(layout.log(name)),
        "logfile_maxbytes": "1MB",
        "logfile_backups": "1",
        "pidfile": str(layout.folder("run") / f"{name}.pid"),
        "childlogdir": str(layout.folder("log")),
        "directory": str(layout.home),
        "minfds": str(_descriptors()),
        "silent": "true",  # it has its log file, and would write the same to where nothing is rotated
    }
    sections = [_section("supervisord", head)]
    for order, program in enumerate(programs):
        sections.append(_program_section(layout, program, order, autostart=autostart))
    return "\n".join(sections)


def _descriptors() -> int:
    """What nginx may need when it is crowded; what it may have at most is the system's to say."""
    return min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _program_section(layout: Layout, program: Program, order: int, *, autostart: bool) -> str:
    is_site = program.name.startswith("site-")
    environment = {
        **program.environment,
        "RECTBOT_HOME": str(layout.home),
        "PYTHONUNBUFFERED": "1",
        STACK_VARIABLE: str(layout.var),
    }
    options = {
        "command": " ".join(shlex.quote(word) for word in program.command),
        "environment": ",".join(f'{name}="{value}"' for name, value in environment.items()),
        "priority": str(order + 1),  # supervisord stops in the opposite order
        "autostart": str(autostart).lower(),
        "autorestart": _restart(program.name),
        "exitcodes": "2",
        "startsecs": "1",
        "startretries": "1000000",
        "stopwaitsecs": str(program.stop_seconds),
        "redirect_stderr": "true",
        "stdout_logfile": str(layout.log(program.name)) if not is_site else os.devnull,
        "stdout_logfile_maxbytes": "5MB" if not is_site else "0",
        "stdout_logfile_backups": "1",
    }
    return _section(f"program:{program.name}", options)


def _restart(name: str) -> str:
    """A dead host does not rise by itself: only 'site start' does that. A bot whose settings are wrong stays down."""
    kind = name.partition("-")[0]
    return {"site": "false", "bot": "unexpected", "push": "unexpected"}.get(kind, "true")


def _section(name: str, options: dict[str, str]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={_escape(value)}\n" for key, value in options.items())


def _escape(value: str) -> str:
    return value.replace("%", "%%")  # supervisord expands %(name)s


def with_local_webhook(settings: Settings) -> Settings:
    """The settings, with the local Discord's webhook where there is no other and a stack runs here."""
    nobody = settings.discord_alert_webhook_url is None and not settings.alert_services
    if nobody and Supervisor(Layout.of(settings)).running():
        local = alert_webhook(settings)
        return settings.model_copy(update={"discord_alert_webhook_url": SecretStr(local) if local else None})
    return settings


class Refused(RectbotError):  # noqa: N818 (an answer)
    """The supervisor answers that it will not."""


@dataclass(frozen=True)
class Supervisor:
    """A handle on the stack's supervisord."""

    layout: Layout

    def launch(self, timeout: float = 10) -> None:
        """Starts supervisord in the background, in a session of its own, so that Ctrl-C reaches only us."""
        log = self.layout.log("supervisord-console")
        environment = {**os.environ, STACK_VARIABLE: str(self.layout.var)}
        with log.open("ab") as output:
            process = subprocess.Popen(
                (*_SUPERVISORD, str(_main_configuration(self.layout))),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.layout.home,
                env=environment,
            )
        deadline = time.monotonic() + timeout
        while not self.running():
            if process.poll() is not None or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise RectbotError(f"the supervisor did not start ({lines[-1] if lines else 'no message'}); see {log}")
            time.sleep(0.05)

    def running(self) -> bool:
        """True while the supervisor is there, also while it is shutting down.

        Raises RectbotError when another user's process answers in its place; so do all that ask it something.
        """
        try:
            self._call("getState")
        except (OSError, http.client.HTTPException):
            return False
        except Refused:
            return True  # it answers, but takes no more orders
        return True

    def states(self) -> dict[str, str]:
        """State of each program (RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL); empty when nothing runs."""
        try:
            info = cast("list[dict[str, object]]", self._call("getAllProcessInfo"))
        except (OSError, http.client.HTTPException):
            return {}
        return {str(entry["name"]): str(entry["statename"]) for entry in info}

    def pid(self, name: str) -> int | None:
        """Process id of a program, or None while it does not run."""
        info = cast("dict[str, int]", self._call("getProcessInfo", name))
        return info["pid"] or None

    def start(self, name: str) -> None:
        """Starts a program; one that runs already stays as it is."""
        if self.states().get(name) not in _STARTED:
            self._call("startProcess", name, False)

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Asks a program to stop with SIGTERM; supervisord kills it when its time is up."""
        if self.states().get(name) in (*_STARTED, "BACKOFF"):
            self._call("stopProcess", name, wait)

    def shutdown(self) -> None:
        """Asks supervisord to stop everything in order and to leave."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: str | bool) -> object:
        transport = control_socket.Transport(self.layout.var)
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except xmlrpc.client.Fault as fault:
                what = " ".join(str(argument) for argument in arguments)
                raise Refused(f"the supervisor refused {method} {what}: {fault.faultString}") from None
