"""`rectbot install`: units that systemd accepts, and lines that cron's shell runs as they are meant."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rectbot.errors import ConfigError, RectbotError
from rectbot.failover.process import containment
from rectbot.install import BOT, PUSH, TIMER, Site, check, crontab, install, units, write
from rectbot.settings import Settings, load_settings

COMPLETE = (
    "DISCORD_BOT_TOKEN=token-of-the-bot\nREDIS_HOST=10.0.0.1\nREDIS_PASSWORD=secret-of-redis\n"
    "PUSHGATEWAY_URL=https://prom.example.org:9443/metrics/job/xserver-bot\nPUSHGATEWAY_PASSWORD=secret-of-push\n"
)
ODD = "we ird$HOME%h\"'\\"  # what a shell, cron and systemd would each like to expand


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "rect bot"
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "bin" / "rectbot").write_text("#!/bin/sh\n")
    (home / ".venv" / "bin" / "rectbot").chmod(0o755)
    (home / ".env").write_text(COMPLETE)
    for name in ("REDIS_HOST", "SITE_ID", "PUSHGATEWAY_URL", "DISCORD_BOT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return home


def settings_of(home: Path) -> Settings:
    return load_settings(rectbot_home=home)


@pytest.mark.parametrize("user", ["daemon", None])
@pytest.mark.parametrize("command", [(), (sys.executable, "-c", "pass", ODD)])
def test_systemd_accepts_the_units(user: str | None, command: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    for name, text in units(Site("xserver", home, user, command, tmp_path)).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in (BOT, PUSH, TIMER))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_system_s_units_expose_little(home: Path, tmp_path: Path) -> None:
    for name, text in units(Site("xserver", home, "daemon")).items():
        (tmp_path / name).write_text(text)
    for name, limit in ((BOT, 28), (PUSH, 25)):  # in tenths; what contains the bot's programs has its price
        command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={limit}", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("user", ["daemon", None])
def test_the_bot_s_unit_allows_what_contains_its_programs_and_the_pushes_none(user: str | None, home: Path) -> None:
    """What containment.py asks of the kernel; the kernel allows a new /proc only where nothing is laid over the old."""
    made = units(Site("xserver", home, user))
    bot = made[BOT]
    assert set(_values(bot, "RestrictNamespaces")) == {"user", "pid", "mnt"}
    allowed = {call for group in _values(bot, "SystemCallFilter") for call in _calls(group)}
    assert {"unshare", "mount", "clone", "clone3", "prctl", "waitid", "pidfd_open", "timerfd_create"} <= allowed
    for setting in ("ProtectKernelTunables", "ProtectKernelLogs"):
        assert _values(bot, setting) == []
        assert _values(made[PUSH], setting) == (["yes"] if user else [])
    assert _values(made[PUSH], "RestrictNamespaces") == ["yes"]
    assert "mount" not in {call for group in _values(made[PUSH], "SystemCallFilter") for call in _calls(group)}


def _values(unit: str, setting: str) -> list[str]:
    found = (line.removeprefix(f"{setting}=") for line in unit.splitlines() if line.startswith(f"{setting}="))
    return [word for words in found for word in words.split()]


def _calls(group: str) -> set[str]:
    """The system calls of one of systemd's groups, or just this one."""
    if not group.startswith("@"):
        return {group}
    command = ["systemd-analyze", "syscall-filter", group]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    words = {line.strip() for line in done.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
    return {call for word in words for call in (_calls(word) if word.startswith("@") else {word})}


PLAYED = {  # systemd.exec(5): what of these settings concerns /proc
    "ProtectProc=invisible": "mount -t proc -o hidepid=invisible,nosuid,nodev,noexec proc /proc",
    "ProtectKernelTunables=yes": "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys",
    "ProtectKernelLogs=yes": "mount --bind /dev/null /proc/kmsg",
}
# The kernel is content with any /proc that can be seen whole, also one in somebody's chroot.
ELSEWHERE = "findmnt -rno TARGET -t proc | grep -vx /proc | xargs -r umount -l"
AS_NOBODY = "setpriv --reuid=64123 --regid=64123 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs"


@pytest.mark.skipif(
    os.geteuid() != 0 or containment.find() != containment.NAMESPACE, reason="takes root, and PID namespaces"
)
def test_under_what_the_bot_s_unit_lays_over_proc_a_namespace_can_be_made(home: Path) -> None:
    """And under what the pushes' unit lays over it none can, which is why the bot's has not all of it."""
    made = units(Site("xserver", home, "daemon"))
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are for its own user only
        Path(name).chmod(0o755)
        program = Path(shutil.copy(containment.__file__, name))
        program.chmod(0o644)
        for unit, allowed in ((BOT, True), (PUSH, False)):
            mounts = [command for setting, command in PLAYED.items() if setting in made[unit].splitlines()]
            mounts.insert(0, ELSEWHERE)
            script = " && ".join([*mounts, f"exec {AS_NOBODY} /usr/bin/python3 -I -S {program}"])
            done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False)
            assert (done.returncode == 0) is allowed, done.stderr


