"""The supervisor's socket against other users of the machine: where it lies, who may answer there, whom we signal."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rectbot.errors import RectbotError
from rectbot.settings import load_settings
from rectbot.stack import control_socket, processes, supervise
from rectbot.stack.layout import Layout
from rectbot.stack.supervise import STACK_VARIABLE, Supervisor
from servers_monitoring import ROOT, until

ANSWERS = """\
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        body = b'<methodResponse><params><param><value><struct><member><name>pid</name><value><int>%d</int></value>' \\
               b'</member></struct></value></param></params></methodResponse>' % int(sys.argv[2])
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body)
    def address_string(self): return ''
    def log_message(self, *_): pass
with socketserver.UnixStreamServer(sys.argv[1], Handler) as server:
    os.chmod(sys.argv[1], 0o777)
    server.serve_forever()
"""
NOBODY = 65534


@pytest.fixture
def deep(tmp_path: Path) -> Layout:
    home = tmp_path.joinpath(*["a-long-folder-name"] * 8)
    layout = Layout(home, home / "var" / "main")
    layout.folder()
    return layout


@pytest.fixture
def squatted(deep: Layout) -> Iterator[Layout]:
    """A stack whose socket another process has taken, which says that some process of this machine is a site."""
    control_socket.prepare(deep.var)
    victim = subprocess.Popen(["sleep", "300"])
    path = deep.supervisor_socket
    server = subprocess.Popen([sys.executable, "-c", ANSWERS, str(path), str(victim.pid)])
    try:
        until(path.exists, "it is answered")
        until(lambda: stat.S_IMODE(path.stat().st_mode) == 0o777, "anybody may connect")
        yield deep
        assert victim.poll() is None, "nothing was killed"
    finally:
        server.kill()
        victim.kill()
        server.wait()
        victim.wait()


def test_the_folder_is_private_and_nobody_can_guess_its_name(deep: Layout) -> None:
    control_socket.prepare(deep.var)
    folder = deep.supervisor_socket.parent
    assert len(str(deep.supervisor_socket)) < 96
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.geteuid()
    control_socket.prepare(deep.var)
    assert deep.supervisor_socket.parent == folder, "it is made once"
    control_socket.remove(deep.var)
    assert not folder.exists()
    control_socket.prepare(deep.var)
    assert deep.supervisor_socket.parent != folder
    control_socket.remove(deep.var)


def test_a_private_runtime_folder_goes_first(deep: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="xdg") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        control_socket.prepare(deep.var)
        assert deep.supervisor_socket.parent.parent == Path(runtime)
        control_socket.remove(deep.var)
        Path(runtime).chmod(0o777)
        control_socket.prepare(deep.var)
        assert deep.supervisor_socket.parent.parent != Path(runtime), "others could replace what is in it"
        control_socket.remove(deep.var)


@pytest.mark.parametrize("change", ["open", "gone", "a link", "a file"])
def test_a_folder_that_is_no_longer_ours_alone_is_not_used(deep: Layout, change: str) -> None:
    control_socket.prepare(deep.var)
    folder = deep.supervisor_socket.parent
    if change == "open":
        folder.chmod(0o777)
    else:
        folder.rmdir()
    if change == "a link":
        folder.symlink_to(deep.home)
    elif change == "a file":
        folder.touch(0o700)
    assert not Supervisor(deep).running()
    control_socket.prepare(deep.var)
    assert deep.supervisor_socket.parent != folder
    control_socket.remove(deep.var)
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        folder.rmdir()


def test_the_kernel_names_the_owner_of_the_other_end() -> None:
    ours, _theirs = socket.socketpair()
    assert control_socket.peer_of(ours) == os.geteuid()


def test_another_user_s_process_is_asked_nothing(squatted: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "owner", lambda _: os.geteuid() + 1)
    monkeypatch.setattr(control_socket, "_remembered", lambda var: (var / "socket-folder").readlink())
    for ask in ("running", "states", "shutdown"):
        with pytest.raises(RectbotError, match="is answered by a process of"):
            getattr(Supervisor(squatted), ask)()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user as well")
def test_another_user_in_the_place_of_the_socket_cannot_have_root_kill(deep: Layout) -> None:
    control_socket.prepare(deep.var)
    folder = deep.supervisor_socket.parent
    os.chown(folder, NOBODY, NOBODY)
    assert deep.supervisor_socket.parent != folder, "the folder is not root's any more"
    os.chown(folder, 0, 0)
    where = deep.supervisor_socket
    folder.chmod(0o777)
    server = subprocess.Popen(
        ["/usr/bin/python3", "-c", ANSWERS, str(where), "1"],
        user=NOBODY,
    )
    try:
        until((folder / "supervisor.sock").exists, "it is answered")
        folder.chmod(0o700)
        with pytest.raises(RectbotError, match="nothing was asked or stopped"):
            Supervisor(deep).pid("site-xserver")
    finally:
        server.kill()
        server.wait()
        control_socket.remove(deep.var)


def test_only_processes_with_the_stack_s_mark_get_a_signal(squatted: Layout) -> None:
    """Here the owner is right, as after an own mistake: the process it names still carries no mark of the stack."""
    pid = Supervisor(squatted).pid("site-xserver")
    assert pid is not None
    assert psutil.pid_exists(pid)
    assert processes.children(squatted, pid, recursive=True) == []
    marked = subprocess.Popen(["sleep", "300"], env={STACK_VARIABLE: str(squatted.var)})
    try:
        until(lambda: [p.pid for p in processes.of_stack(squatted)] == [marked.pid], "it is seen")
        assert processes.send(processes.children(squatted, marked.pid, recursive=True), signal.SIGKILL) == 1
        assert marked.wait(10) == -signal.SIGKILL
    finally:
        marked.kill()


def test_the_supervisor_of_a_deep_checkout_starts_and_answers(deep: Layout) -> None:
    (deep.home / "docker").symlink_to(ROOT / "docker")
    supervise.write_configuration(load_settings(rectbot_home=deep.home), deep)
    supervisor = Supervisor(deep)
    supervisor.launch()
    try:
        assert supervisor.running()
        assert "site-oci" in supervisor.states()
        assert stat.S_IMODE(deep.supervisor_socket.stat().st_mode) == 0o600
        supervisor.shutdown()
        until(lambda: not supervisor.running(), "it has ended")
    finally:
        processes.end(processes.of_stack(deep), 5)
        control_socket.remove(deep.var)


def test_a_stack_of_another_user_is_not_started_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path, tmp_path / "var" / "main")
    layout.folder().chmod(0o755)
    layout.claim()
    assert stat.S_IMODE(layout.var.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.var.parent.stat().st_mode) == 0o700
    monkeypatch.setattr(control_socket, "owner", lambda _: os.geteuid() + 1)
    with pytest.raises(RectbotError, match="belongs to"):
        layout.claim()
