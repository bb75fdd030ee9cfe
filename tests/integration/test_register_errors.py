"""What the stores say when they are set up wrong: one clear line, and no lead on doubt."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from lease_servers import CREDENTIALS, S3, Etcd
from rectbot.errors import ConfigError
from rectbot.failover.clock import boottime_ms
from rectbot.failover.stores.base import StoreUnavailable
from rectbot.failover.stores.bucket import BucketRegister
from rectbot.failover.stores.etcd import EtcdRegister
from rectbot.failover.stores.urls import parse_bucket, parse_etcd
from registers import POLL_MS
from servers import free_port

PASSWORD = "p@ss:w/rd"
QUOTED = "p%40ss%3Aw%2Frd"


def on_etcd(url: str) -> EtcdRegister:
    return EtcdRegister(parse_etcd(url), "test/leader", retry_ms=300, silence_ms=1_000)


def on_bucket(url: str, **credentials: str) -> BucketRegister:
    return BucketRegister(parse_bucket(url, CREDENTIALS | credentials), "leader", poll_ms=POLL_MS)


def soon() -> int:
    return boottime_ms() + 3_000


async def _write(register: EtcdRegister | BucketRegister) -> None:
    version = await register.read(soon())
    written = await register.swap(version, os.urandom(8), (), soon())
    assert written.record != version.record
    await register.close()


async def test_etcd_goes_on_while_any_one_member_is_away(etcd: Etcd) -> None:
    register = on_etcd(f"etcd://{etcd.hosts}")
    await _write(register)
    for member in etcd.members:
        member.pause()
        began = time.monotonic()
        await _write(register)
        assert time.monotonic() - began < 2.5  # a new leader may have to be elected
        member.resume()
        member.kill()
        await _write(register)
        etcd.start()


async def test_a_store_that_was_emptied_has_another_name(etcd: Etcd) -> None:
    register = on_etcd(f"etcd://{etcd.hosts}")
    version = await register.read(soon())
    first = await register.swap(version, os.urandom(8), (), soon())
    assert etcd.ctl("del", "", "--from-key").returncode == 0
    now = await register.read(soon())
    assert now.record is None
    assert now.server != first.server
    assert (await register.swap(first, os.urandom(8), (), soon())).record is None
    await register.close()


async def test_etcd_without_a_quorum_is_unavailable_and_says_who_does_not_answer(etcd: Etcd) -> None:
    register = on_etcd(f"etcd://{etcd.hosts}")
    await _write(register)
    for member in etcd.members[:2]:
        member.kill()
    try:
        with pytest.raises(StoreUnavailable, match=r"etcd did not answer in time: 127\.0\.0\.1"):
            await register.read(boottime_ms() + 1_500)
    finally:
        etcd.start()
    await _write(register)


async def test_etcd_with_logins(etcd: Etcd) -> None:
    for words in (
        ("user", "add", "root:root"),
        ("user", "grant-role", "root", "root"),
        ("role", "add", "bots"),
        ("role", "grant-permission", "bots", "readwrite", "--prefix=true", "test/leader"),
        ("user", "add", f"site:{PASSWORD}"),
        ("user", "grant-role", "site", "bots"),
        ("user", "add", "stranger:stranger"),
    ):
        assert etcd.ctl(*words).returncode == 0, words
    with pytest.raises(ConfigError, match="no authentication switched on"):
        await on_etcd(f"etcd://site:{QUOTED}@{etcd.hosts}").read(soon())
    assert etcd.ctl("auth", "enable").returncode == 0
    try:
        await _write(on_etcd(f"etcd://site:{QUOTED}@{etcd.hosts}"))
        for wrong, says in (
            ("site:wrong@", "refuses the login"),
            ("nobody:wrong@", "refuses the login"),
            ("", "refuses the login"),
            ("stranger:stranger@", "may not read and write"),
        ):
            with pytest.raises(ConfigError, match=says) as caught:
                await on_etcd(f"etcd://{wrong}{etcd.hosts}").read(soon())
            assert "wrong" not in str(caught.value)
    finally:
        assert etcd.ctl("auth", "disable", user="root:root").returncode == 0


async def test_etcds_to_a_server_without_tls_and_the_other_way(etcd: Etcd) -> None:
    with pytest.raises(StoreUnavailable, match="does not speak TLS: write etcd://"):
        await on_etcd(f"etcds://{etcd.hosts}").read(soon())


async def test_a_bucket_says_what_is_wrong(bucket: S3) -> None:
    await _write(on_bucket(bucket.url))
    for register, says in (
        (on_bucket(bucket.url, secret_access_key="wrong"), "correct AWS_SECRET_ACCESS_KEY"),
        (on_bucket(bucket.url, access_key_id="wrong"), "correct AWS_ACCESS_KEY_ID"),
        (on_bucket(bucket.url.replace("//lease/", "//nowhere/")), "there is no such bucket"),
    ):
        with pytest.raises(ConfigError, match=says):
            await register.read(soon())
        with pytest.raises(ConfigError, match=says):
            await _write(register)


async def test_a_bucket_that_nobody_serves_is_unavailable() -> None:
    url = f"s3://lease/x?endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailable, match=r"s3://lease/x at http://127.0.0.1:\d+: ") as caught:
        await on_bucket(url).read(soon())
    assert len(str(caught.value)) < 300


class _Heedless(http.server.BaseHTTPRequestHandler):
    """Speaks as much of S3 as older servers do: conditions are not looked at."""

    objects: ClassVar[dict[str, bytes]] = {}
    heeds = ""

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.heeds and self.headers[self.heeds] is not None and self._conflicts():
            self.send_error(412)
            return
        self.objects[self.path] = data
        self._answer(b"", data)

    def _conflicts(self) -> bool:
        there = self.objects.get(self.path)
        if self.heeds == "If-None-Match":
            return there is not None
        return there is None or self.headers["If-Match"] != f'"{hash(there)}"'

    def do_GET(self) -> None:
        data = self.objects.get(self.path)
        if data is None:
            self.send_error(404)
        else:
            self._answer(data, data)

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self._answer(b"", b"")

    def _answer(self, body: bytes, data: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _heedless(heeds: str) -> Iterator[str]:
    handler = type("_Server", (_Heedless,), {"objects": {}, "heeds": heeds})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"s3://lease/x?endpoint=http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("heeds", ["", "If-Match", "If-None-Match"])
async def test_a_bucket_without_conditional_writes_is_refused(heeds: str) -> None:
    with _heedless(heeds) as url:
        register = on_bucket(url)
        version = await register.read(soon())
        with pytest.raises(ConfigError, match="ignores If-Match or If-None-Match"):
            await register.swap(version, b"mine", (), soon())
        assert (await register.read(soon())).record is None


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://bucket?endpoint=",
        "s3://bucket?endpoint=host",
        "s3://bucket?endpoint=https://user:pass@host",
        "s3://bucket?endpoints=https://host",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/prefix#x",
        "ftp://bucket/prefix",
        "bucket",
        "",
    ],
)
def test_a_wrong_bucket_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="LEASE_URL is wrong: write s3://") as caught:
        parse_bucket(url, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "etcd://",
        "etcd:///x",
        "etcd://h1,,h2/x",
        "etcd://h1:0x1/x",
        "etcd://h1:99999/x",
        "etcd://user@h1/x",
        "etcd://h1/x?tls=true",
        "http://h1",
    ],
)
def test_a_wrong_etcd_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="LEASE_URL is wrong: write"):
        parse_etcd(url)


def test_a_right_etcd_url_is_read() -> None:
    cluster = parse_etcd(f"etcds://site:{QUOTED}@h1,h2:1234,[::1]:2380/my/bots?cacert=/etc/ca.pem")
    assert cluster.members == (("h1", 2379), ("h2", 1234), ("::1", 2380))
    assert (cluster.username, cluster.password, cluster.prefix) == ("site", PASSWORD, "my/bots")
    assert cluster.tls
    assert cluster.cacert == Path("/etc/ca.pem")
    assert PASSWORD not in repr(cluster)