def test_units_hold_no_secret_and_know_their_site(home: Path) -> None:
    made = units(Site("oci", home, "daemon"))
    text = "".join(made.values())
    assert "token-of" not in text
    assert "secret-of" not in text
    for name in (BOT, PUSH):
        assert 'Environment="SITE_ID=oci"\n' in made[name]
        assert f'Environment="BOT_PID_FILE={home}/var/run/bot-oci.pid"\n' in made[name]
    assert "RestartPreventExitStatus=2" in made[BOT], "a wrong setting is no reason to go round in circles"
    assert "KillMode=mixed" in made[BOT], "the watchdog outlives the bot's log-out"


def test_an_odd_command_line_reaches_the_program_as_it_was_given(home: Path, tmp_path: Path) -> None:
    """By systemd's rules: quotes, backslashes, `$$` and `%%`."""
    text = units(Site("xserver", home, None, ("prog", ODD), tmp_path))[BOT]
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%"))
    assert words == [str(home / ".venv/bin/rectbot"), "failover", "run", "--", "prog", ODD]


def test_cron_starts_the_bot_once_and_again_when_it_is_gone(home: Path, tmp_path: Path) -> None:
    """The line is run by the shell that cron uses, with a program in the bot's place that tells how it was started."""
    record, release = tmp_path / "record", tmp_path / "release"
    program = home / ".venv" / "bin" / "rectbot"
    program.write_text(
        f'#!/bin/sh\nfor word; do echo "$word"; done >>"{record}"\necho "$SITE_ID $FAILOVER_ENABLED" >>"{record}"\n'
        f'read -r line <"{release}"\n'
    )
    os.mkfifo(release)
    lines = crontab(Site("xserver", home, None, ("prog", ODD), tmp_path)).splitlines()
    assert [line[:10] for line in lines] == ["# rectbot ", "* * * * * ", "* * * * * "]
    line = lines[1].removeprefix("* * * * * ").replace("\\%", "%")  # as cron hands it to the shell
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    first = subprocess.Popen(["/bin/sh", "-c", line], env=environment)
    try:
        with release.open("w") as end:  # opens when the program has opened its side
            again = subprocess.run(["/bin/sh", "-c", line], env=environment, check=False, timeout=20)
            assert again.returncode == 0
            end.write("go\n")
        assert first.wait(20) == 0
    finally:
        first.kill()
        first.wait()
    log = home / "var" / "bot-xserver.log"
    assert log.stat().st_mode & 0o077 == 0
    log.write_bytes(b"x" * 6_000_000)
    assert record.read_text().splitlines() == ["failover", "run", "--", "prog", ODD, "xserver true"], "it ran once"
    third = subprocess.Popen(["/bin/sh", "-c", line], env=environment)
    try:
        with release.open("w") as end:
            end.write("go\n")
        assert third.wait(20) == 0
    finally:
        third.kill()
        third.wait()
    assert log.stat().st_size < 1_000_000, "what was long is away"
    assert log.with_name("bot-xserver.log.1").stat().st_size == 6_000_000


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("DISCORD_BOT_TOKEN", "DISCORD_BOT_TOKEN"),
        ("REDIS_HOST", "LEASE_URL, REDIS_URL or REDIS_HOST"),
        ("PUSHGATEWAY_URL", "PUSHGATEWAY_URL"),
        ("PUSHGATEWAY_PASSWORD", "PUSHGATEWAY_PASSWORD"),
    ],
)
def test_what_the_site_lacks_is_named_and_nothing_is_written(setting: str, name: str, home: Path) -> None:
    lines = [line for line in COMPLETE.splitlines() if not line.startswith(f"{setting}=")]
    (home / ".env").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=rf"\.env: not set: {name};"):
        check(settings_of(home), Site("xserver", home, None))
    assert not (home / "var").exists()


