"""The policy of docker-compose.monitoring.yml: what it may publish, and how every container is held."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import re2
import yaml

from rectbot import __version__
from rectbot.settings import KNOWN
from rectbot.stack.init import init
from rectbot.stack.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.monitoring.yml"
Service = dict[str, Any]
VM_MIB = 1024
SYSTEM_MIB = 96  # the least that is left of it for the kernel, sshd and Docker itself, which may swap


def _load() -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load(COMPOSE.read_text()))


CONFIG = _load()
SERVICES: dict[str, Service] = CONFIG["services"]
ALWAYS = {name: service for name, service in SERVICES.items() if "profiles" not in service}
STAYING = {name for name in SERVICES if name != "bi-setup"}
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def _filled_in(text: str) -> str:
    """Compose's ${NAME:-default} with nothing set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _mib(size: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([mg])", size).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "g" else 1)


def _binds(service: Service) -> list[tuple[str, str]]:
    """Mounted paths of the host, and how they are mounted."""
    volumes = [_filled_in(volume).split(":") for volume in service.get("volumes", [])]
    return [(parts[0], parts[2] if len(parts) > 2 else "rw") for parts in volumes if parts[0].startswith((".", "/"))]


def _environment(service: Service) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def test_the_parts_are_those_of_the_design() -> None:
    assert set(ALWAYS) == {
        *("redis", "pushgateway", "prometheus", "alertmanager", "nginx", "loki", "grafana", "alloy", "hub", "bot")
    }
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if name not in ALWAYS}
    assert profiles == {
        "redis-tls": ["redis-tls"],
        "cloudflared": ["tunnel"],
        "metabase": ["bi"],
        "metabase-db": ["bi"],
        "bi-setup": ["bi-setup"],
    }


def test_only_the_push_proxy_is_published_to_other_hosts() -> None:
    published = {name: [_filled_in(port) for port in s.get("ports", [])] for name, s in SERVICES.items()}
    assert {name: ports for name, ports in published.items() if ports} == {
        "nginx": ["0.0.0.0:9443:9443"],
        "grafana": ["127.0.0.1:3000:3000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "pushgateway": ["127.0.0.1:9091:9091"],
        "alertmanager": ["127.0.0.1:9093:9093"],
        "loki": ["127.0.0.1:3100:3100"],
        "hub": ["127.0.0.1:3002:3002"],  # the console, never the metrics
        "redis-tls": ["127.0.0.1:6379:6379"],
        "metabase": ["127.0.0.1:3001:3000"],
    }
    for ports in published.values():
        for port in ports:
            assert ipaddress.ip_address(port.split(":")[0]).version == 4, "an IPv6 client would come from the bridge"


def test_redis_cannot_be_reached_but_by_its_clients() -> None:
    assert CONFIG["networks"]["store"] == {"internal": True}
    assert SERVICES["redis"]["networks"] == ["store"]
    members = {name for name, service in SERVICES.items() if "store" in service.get("networks", [])}
    assert members == {"redis", "hub", "bot", "redis-tls"}


def test_what_sets_metabase_up_is_alone_with_its_superusers_and_has_no_way_out() -> None:
    assert CONFIG["networks"]["bi"] == {"internal": True}
    members = {name for name, service in SERVICES.items() if "bi" in service.get("networks", [])}
    assert members == {"metabase", "metabase-db", "hub", "bi-setup"}
    holders = {name for name, service in SERVICES.items() if "bi.env" in str(service.get("secrets", []))}
    assert holders == {"bi-setup"}
    assert SERVICES["bi-setup"]["networks"] == ["bi"]


def test_the_tunnel_reaches_grafana_only() -> None:
    assert SERVICES["cloudflared"]["networks"] == ["tunnel"]
    members = {name for name, service in SERVICES.items() if "tunnel" in service.get("networks", [])}
    assert members == {"cloudflared", "grafana"}


@each_service
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[^:$]+:\$\{[A-Z]+_VERSION:-[^}]+\}", image), "a variable takes another version"
    tag = _filled_in(image).rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(\.x)?", tag), "a full version, so that an upgrade is a commit"


