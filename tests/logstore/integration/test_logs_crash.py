"""kill -9 at any moment loses no line that was answered, and damage is named while the rest is served."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from pathlib import Path

import pytest

from logs_server import T0, LogServer, log_server
from logstore.store.database import connect


class Writer(threading.Thread):
    """Pushes numbered lines until the server dies; knows which ones were answered."""

    def __init__(self, server: LogServer, name: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.server, self.label, self.source = server, name, random.Random(seed)
        self.sent = 0
        self.answered: list[int] = []

    def run(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            while True:
                numbers = range(self.sent, self.sent + self.source.randint(1, 200))
                self.sent = numbers.stop
                values = [[str(T0 + number * 10**6), f"{self.label} {number} " + "x" * 100] for number in numbers]
                body = json.dumps({"streams": [{"stream": {"job": self.label}, "values": values}]})
                link.request("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"})
                answer = link.getresponse()
                answer.read()
                assert answer.status == 204
                self.answered += numbers
        except (OSError, http.client.HTTPException):
            return


@pytest.mark.parametrize("seed", range(3))
def test_kill_during_ingest_loses_nothing_that_was_answered(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    with log_server(tmp_path / "logs") as server:
        for round_ in range(3):
            writers = [Writer(server, f"w{round_}{number}", seed * 10 + number) for number in range(2)]
            for writer in writers:
                writer.start()
            wanted, deadline = source.randint(1, 3000), time.monotonic() + 20
            while sum(len(writer.answered) for writer in writers) < wanted and time.monotonic() < deadline:
                time.sleep(source.random() * 0.01)
            server.kill()
            for writer in writers:
                writer.join(20)
            server.start()
            for writer in writers:
                found: list[int] = []
                for start in range(0, writer.sent, 4000):
                    window = {"start": T0 + start * 10**6, "end": T0 + (start + 4000) * 10**6}
                    lines = server.lines(f'{{job="{writer.label}"}}', **window)
                    found += [int(line.split()[1]) for _, line in lines]
                assert found == sorted(set(found)), "once, and in order"
                assert set(writer.answered) <= set(found) <= set(range(writer.sent))
        assert server.stop() == 0
        assert "damaged" not in server.log


def fill(server: LogServer, pushes: int = 60) -> None:
    for push in range(pushes):
        source = random.Random(push)
        values = [
            [str(T0 + (push * 50 + i) * 10**6), f"{push * 50 + i} {source.getrandbits(900):x}"] for i in range(50)
        ]
        assert server.push({"job": "tail", "part": str(push % 3)}, values)[0] == 204


@pytest.mark.parametrize("damage", ["cut", "garbage", "zeros"])
def test_a_damaged_tail_of_the_file_is_named_and_the_rest_served(tmp_path: Path, damage: str) -> None:
    with log_server(tmp_path / "logs") as server:
        fill(server)
        assert server.stop() == 0
        path = server.folder / "logs.db"
        whole = path.read_bytes()
        keep = len(whole) * 3 // 4 // 8192 * 8192 + 3000
        rest = len(whole) - keep
        tail = {"cut": b"", "garbage": random.Random(1).randbytes(rest), "zeros": bytes(rest)}[damage]
        path.write_bytes(whole[:keep] + tail)
        server.start()
        found = [int(line.split()[0]) for _, line in server.lines('{job="tail"}')]
        assert len(found) > 1000, server.log
        assert found == sorted(set(found))
        assert len(found) < 3000
        assert "damaged" in server.log
        assert "logs.db" in server.log
        assert server.push({"job": "after"}, [[str(T0), "life goes on"]])[0] == 204
        server.kill()
        server.start()
        assert server.lines('{job="after"}') == [(T0, "life goes on")]
        assert len(server.lines('{job="tail"}')) == len(found)


def test_damage_in_the_write_ahead_log_is_named(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs") as server:
        fill(server, 5)
        server.stop()
        server.start()
        fill_after = [[str(T0 + 10**12 + i), f"late {i} " + "y" * 5000] for i in range(40)]
        for value in fill_after:
            assert server.push({"job": "late"}, [value])[0] == 204
        server.kill()
        path = server.folder / "logs.db-wal"
        raw = bytearray(path.read_bytes())
        middle = len(raw) // 2
        raw[middle : middle + 4000] = random.Random(2).randbytes(4000)
        path.write_bytes(raw)
        server.start()
        assert "logs.db-wal" in server.log
        assert "damaged" in server.log
        assert len(server.lines('{job="tail"}')) == 250
        assert 0 < len(server.lines('{job="late"}')) < 40


def test_a_write_that_was_broken_off_is_no_damage(tmp_path: Path) -> None:
    """A frame's header without its page, as a kill between the two leaves it."""
    with log_server(tmp_path / "logs") as server:
        for number in range(10):
            assert server.push({"job": "late"}, [[str(T0 + number), f"late {number}"]])[0] == 204
        server.kill()
        path = server.folder / "logs.db-wal"
        raw = bytearray(path.read_bytes())
        page = int.from_bytes(raw[8:12], "big")
        raw[-page:] = bytes(page)
        path.write_bytes(raw)
        server.start()
        assert "broken off" in server.log
        assert "damaged" not in server.log
        assert len(server.lines('{job="late"}')) == 9


def test_a_damaged_chunk_is_named_and_counted_once_though_another_process_finds_it(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs") as server:
        for number in range(2):
            assert server.push({"job": "x"}, [[str(T0 + number), f"line {number}"]])[0] == 204
        assert server.stop() == 0
        with contextlib.closing(connect(server.folder / "logs.db", write=True)) as database, database:
            database.execute("UPDATE chunk SET text = x'00' WHERE id = 1")
        server.start()
        assert server.lines('{job="x"}') == [(T0 + 1, "line 1")]
        assert server.lines('{job="x"}') == [(T0 + 1, "line 1")]
        assert server.log.count(" chunk 1 of ") == 1
        assert b"rectbot_logs_damaged_chunks_total 1.0" in server.get("/metrics")[1]