@pytest.mark.parametrize("url", ["s3://bucket/bots", "etcd://h1,h2,h3/bots", "redis://10.0.0.1"])
def test_a_lease_in_any_store_will_do(url: str, home: Path) -> None:
    (home / ".env").write_text(COMPLETE.replace("REDIS_HOST=10.0.0.1", f"LEASE_URL={url}"))
    check(settings_of(home), Site("xserver", home, None))
    (home / ".env").write_text(COMPLETE + f"LEASE_URL={url}\nREDIS_URL=redis://10.0.0.2\n")
    with pytest.raises(ConfigError, match="LEASE_URL and REDIS_URL name two stores"):
        check(settings_of(home), Site("xserver", home, None))


def test_a_bot_that_is_to_log_in_beside_others_gets_no_units(home: Path) -> None:
    (home / ".env").write_text(COMPLETE + "FAILOVER_ENABLED=false\n")
    with pytest.raises(ConfigError, match="FAILOVER_ENABLED=false contradicts the units"):
        check(settings_of(home), Site("xserver", home, None))


def test_an_unknown_site_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="the sites are xserver, oci"):
        check(settings_of(home), Site("xsrever", home, None))


def test_a_checkout_without_its_packages_is_refused(home: Path) -> None:
    (home / ".venv" / "bin" / "rectbot").unlink()
    with pytest.raises(ConfigError, match="setup"):
        check(settings_of(home), Site("xserver", home, None))


def test_cron_prints_and_writes_nothing(home: Path) -> None:
    said: list[str] = []
    install(settings_of(home), "xserver", (), dry_run=False, cron=True, say=said.append)
    (text,) = said
    assert "rectbot' bot >>" in text
    assert "prometheus-push.sh" in text
    assert "secret-of" not in text
    assert not (home / "var").exists()


def test_the_units_are_written_started_and_left_alone_the_second_time(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd cannot run in a container: a script in its place notes what it is asked."""
    asked = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>"{asked}"\n')
    (tmp_path / "bin" / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    site, folder = Site("xserver", home, None), tmp_path / "units"
    enable = f"--user enable --quiet --now {BOT} {TIMER}"

    assert len(list(write(site, folder))) == 5
    assert {path.name: path.read_text() for path in folder.iterdir()} == units(site)
    assert asked.read_text().splitlines() == ["--user daemon-reload", enable, f"--user restart {BOT}"]
    assert site.pid_file.parent.is_dir()

    asked.unlink()
    assert not any(line.startswith("wrote") for line in write(site, folder))
    assert asked.read_text().splitlines() == ["--user daemon-reload", enable], "the bot is not restarted for nothing"

    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Access denied' >&2\nexit 1\n")
    with pytest.raises(RectbotError, match="daemon-reload failed: Access denied"):
        list(write(site, folder))
