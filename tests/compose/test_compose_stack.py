"""The compose file on a real Docker engine, looked at from the neighbour host, from the host itself and from inside.

Prometheus, Alertmanager, Pushgateway, Valkey and nginx are Debian's builds of the same programs; the bot and the hub
run in our own image. Grafana, Loki and Alloy are in no Debian, so of them only the compose file's policy is tested.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.engine import FRIEND, HOST, STRANGER
from compose.stack import RECTBOT, Stack, until
from localdiscord.journal import sessions
from rectbot.lists import parse_logins

pytestmark = pytest.mark.timeout(900)  # the first test waits for the images


def _code(stack: Stack, source: str, *options: str) -> str:
    """The HTTP status that the push proxy gives to an address of the neighbour host; 000: no answer."""
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10", "--interface", source, *options]
    command = [*stack.network.outside, *curl, f"https://{HOST}:9443/metrics/job/compose-test"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _push(stack: Stack, source: str, password: str) -> str:
    certificate = stack.home / "docker/monitoring/tls/tls.crt"
    body = ("--cacert", str(certificate), "-u", f"prom:{password}", "-X", "PUT", "--data-binary", "compose_test 1\n")
    return _code(stack, source, *body)


def test_every_container_gets_healthy(stack: Stack) -> None:
    def all_healthy() -> bool:
        states = {name: each["State"] for name, each in stack.project.containers().items()}
        health = {name: state.get("Health", {}).get("Status", "none") for name, state in states.items()}
        return set(health.values()) == {"healthy"}

    until(all_healthy, "all containers are healthy", timeout=120)
    assert {each["RestartCount"] for each in stack.project.containers().values()} == {0}


def test_the_bot_leads_and_is_logged_in_once(stack: Stack) -> None:
    until(lambda: stack.query('rectbot_failover_leader{site="oci"} == 1'), "oci leads")
    logins = until(lambda: sessions(stack.journal()), "the bot is logged in")
    assert [login.closed for login in logins] == [None]


def test_only_the_promised_ports_listen_on_addresses_of_the_outside(stack: Stack) -> None:
    listening = [line.split()[3] for line in stack.inside("ss", "-Hltn").splitlines()]
    loopback = {address for address in listening if address.startswith("127.")}
    assert set(listening) - loopback == {"0.0.0.0:9443", f"{HOST}:6379"}
    assert {int(address.rpartition(":")[2]) for address in loopback} == {3002, 9090, 9091, 9093}


@pytest.mark.parametrize("port", [3000, 3002, 3100, 9090, 9091, 9093, 9464])
def test_another_host_gets_no_answer_from_a_port_inside(stack: Stack, port: int) -> None:
    command = [*stack.network.outside, "curl", "-s", "-m", "3", f"http://{HOST}:{port}/"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 7, "refused"


def test_the_console_answers_this_host_and_asks_for_a_login(stack: Stack) -> None:
    told = stack.inside("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "http://127.0.0.1:3002/")
    assert told == "303 http://127.0.0.1:3002/login?next=%2F"


def test_the_allowlist_sees_the_clients_own_address_through_dockers_nat(stack: Stack) -> None:
    password = stack.secrets()["PUSHGATEWAY_PASSWORD"]
    assert _push(stack, FRIEND, password) == "200"
    assert _push(stack, FRIEND, "wrong") == "401"
    assert _push(stack, STRANGER, password) == "000", "turned away before TLS"


def test_a_push_from_the_other_host_arrives_in_prometheus(stack: Stack) -> None:
    environment = stack.elsewhere(
        PUSHGATEWAY_URL=f"https://{HOST}:9443/metrics/job/xserver-bot",
        PUSHGATEWAY_USER="prom",
        PUSHGATEWAY_PASSWORD=stack.secrets()["PUSHGATEWAY_PASSWORD"],
        PUSHGATEWAY_CACERT=str(stack.home.parent / "xserver" / "tls.crt"),
    )
    command = [*stack.network.outside, str(RECTBOT), "push"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    until(lambda: stack.query('rectbot_host_memory_used_bytes{job="xserver-bot"}'), "the push is in Prometheus")


def test_prometheus_reaches_its_targets(stack: Stack) -> None:
    running = {"prometheus", "pushgateway", "alertmanager", "hub"}
    query = 'up{job=~"prometheus|pushgateway|alertmanager|hub"} == 1'
    until(lambda: {each["metric"]["job"] for each in stack.query(query)} == running, "the targets are up")


def test_an_alert_reaches_discord_through_the_webhooks_file(stack: Stack) -> None:
    alert = [{"labels": {"alertname": "ComposeTest", "severity": "warning"}, "annotations": {"summary": "tried"}}]
    url = "http://127.0.0.1:9093/api/v2/alerts"
    stack.inside("curl", "-sSf", "-H", "Content-Type: application/json", "-d", json.dumps(alert), url)
    until(lambda: [e for e in stack.journal() if e["event"] == "webhook"], "the message is in Discord")


@pytest.fixture
def other_site(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """A program of site xserver on the neighbour host, under the lease, over TLS; it makes the file when it leads."""
    led = tmp_path / "led"
    environment = stack.elsewhere(
        FAILOVER_ENABLED="true",
        SITE_ID="xserver",
        REDIS_HOST=HOST,
        REDIS_TLS="true",
        REDIS_CACERT=str(stack.home.parent / "xserver" / "tls.crt"),
        REDIS_USER="xserver",
        REDIS_PASSWORD=parse_logins(stack.secrets()["REDIS_PASSWORDS"])["xserver"],
        LOCK_TTL_MS="6000",
        FAILBACK_DELAY_SEC="2",
    )
    command = [*stack.network.outside, RECTBOT, "failover", "run", "--", "sh", "-c", f"touch {led}; exec sleep 600"]
    process = subprocess.Popen([str(part) for part in command], env=environment)
    try:
        yield led
    finally:
        process.terminate()
        process.wait(30)


def test_the_other_host_takes_the_lead_over_redis_with_tls(stack: Stack, other_site: Path) -> None:
    until(other_site.exists, "the program of xserver runs")
    until(lambda: stack.query('rectbot_failover_leader{site="xserver"} == 1'), "xserver leads")


def _redis_answers(stack: Stack, source: str) -> bool:
    """Whether an address of the neighbour host gets as far as Redis' own refusal."""
    options = ["-quiet", "-connect", f"{HOST}:6379", "-CAfile", str(stack.home / "docker/monitoring/tls/tls.crt")]
    command = [*stack.network.outside, "openssl", "s_client", *options, "-bind", source]
    ask = "PING\r\nQUIT\r\n"
    done = subprocess.run(command, input=ask, capture_output=True, text=True, check=False, timeout=30)
    return "NOAUTH" in done.stdout


