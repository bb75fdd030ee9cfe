"""Real servers of the lease stores beside Redis: an etcd cluster of three, an S3 server, an embedded Valkey."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers import Process, free_port

BUCKET, ACCESS_KEY, SECRET_KEY = "lease", "test-key", "test-secret-key"
CREDENTIALS = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "region": "us-east-1"}
_PATIENCE_S = 120.0  # four workers share two cores


def _wait(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str, log: Path, pause: float = 0.02
) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        assert process.poll() is None, f"{what} ended: {log.read_text()[-2_000:]}"
        assert time.monotonic() < deadline, f"{what} did not answer in time: {log.read_text()[-2_000:]}"
        time.sleep(pause)


_ANSWERS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)"
_READY = """
import sys, urllib.error, urllib.request
for method, path, data in (("POST", "", None), ("PUT", ".ready", b"yes")):
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, data, method=method), timeout=20).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # the folder is there already
            raise
"""


def _answers(prefix: Sequence[str], address: str, port: int) -> bool:
    command = [*prefix, sys.executable, "-I", "-S", "-c", _ANSWERS, address, str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass
class Program(Process):
    """A server that is started by a command, on data that stays."""

    command: list[str]
    log: Path

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)


@dataclass
class Etcd:
    """A cluster of three members on loopback."""

    folder: Path
    addresses: Sequence[str] = ("127.0.0.1",) * 3
    prefixes: Sequence[Sequence[str]] = ((), (), ())  # of each member's command
    members: list[Program] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = [free_port() for _ in range(3)]
        peers = [free_port() for _ in range(3)]
        places = list(zip(self.addresses, self.ports, peers, strict=True))
        cluster = ",".join(f"m{n}=http://{address}:{peer}" for n, (address, _, peer) in enumerate(places))
        for n, (address, port, peer) in enumerate(places):
            command = [
                *self.prefixes[n],
                "etcd",
                "--name",
                f"m{n}",
                "--data-dir",
                str(self.folder / f"m{n}"),
                "--initial-cluster",
                cluster,
            ]
            for option, where in (
                ("listen-client-urls", port),
                ("advertise-client-urls", port),
                ("listen-peer-urls", peer),
                ("initial-advertise-peer-urls", peer),
            ):
                command += [f"--{option}", f"http://{address}:{where}"]
            command += ["--heartbeat-interval", "50", "--election-timeout", "500"]
            self.members.append(Program(command, self.folder / f"m{n}.log"))

    @property
    def hosts(self) -> str:
        return ",".join(f"{address}:{port}" for address, port in zip(self.addresses, self.ports, strict=True))

    def ctl(self, *words: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """What etcdctl of Debian says; it speaks gRPC, not the gateway that we use."""
        login = ["--user", user] if user else []
        return subprocess.run(
            [*self.prefixes[0], "etcdctl", "--endpoints", self.hosts, *login, *words],
            env=os.environ | {"ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def start(self) -> None:
        for member in self.members:
            if member.process is None:
                member.start()
        first = self.members[0]
        assert first.process is not None
        _wait(lambda: self.ctl("endpoint", "health", "--cluster").returncode == 0, first.process, "etcd", first.log)

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def pause(self) -> None:
        for member in self.members:
            member.pause()

    def resume(self) -> None:
        for member in self.members:
            member.resume()


class S3:
    """SeaweedFS, which speaks S3 with conditional writes; one bucket."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._address, self._prefix = folder, address, prefix
        self.port, self._filer = free_port(), free_port()
        identity = {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir(exist_ok=True)
        weed = str(Path(sys.executable).with_name("weed"))
        ports = {"s3": self.port, "filer": self._filer, "master": free_port(), "volume": free_port()}
        internal = {part: free_port() for part in ports}
        command = [*prefix, weed, f"-logdir={folder}", "server", f"-dir={folder}/data"]
        command += [f"-ip={address}", f"-ip.bind={address}", "-s3"]
        command += [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={folder}/s3",
            f"-filer.localSocket={folder}/filer",
        ]
        command += [f"-s3.config={folder}/s3.json", "-master.volumeSizeLimitMB=16", "-volume.max=4"]
        command += [f"-{part}.port={port}" for part, port in ports.items()]
        command += [f"-{part}.port.grpc={port}" for part, port in internal.items()]
        self._server = Program(command, folder / "weed.log")
        self.pause, self.resume, self.kill = self._server.pause, self._server.resume, self._server.kill
        self._sockets = [Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in internal.items()]

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}:{self.port}"

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/bots?endpoint={self.endpoint}"

    def start(self) -> None:
        self._server.start()
        assert self._server.process is not None
        _wait(self._takes_objects, self._server.process, "weed", self._folder / "weed.log", 0.2)

    def _takes_objects(self) -> bool:
        """To the filer a bucket is a folder. The first object makes it allot a volume, which takes a while."""
        ready = subprocess.run(
            [*self._prefix, sys.executable, "-I", "-c", _READY, f"http://{self._address}:{self._filer}/buckets/{BUCKET}/"],
            capture_output=True, check=False,
        )  # fmt: skip
        return ready.returncode == 0 and _answers(self._prefix, self._address, self.port)

    def remove(self) -> None:
        """What it leaves behind on the disk."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        for socket_file in self._sockets:
            socket_file.unlink(missing_ok=True)


@contextlib.contextmanager
def etcd_cluster(folder: Path) -> Iterator[Etcd]:
    cluster = Etcd(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    server = S3(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.remove()
