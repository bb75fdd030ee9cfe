"""A backup of servers that run, restored elsewhere: the same answers. And backups that are none."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sqlite3
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from checkout import lay_out
from history_homes import Home
from history_stories import Chapter, play
from logs_server import LogServer
from rectbot.backup.frozen import freeze
from rectbot.backup.sealed import seal, unseal
from rectbot.errors import ConfigError, RectbotError
from rectbot.history.lines import line_of
from servers import free_port
from servers_monitoring import HTTP, answers, running, until

PASSPHRASE = "correct horse battery"
STORY, _ = play(
    [Chapter("xserver", 3, 1, 40, "expired", 2, False), Chapter("oci", 0, 1, 9, "released", 0, False)], open_end=False
)
PERIOD = ("--since", "2026-02-11", "--until", "2026-02-16")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One that `rectbot init` has made, with a history."""
    home = Home(tmp_path / "home", {"BACKUP_PASSPHRASE": PASSPHRASE})
    lay_out(home.folder)
    home.run("init")
    home.run("history", "import", given="".join(f"{line_of(event)}\n" for event in STORY))
    return home


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    """A fresh checkout on another host."""
    empty = Home(tmp_path / "empty", {"BACKUP_PASSPHRASE": PASSPHRASE})
    lay_out(empty.folder)
    return empty


@contextmanager
def _prometheus(home: Home, log: Path) -> Iterator[str]:
    """On this home's data, with itself as what it watches."""
    port = free_port()
    config = log.with_suffix(".yml")
    scrape = {"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
    data = home.folder / "var" / "main" / "prometheus" / "data"
    url = f"http://127.0.0.1:{port}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={url[7:]}",
    ]
    with running(command, log, lambda: answers(f"{url}/-/ready")):
        yield url


def _ask(url: str, at: float) -> Any:
    fields = {"query": "up", "time": str(at)}
    return HTTP.request("GET", f"{url}/api/v1/query", fields=fields).json()["data"]["result"]


def test_what_was_restored_gives_the_same_answers(home: Home, empty: Home, tmp_path: Path) -> None:
    file, lines = tmp_path / "backup", [[str(10**18 + n), f"line {n}"] for n in range(500)]
    dashboard = home.folder / "docker/monitoring/grafana/dashboards/mine.json"
    dashboard.write_text('{"title": "mine"}')
    store = LogServer(home.folder / "var" / "main" / "loki")
    query = f"/loki/api/v1/query_range?query=%7Bjob%3D%22bot%22%7D&start={10**18}&end={10**18 + 1000}&limit=1000"
    with _prometheus(home, tmp_path / "prometheus-1.log") as url:
        store.start()
        try:
            body = json.dumps({"streams": [{"stream": {"job": "bot"}, "values": lines}]}).encode()
            assert store.request("/loki/api/v1/push", body, Content_Type="application/json")[0] == 204
            until(lambda: _ask(url, time.time()), "a scrape")
            at = time.time()
            metric = _ask(url, at)
            said = home.run("backup", str(file))
            logs = json.loads(store.get(query)[1])["data"]["result"]
        finally:
            store.kill()
    report = home.report(*PERIOD)
    assert "secrets, encrypted" in said
    assert file.stat().st_mode & 0o777 == 0o600
    for secret in ((home.folder / ".env").read_text().split("CONSOLE_SECRET=")[1].split()[0], PASSPHRASE):
        assert secret not in said
    assert not list((home.folder / "var" / "main").glob("backup-*"))

    empty.run("restore", str(file))
    for name in (".env", "docker/monitoring/tls/tls.key", "docker/monitoring/pushgateway/htpasswd"):
        assert (empty.folder / name).read_bytes() == (home.folder / name).read_bytes()
        assert (empty.folder / name).stat().st_mode & 0o777 == 0o600
    assert empty.report(*PERIOD) == report
    assert (empty.folder / dashboard.relative_to(home.folder)).read_text() == '{"title": "mine"}'
    store = LogServer(empty.folder / "var" / "main" / "loki")
    store.start()
    try:
        assert json.loads(store.get(query)[1])["data"]["result"] == logs
        assert sum(len(stream["values"]) for stream in logs) == 500
    finally:
        store.kill()
    with _prometheus(empty, tmp_path / "prometheus-2.log") as url:
        again = until(lambda: _ask(url, at), "what was scraped before")
        assert again == metric
    assert "there is data already" in empty.run("restore", str(file), code=1)