def test_redis_lets_no_stranger_as_far_as_its_password(stack: Stack) -> None:
    assert _redis_answers(stack, FRIEND)
    assert not _redis_answers(stack, STRANGER)


def test_no_secret_shows_in_an_inspection_or_a_log(stack: Stack) -> None:
    shown = json.dumps(stack.project.containers()) + stack.project.compose("logs", "--no-color")
    for name, secret in stack.secrets().items():
        assert secret not in shown, name


def test_a_container_is_given_its_own_secrets_and_nothing_of_the_others(stack: Stack) -> None:
    assert sorted(mount["Destination"] for mount in stack.project.containers()["hub"]["Mounts"]) == [
        "/app/.env",
        "/app/docker/monitoring/grafana/dashboards",
    ]
    assert "TOKEN" not in stack.project.compose("exec", "-T", "hub", "cat", "/app/.env")


def test_only_its_clients_can_reach_redis(stack: Stack) -> None:
    networks = stack.project.containers()["redis"]["NetworkSettings"]["Networks"].values()
    (address,) = [network["IPAddress"] for network in networks]
    knock = ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/6379 && echo open || true"]
    for service, expected in {"hub": "open", "bot": "open", "prometheus": "", "nginx": ""}.items():
        done = stack.project.compose("exec", "-T", service, "sh", "-c", f"{shlex.join(knock)} || true")
        assert ("open" in done.split()) is bool(expected), f"{service}: {done}"


