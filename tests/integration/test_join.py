"""A host joins with an invitation, from command line to command line; or it does not, and says why in one line."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segno

from join_hosts import TOKEN, Host, Monitoring, monitoring
from rectbot import __version__
from rectbot.errors import RectbotError
from rectbot.stack import invitation, qr
from rectbot.stack.layout import Layout


@pytest.fixture(scope="module")
def oci(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    with monitoring(tmp_path_factory.mktemp("monitoring"), LOCK_TTL_MS="20000") as host:
        yield host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    home = tmp_path / "xserver"
    home.mkdir()
    return Host(home)


def _refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear line on standard error, a non-zero exit, no traceback."""
    assert done.returncode in (1, 2), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("rectbot: ")
    assert all(word in line for word in words), line


def test_three_commands_make_a_site(oci: Monitoring, host: Host) -> None:
    """Through a pipe, as with ssh: what the one prints is what the other reads; nothing is typed."""
    invited = oci.invite("xserver", "--plain")
    done = host.run("join", "-", stdin=invited.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = [line.split()[1:3] for line in done.stdout.splitlines()[:7]]
    assert checked == [["PASS", name] for name in ("version", "clock", "store", "push", "log", "token", "webhook")], (
        done.stdout
    )
    assert "next: rectbot install --site xserver" in done.stdout
    env = host.env
    certificate = host.home.resolve() / "monitoring.crt"
    assert stat.S_IMODE((host.home / ".env").stat().st_mode) == 0o600
    assert certificate.read_text() == Layout.at(oci.home, 0).certificate.read_text()
    assert (env["SITE_ID"], env["FAILOVER_ENABLED"], env["LOCK_TTL_MS"]) == ("xserver", "true", "20000")
    assert (env["REDIS_USER"], env["REDIS_TLS"], env["REDIS_CACERT"]) == ("xserver", "true", str(certificate))
    assert (env["PUSHGATEWAY_USER"], env["DISCORD_BOT_TOKEN"]) == ("xserver", TOKEN)
    for name in ("PUSHGATEWAY_PASSWORD", "REDIS_PASSWORD"):
        assert len(env[name] or "") >= 32
        assert env[name] != oci.env[name], "the site's own, not the monitoring host's"
        assert str(env[name]) not in done.stdout + done.stderr + invited.stderr
    pushed = host.run("push")
    assert pushed.returncode == 0, pushed.stderr


def test_an_encrypted_one_needs_its_passphrase(oci: Monitoring, host: Host) -> None:
    invited = oci.invite("xserver")
    (passphrase,) = [line.partition("passphrase: ")[2] for line in invited.stderr.splitlines() if "passphrase" in line]
    assert passphrase not in invited.stdout
    line = invited.stdout.strip()
    _refused(host.run("join", line), "give the passphrase")
    _refused(host.run("join", line, RECTBOT_PASSPHRASE="abcd-abcd-abcd-abcd"), "the passphrase is not that of")
    assert host.files() == {}
    done = host.run("join", line, RECTBOT_PASSPHRASE=passphrase)
    assert done.returncode == 0, done.stdout + done.stderr


def _modules(drawn: list[str]) -> list[list[bool]]:
    """The dark modules of a QR code in half blocks, without the quiet zone."""
    upper = {" ": (True, True), "\u2580": (False, True), "\u2584": (True, False), "\u2588": (False, False)}
    rows = [[upper[sign][half] for sign in line] for line in drawn for half in (0, 1)]
    width = len(rows[0])
    return [row[2:-2] for row in rows[2 : width - 2]]


def test_a_qr_code_beside_the_line_holds_the_same(oci: Monitoring) -> None:
    invited = oci.invite("xserver", "--qr")
    assert invited.returncode == 0, invited.stderr
    drawn = [line for line in invited.stderr.splitlines() if line and not set(line) - set(" \u2580\u2584\u2588")]
    wanted = segno.make_qr(invited.stdout.strip(), error="l", boost_error=False).matrix
    assert _modules(drawn) == [[bool(module) for module in row] for row in wanted]
    assert "passphrase: " in invited.stderr


@pytest.mark.parametrize(
    ("line", "columns", "told"),
    [("x" * 3000, None, "3000 characters are too many for a QR code"), ("x" * 1500, 80, "wide and the terminal 80")],
)
def test_a_qr_code_that_does_not_fit_says_so(line: str, columns: int | None, told: str) -> None:
    with pytest.raises(RectbotError, match=told):
        qr.drawn(line, columns)


def test_an_invitation_is_used_once_by_whomever(oci: Monitoring, host: Host, tmp_path: Path) -> None:
    line = oci.plain()
    assert host.run("join", line).returncode == 0
    before = host.files()
    other = Host(tmp_path / "other")
    other.home.mkdir()
    for each in (host, other):
        _refused(each.run("join", line), "was used already, by the host", "rectbot revoke xserver")
    assert other.files() == {}
    assert host.files() == before
    assert host.run("join", oci.plain()).returncode == 0, "a new one does"


def test_what_the_operator_has_is_kept_and_what_is_replaced_is_named(oci: Monitoring, host: Host) -> None:
    host.write_env(DISCORD_BOT_TOKEN="another", MEMORY_ALERT="85%", LOKI_SPOOL_MB="10", SITE_ID="", REDIS_HOST="")
    path = host.home / ".env"
    path.write_text(f"# mine\n{path.read_text()}")
    before = path.read_text()
    done = host.run("join", oci.plain())
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "had other values" in line]
    assert "DISCORD_BOT_TOKEN had other values in .env" in line
    kept = host.home / ".env.before-join"
    assert kept.read_text() == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (host.env["MEMORY_ALERT"], host.env["LOKI_SPOOL_MB"], host.env["DISCORD_BOT_TOKEN"]) == ("85%", "10", TOKEN)
    assert path.read_text().startswith("# mine\n")
    assert "another" not in done.stdout


