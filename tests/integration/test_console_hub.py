"""The console in the hub's process, with nothing around it: metrics do not depend on it; it says what is missing."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from hubs import hub, wait


def test_a_console_that_cannot_listen_leaves_the_metrics_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with hub(tmp_path, CONSOLE_PORT=str(port)) as found:
            wait(found, f"no console: the console cannot listen on 127.0.0.1:{port} (Address already in use)")
            assert "rectbot_redis_up 0.0" in found.get("/metrics", found.metrics)


def test_a_console_without_a_password_for_its_login_does_not_start(tmp_path: Path) -> None:
    with hub(tmp_path, CONSOLE_BIND="0.0.0.0") as found:
        wait(found, "no console: the console needs a login here, and DASHBOARD_ADMIN_PASSWORD is not set")
        assert "rectbot_redis_up 0.0" in found.get("/metrics", found.metrics)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", found.console))


def test_without_a_console_its_toolkit_is_not_even_loaded(tmp_path: Path) -> None:
    with hub(tmp_path, CONSOLE_PORT="0") as found:
        wait(found, "serving metrics")
        assert "rectbot_redis_up 0.0" in found.get("/metrics", found.metrics)
        assert "orjson" not in Path(f"/proc/{found.process.pid}/maps").read_text()


def test_what_does_not_answer_is_named_with_what_to_do(tmp_path: Path) -> None:
    with hub(tmp_path) as found:
        wait(found, "serving the console")
        page = found.get("/")
        assert "Redis does not answer, so nobody can say who leads" in page
        assert "rectbot doctor" in page
        assert "Prometheus does not answer" in page
        assert "Alertmanager does not answer, so alerts cannot be shown" in page
        missing = found.get("/d/rectbot-overview")
        assert "overview.json is not shown: it cannot be read" in missing
        assert "rectbot dashboards build" in missing
        assert list(tmp_path.rglob(".nicegui")) == []


def test_a_page_does_not_wait_for_what_hangs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        port = str(silent.getsockname()[1])
        with hub(tmp_path, REDIS_PORT=port, CONSOLE_PROMETHEUS_URL=f"http://127.0.0.1:{port}") as found:
            wait(found, "serving the console")
            assert "Redis does not answer, so nobody can say who leads" in found.get("/")


def test_an_open_page_does_not_keep_the_hub_from_stopping(tmp_path: Path) -> None:
    with hub(tmp_path) as found:
        wait(found, "serving the console")
        with socket.create_connection(("127.0.0.1", found.console)) as client:
            client.sendall(
                b"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                + f"Host: 127.0.0.1:{found.console}\r\nOrigin: http://127.0.0.1:{found.console}\r\n".encode()
                + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert client.recv(12) == b"HTTP/1.1 101"
            began = time.monotonic()
            found.process.send_signal(signal.SIGTERM)
            assert found.process.wait(timeout=10) == 0
            assert time.monotonic() - began < 4