def test_containers_run_as_users_without_capabilities(stack: Stack) -> None:
    for service in ("redis", "nginx", "prometheus", "hub", "bot"):
        status = stack.project.compose("exec", "-T", service, "cat", "/proc/1/status")
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in values["Uid"].split(), service
        assert int(values["CapEff"], 16) == int(values["CapBnd"], 16) == 0, service
        assert values["NoNewPrivs"] == "1", service


def test_a_log_line_names_its_service_where_the_collector_reads_it(stack: Stack) -> None:
    container = stack.project.containers()["bot"]
    line = Path(str(container["LogPath"])).read_text().splitlines()[0]
    assert json.loads(line)["attrs"] == {"com.docker.compose.service": "bot"}


def test_doctor_finds_every_promise_kept(stack: Stack) -> None:
    environment = {**stack.engine.environment, "RECTBOT_HOME": str(stack.home)}
    command = [*stack.network.engine, str(RECTBOT), "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    assert report["engine"] == "compose"
    others = {check["name"]: check for check in report["checks"] if check["result"] != "PASS"}
    assert set(others) <= {"leader"}, "xserver runs no bot here, so oci leads"
    assert done.returncode == 0, others


def test_what_died_comes_back(stack: Stack) -> None:
    for service in ("redis", "pushgateway"):
        os.kill(stack.project.containers()[service]["State"]["Pid"], signal.SIGKILL)
    password = stack.secrets()["PUSHGATEWAY_PASSWORD"]
    until(lambda: _push(stack, FRIEND, password) == "200", "a push arrives again")
    until(lambda: _redis_answers(stack, FRIEND), "Redis answers the other host again")
    until(lambda: stack.query('rectbot_failover_leader{site="oci"} == 1'), "oci leads again")
    restarts = {name: each["RestartCount"] for name, each in stack.project.containers().items()}
    assert {name for name, count in restarts.items() if count} == {"redis", "pushgateway"}


@pytest.mark.parametrize(("service", "network"), [("pushgateway", "monitor"), ("redis", "store")])
def test_a_part_with_another_address_is_found(stack: Stack, service: str, network: str) -> None:
    before = _address(stack, service, network)
    stack.project.compose("stop", service)
    image = stack.project.containers()[service]["Config"]["Image"]
    filler = ("run", "--detach", "--rm", "--network", f"rectbot_{network}", "--entrypoint", "sleep", image, "600")
    squatter = stack.engine.docker(*filler).split()[-1]  # takes the address that has become free
    try:
        stack.project.compose("start", service)
        assert _address(stack, service, network) != before
        password = stack.secrets()["PUSHGATEWAY_PASSWORD"]
        until(lambda: _push(stack, FRIEND, password) == "200", "a push arrives")
        until(lambda: _redis_answers(stack, FRIEND), "Redis answers the other host")
    finally:
        stack.engine.docker("kill", squatter)


def _address(stack: Stack, service: str, network: str) -> str:
    networks = stack.project.containers()[service]["NetworkSettings"]["Networks"]
    return str(networks[f"rectbot_{network}"]["IPAddress"])


def test_redis_keeps_the_lease_when_it_is_recreated(stack: Stack) -> None:
    epoch = float(stack.query("rectbot_failover_epoch")[0]["value"][1])
    stack.project.compose("up", "--detach", "--no-build", "--force-recreate", "--no-deps", "redis")
    until(lambda: stack.query('rectbot_failover_leader{site="oci"} == 1'), "oci leads", timeout=90)
    assert float(stack.query("rectbot_failover_epoch")[0]["value"][1]) >= epoch


def test_stopping_the_bot_logs_it_out(stack: Stack) -> None:
    stack.project.compose("stop", "bot")
    state = stack.project.containers()["bot"]["State"]
    assert state["ExitCode"] == 0, "it went by itself, not by SIGKILL"
    assert all(login.closed for login in sessions(stack.journal()))
