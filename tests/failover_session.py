"""The smallest bot: logs in at the local Discord's gateway, and keeps records that the test reads.

Started as `python -I -S failover_session.py FOLDER GATEWAY_PORT TOKEN MANNERS` under `rectbot failover run`. It holds
a lock on the file FOLDER/one while it lives, which the kernel gives to one process only and takes back when that is
gone: whoever does not get it has found two sessions at one moment, and says so in FOLDER/overlaps.

MANNERS are letters: `s` takes its time to stop, `i` ignores SIGTERM, `d` leaves a daemon behind that holds the lock.
"""

import fcntl
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def write(file: Path, **words: object) -> None:
    stamp = {"at": now(), "pid": os.getpid(), "site": os.environ["RECTBOT_SITE"], "epoch": os.environ["RECTBOT_EPOCH"]}
    with file.open("a") as stream:
        stream.write(json.dumps({**stamp, **words}) + "\n")


def leave_daemon() -> None:
    """A process outside of our process group, whose parent is gone."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
    os.wait()


def frame(payload: object) -> bytes:
    """A text frame of a websocket, masked with zeros (RFC 6455, section 5.2)."""
    data = json.dumps(payload).encode()
    return bytes([0x81, 0x80 | 126]) + len(data).to_bytes(2, "big") + bytes(4) + data


def log_in(port: int, token: str) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=10)
    path = f"/sites/{os.environ['RECTBOT_SITE']}/gateway?v=10&encoding=json"
    link.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b'"op":10' not in answer.replace(b" ", b""):  # HELLO follows the answer to the upgrade
        more = link.recv(4096)
        assert more, answer
        answer += more
    identity = {"token": token, "intents": 1, "properties": {"os": "linux", "browser": "test", "device": "test"}}
    link.sendall(frame({"op": 2, "d": identity}))
    link.settimeout(None)
    return link


def main() -> None:
    folder, port, token, manners = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    records = folder / "records"
    lock = os.open(folder / "one", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        write(folder / "overlaps")
    write(records, what="opened")

    def stop(*_: object) -> None:
        write(records, what="stops")
        if "s" in manners:
            time.sleep(0.1)
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "i" in manners else stop)
    if "d" in manners:
        leave_daemon()
    link = log_in(port, token)
    while link.recv(65536):
        pass
    sys.exit(1)


if __name__ == "__main__":
    main()