def _old(seconds: float) -> Callable[[Monitoring], str]:
    return lambda _: invitation.make("xserver", {}, {}, version="0", passphrase=None, seconds=seconds, now=1e9)[1]


def _unknown(_: Monitoring) -> str:
    values = {"SITE_ID": "xserver", "BOT_APP": "os:system"}
    return invitation.make("xserver", values, {}, version="9.9", passphrase=None)[1]


BAD: dict[str, tuple[Callable[[Monitoring], str], tuple[str, ...]]] = {
    "nothing": (lambda _: "", ("no invitation came",)),
    "no invitation": (lambda _: "ssh: connect to host oci port 22: refused", ("no invitation came",)),
    "cut": (lambda oci: oci.plain()[:-40], ("cut or damaged",)),
    "damaged": (lambda oci: oci.plain().replace("A", "B"), ("cut or damaged",)),
    "expired": (_old(3600), ("expired at 2001-09-09 02:46 UTC", "rectbot invite xserver")),
    "for another site": (lambda oci: oci.plain("oci"), ("this host is the site xserver", "for oci")),
    "newer": (lambda oci: oci.plain().replace("rbi1.", "rbi2."), ("newer version", "update rectbot on this host")),
    "older": (lambda oci: oci.plain().replace("rbi1.", "rbi0."), ("older version", "on the monitoring host")),
    "of a version that knows more": (_unknown, ("BOT_APP", "made by 9.9; update rectbot on this host")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_invitation_is_one_line_and_changes_nothing(case: str, oci: Monitoring, host: Host) -> None:
    make, words = BAD[case]
    host.write_env(SITE_ID="xserver", MEMORY_ALERT="85%")
    before = host.files()
    _refused(host.run("join", "-", stdin=make(oci)), *words)
    assert host.files() == before


def test_a_monitoring_host_does_not_become_a_site(oci: Monitoring) -> None:
    before = oci.files()
    _refused(oci.run("join", oci.plain()), "is a monitoring host's")
    assert oci.files() == before


@pytest.mark.parametrize(("seconds", "word"), [(-3600.0, "behind"), (3600.0, "ahead of")])
def test_a_clock_that_is_an_hour_off_is_said_first_and_changes_nothing(
    seconds: float, word: str, oci: Monitoring, host: Host
) -> None:
    line = oci.plain()
    done = host.run("join", line, clock=seconds)
    assert done.returncode in (1, 2)
    said = done.stdout + done.stderr
    assert ("in the future of this host's clock" in said) if seconds < 0 else (f"60 minutes {word}" in said), said
    assert "set-ntp" in said
    assert len(done.stderr.splitlines()) == 1
    assert host.files() == {}
    assert host.run("join", line).returncode == 0, "the invitation is still good"


def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_the_invitation_good(
    oci: Monitoring, host: Host
) -> None:
    line = oci.plain()
    host.home.chmod(0o555)
    _refused(host.run("join", line, humble=True), "cannot be written (Permission denied)")
    host.home.chmod(0o755)
    assert host.files() == {}
    assert host.run("join", line).returncode == 0


def test_an_env_file_that_cannot_be_read_is_one_line(oci: Monitoring, host: Host) -> None:
    (host.home / ".env").mkdir()
    _refused(host.run("join", oci.plain()), ".env: cannot be read")


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [("store", "REDIS_PORT", "1"), ("push", "PUSHGATEWAY_PASSWORD", "wrong"), ("token", "DISCORD_BOT_TOKEN", "wrong")],
)
def test_what_does_not_answer_is_named_with_the_mend_and_nothing_is_changed(
    part: str, setting: str, value: str, oci: Monitoring, host: Host
) -> None:
    found = invitation.read(oci.plain())
    _, line = invitation.make("xserver", {**found.values, setting: value}, found.files, version="0.1", passphrase=None)
    done = host.run("join", line)
    failed = [line for line in done.stdout.splitlines() if "FAIL" in line]
    assert [line.split()[2] for line in failed] == [part], done.stdout
    assert "mend: " in done.stdout
    _refused(done, f"{part} failed: nothing was changed")
    assert host.files() == {}


def test_a_host_of_another_version_is_warned_of(oci: Monitoring, host: Host) -> None:
    found = invitation.read(oci.plain())
    _, line = invitation.make("xserver", found.values, found.files, version="9.9.9", passphrase=None)
    done = host.run("join", line)
    assert f"WARN  version  the monitoring host has rectbot 9.9.9, this host {__version__}" in done.stdout
    assert done.returncode == 0


def test_a_file_carries_it_as_well_and_is_for_its_owner_only(oci: Monitoring, host: Host) -> None:
    path = oci.home / "invitation"
    assert oci.invite("xserver", "--plain", "--file", str(path)).stdout == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _refused_again = oci.invite("xserver", "--plain", "--file", str(path))
    assert "is there already" in _refused_again.stderr
    assert host.run("join", str(path)).returncode == 0
    path.unlink()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("invite", "tokyo"), "unknown site 'tokyo'; the sites are xserver, oci"),
        (("invite", "xserver"), "names this machine only: run 'rectbot init --host NAME'"),
        (("invite", "xserver", "--host", "oci.example.org"), "run 'rectbot init --host oci.example.org'"),
        (("invite", "xserver", "--host", "localhost", "--allow", "everybody"), "is not an address"),
        (("revoke", "tokyo"), "unknown site 'tokyo'"),
    ],
)
def test_who_invites_is_told_in_one_line_what_is_missing(words: tuple[str, ...], told: str, oci: Monitoring) -> None:
    _refused(oci.run(*words), told)