def test_secrets_are_left_out_or_kept_on_request(home: Home, empty: Home, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    home.run("backup", "--without-secrets", str(file))
    with tarfile.open(file) as archive:
        names = archive.getnames()
    assert not [name for name in names if "secret" in name or "env" in name or "tls" in name or "htpasswd" in name]
    assert "holds no secrets" in empty.run("restore", str(file), code=2)
    assert not (empty.folder / ".env").exists()
    empty.run("restore", "--without-secrets", str(file))
    assert empty.report(*PERIOD) == home.report(*PERIOD)

    home.run("backup", str(file))
    (empty.folder / ".env").write_text("CONSOLE_LOGIN=true\n")
    assert ".env: is there already, and is other" in empty.run("restore", str(file), code=1)
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase\n")
    assert "the passphrase is wrong" in empty.run("restore", "--passphrase-file", str(wrong), str(file), code=1)
    empty.settings.clear()
    assert "a passphrase is needed" in empty.run("restore", str(file), given="", code=2)
    short = tmp_path / "short"
    short.write_text("short\n")
    assert "at least 8 characters" in home.run("backup", "--passphrase-file", str(short), str(tmp_path / "x"), code=2)
    assert not list(tmp_path.glob("*x*")), "a backup that failed leaves nothing"


def _packed(*members: tuple[str, bytes, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()


MANIFEST = ("manifest.json", tarfile.REGTYPE, b'{"form": 1}')


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive at all",
        _packed(),
        _packed(("manifest.json", tarfile.REGTYPE, b"{}")),
        _packed(("manifest.json", tarfile.REGTYPE, b'{"form": 2}')),
        _packed(MANIFEST, ("../escaped", tarfile.REGTYPE, b"x")),
        _packed(MANIFEST, ("state/../../../escaped", tarfile.REGTYPE, b"x")),
        _packed(MANIFEST, ("/tmp/escaped", tarfile.REGTYPE, b"x")),
        _packed(MANIFEST, ("state/loki/link", tarfile.SYMTYPE, b"")),
        _packed(MANIFEST, ("state/loki/link", tarfile.LNKTYPE, b"")),
        _packed(MANIFEST, ("state/loki/device", tarfile.CHRTYPE, b"")),
        _packed(MANIFEST, ("history.jsonl", tarfile.REGTYPE, b'{"event": {"time": "x"}}')),
        _packed(MANIFEST, ("history.jsonl", tarfile.REGTYPE, b"x" * 100_000))[:-200],
    ],
    ids=itertools.count(),
)
def test_what_is_no_backup_is_refused_in_one_line_and_writes_nowhere_else(
    data: bytes, empty: Home, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    file.write_bytes(data)
    assert empty.run("restore", "--without-secrets", str(file), code=1).count("\n") == 1
    assert not list(tmp_path.rglob("escaped"))
    assert not list((empty.folder / "var" / "main").glob("restore-*"))


def test_a_seal_is_for_who_knows_the_passphrase() -> None:
    sealed = seal(b"secret" * 100, PASSPHRASE)
    assert b"secret" * 2 not in sealed
    assert unseal(sealed, PASSPHRASE) == b"secret" * 100
    assert seal(b"", PASSPHRASE) != seal(b"", PASSPHRASE)
    for place in range(0, len(sealed), 97):
        with pytest.raises(RectbotError):
            unseal(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], PASSPHRASE)
    with pytest.raises(RectbotError):
        unseal(sealed[:20], PASSPHRASE)
    with pytest.raises(ConfigError):
        seal(b"", "short")


def test_a_folder_that_changes_is_frozen_as_a_whole(tmp_path: Path) -> None:
    """Blocks of two files come and go, as Prometheus' do; a database is written."""
    source, stop = tmp_path / "source", threading.Event()
    source.mkdir()
    link = sqlite3.connect(source / "logs.db", check_same_thread=False)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("CREATE TABLE pair (a, b)")
    link.commit()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            made = source / f"block-{number}.tmp"
            made.mkdir()
            (made / "index").write_text(str(number))
            (made / "meta.json").write_text(str(number))
            made.rename(source / f"block-{number}")
            if number > 3:
                old = source / f"block-{number - 3}"
                shutil.rmtree(old.rename(old.with_name(f"{old.name}.tmp-for-deletion")))
            link.execute("INSERT INTO pair VALUES (?, ?)", (number, number))
            link.commit()
            time.sleep(0.002)

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        for number in range(15):
            target = tmp_path / f"frozen-{number}"
            freeze(source, target)
            for block in target.glob("block-*"):
                assert {path.name for path in block.iterdir()} == {"index", "meta.json"}
                assert (block / "index").read_text() == (block / "meta.json").read_text()
            copy = sqlite3.connect(target / "logs.db")
            assert copy.execute("SELECT COUNT(*) FROM pair WHERE a <> b").fetchone() == (0,)
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            copy.close()
    finally:
        stop.set()
        writer.join()
        link.close()