def test_our_image_carries_the_projects_version_and_the_same_base_in_both_stages() -> None:
    assert {_filled_in(SERVICES[name]["image"]) for name in ("hub", "bot", "bi-setup")} == {f"rectbot:{__version__}"}
    bases = re.findall(r"^FROM (\S+)", (ROOT / "docker/bot/Dockerfile").read_text(), re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


@each_service
def test_a_container_may_do_next_to_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert service["pids_limit"] <= 512
    user = service["user"]
    assert re.fullmatch(r"\d+:\d+", user), "a number, so that it does not depend on the image"
    if name == "alloy":  # reads root's log files; it has no capability, and not Docker's socket
        assert user == "0:0"
    else:
        assert not user.startswith("0:")


@each_service
def test_what_is_mounted_from_the_host_is_read_only_and_never_dockers_socket(name: str) -> None:
    for path, mode in _binds(SERVICES[name]):
        assert mode == "ro", path
        assert "docker.sock" not in path


@each_service
def test_a_container_is_restarted_checked_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("unless-stopped" if name in STAYING else "no")
    assert _mib(service["mem_limit"]) > 0
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file", "labels"}
    checked_in_image = "HEALTHCHECK" in (ROOT / "docker/bot/Dockerfile").read_text()
    if name not in STAYING:
        assert service["healthcheck"] == {"disable": True}
    elif name == "bot":
        assert checked_in_image
    else:
        assert service["healthcheck"]["test"]
        assert service["healthcheck"]["interval"] == "30s"


def test_memory_fits_a_vm_of_one_gigabyte() -> None:
    assert sum(_mib(service["mem_limit"]) for service in ALWAYS.values()) <= VM_MIB - SYSTEM_MIB


@each_service
def test_go_keeps_below_the_limit_before_the_kernel_has_to(name: str) -> None:
    limit = _environment(SERVICES[name]).get("GOMEMLIMIT")
    if limit is not None:
        assert int(limit.removesuffix("MiB")) <= 0.9 * _mib(SERVICES[name]["mem_limit"])


@each_service
def test_what_a_container_writes_lies_in_a_volume_or_in_memory(name: str) -> None:
    volumes = [v.split(":")[0] for v in SERVICES[name].get("volumes", []) if not v.startswith((".", "/", "$"))]
    assert set(volumes) <= set(CONFIG["volumes"])
    for entry in SERVICES[name].get("tmpfs", []):
        path, _, options = entry.partition(":")
        assert re.match(r"size=\d+m(,|$)", options), "a tmpfs without a size may take half of the memory"
        # It takes over the mode of the folder that it covers, which is root's 0755 but for /tmp.
        user, group = SERVICES[name]["user"].split(":")
        assert path == "/tmp" or f"uid={user},gid={group},mode=" in options


def test_no_secret_is_an_environment_variable() -> None:
    text = COMPOSE.read_text()
    for secret in ("PASSWORD", "TOKEN", "WEBHOOK"):
        assert not re.findall(rf"\$\{{\w*{secret}\w*", text)
    for service in SERVICES.values():
        for name, value in _environment(service).items():
            if re.search("PASS|TOKEN|WEBHOOK|SECRET", name):
                assert value.startswith("/run/secrets/"), name


def test_everything_mounted_is_there_after_init(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    shutil.copytree(
        ROOT / "docker",
        tmp_path / "docker",
        ignore=shutil.ignore_patterns("secrets", "tls.*", "htpasswd", "allow*.conf"),
    )
    list(init(Layout(tmp_path, tmp_path / "var")))
    operators_own = {"cloudflared-credentials.json"}
    for name, secret in CONFIG["secrets"].items():
        assert (tmp_path / secret["file"]).is_file() or name in operators_own, name
    assert (tmp_path / CONFIG["configs"]["allowlist.conf"]["file"]).is_file()
    used = {
        s if isinstance(s, str) else s["source"] for service in SERVICES.values() for s in service.get("secrets", [])
    }
    assert used == set(CONFIG["secrets"])
    for service in SERVICES.values():
        for path, _ in _binds(service):
            if path.startswith("."):
                assert (tmp_path / path).exists(), path


def test_every_volume_of_files_is_committed() -> None:
    """What `init` writes is a config or a secret, of which Docker says that it is missing; of a volume it would not."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("only git knows what is committed")
    listing = subprocess.run(["git", "ls-files", "docker"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for service in SERVICES.values():
        for path, _ in _binds(service):
            if path.startswith("."):
                assert any(name.startswith(path.removeprefix("./")) for name in listing.split()), path


def test_every_variable_is_explained_and_has_a_default() -> None:
    text = COMPOSE.read_text()
    names = set(re.findall(r"\$\{(\w+)", text))
    assert names == set(re.findall(r"\$\{(\w+):-", text)), "an empty value in .env counts as unset"
    example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert names <= example


def test_the_bot_gets_every_setting_of_the_failover() -> None:
    environment = _environment(SERVICES["bot"])
    prefixes = ("FAILOVER_", "FAILBACK_", "LOCK_", "RENEW_", "HB_", "STOP_", "LEADER_", "LOGIN_", "BOT_APP")
    discord = ("DISCORD_API", "DISCORD_LOGIN", "DISCORD_AWAY")
    assert {name for name in KNOWN if name.startswith((*prefixes, *discord))} <= set(environment)
    assert (environment["FAILOVER_ENABLED"], _filled_in(environment["SITE_ID"]), environment["REDIS_HOST"]) == (
        "true",
        "oci",
        "redis",
    )


def test_prometheus_finds_its_targets_under_the_names_of_the_services() -> None:
    for path in (ROOT / "docker/monitoring/prometheus/targets").glob("*.yml"):
        for group in yaml.safe_load(path.read_text()):
            for target in group["targets"]:
                host = target.partition(":")[0]
                assert "monitor" in SERVICES[host]["networks"], target


def test_the_tunnels_example_shows_grafana_and_refuses_the_rest() -> None:
    example = yaml.safe_load((ROOT / "docker/monitoring/cloudflared/config.example.yml").read_text())
    assert [rule["service"] for rule in example["ingress"]] == ["http://grafana:3000", "http_status:404"]
    assert example["credentials-file"] == "/run/secrets/cloudflared-credentials.json"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-11-24 01:00:00,123 INFO rectbot.hub: an error x", "INFO"),
        ("[2026-11-24 01:00:00] [WARNING ] discord.gateway: slow", "WARN"),
        ('ts=2026-11-24T01:00:00.000Z caller=main.go:3 level=warn msg="error"', "warn"),
        ('{"level":"error","msg":"x"}', "error"),
        ("2026/11/24 01:00:00 [error] 7#7: *1 open() failed", "error"),
        ("1:M 24 Nov 2026 01:00:00 * Ready to accept connections", None),
        ("an information about debugging", None),
    ],
)
def test_the_containers_lines_get_the_labels_that_the_dashboards_filter_by(line: str, level: str | None) -> None:
    alloy = (ROOT / "docker/monitoring/alloy/config.alloy").read_text()
    labels = re.search(r"stage\.labels \{\s*values = \{(.*)\}", alloy)
    assert labels is not None
    assert set(re.findall(r"(\w+) =", labels[1])) >= {"job", "level"}
    assert 'stage.static_labels {\n    values = {site = sys.env("SITE_ID")}' in alloy
    assert _filled_in(_environment(SERVICES["alloy"])["SITE_ID"]) == "oci"
    expression = re.search(r"expression = `(.*)`", alloy)
    assert expression is not None
    found = re2.search(expression[1], line)  # Go's regular expressions, as Alloy's
    assert (found["level"] if found else None) == level


def test_grafana_lets_nobody_in_without_a_password() -> None:
    ini = (ROOT / "docker/monitoring/grafana/grafana.ini").read_text()
    sections = {
        name: dict(re.findall(r"^(\w+) = (.*)$", body, re.MULTILINE))
        for name, body in re.findall(r"^\[([\w.]+)\]\n(.*?)(?=^\[|\Z)", ini, re.MULTILINE | re.DOTALL)
    }
    assert sections["auth.anonymous"]["enabled"] == "false"
    assert sections["users"]["allow_sign_up"] == "false"
    assert sections["security"]["cookie_secure"] == "true"
    assert sections["public_dashboards"]["enabled"] == "false"
    assert "admin_password" not in ini.replace("administrator's password", "")


def test_the_data_sources_have_the_uids_that_dashboards_name() -> None:
    path = ROOT / "docker/monitoring/grafana/provisioning/datasources/datasources.yaml"
    sources = yaml.safe_load(path.read_text())["datasources"]
    assert {source["uid"]: source["type"] for source in sources} == {
        "prometheus": "prometheus",
        "loki": "loki",
        "alertmanager": "alertmanager",
    }
    environment = _environment(SERVICES["grafana"])
    for source in sources:
        assert source["url"].removeprefix("$") in environment
