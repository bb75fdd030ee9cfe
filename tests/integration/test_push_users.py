"""Each site has a push password of its own, with which it pushes under its own job, and nothing else."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from rectbot.stack import push_users
from servers import free_port
from servers_monitoring import PASSWORD, Proxy, lay_out_proxy, pushed_groups, pushgateway, running

SITES = {"xserver": "of-xserver", "Xserver": "of-another", "a-b_c": "of-the-third"}
ENV = {
    "PUSHGATEWAY_PASSWORD": PASSWORD,
    "PUSHGATEWAY_PASSWORDS": ",".join(f"{site}:{secret}" for site, secret in SITES.items()),
    "PUSH_JOBS": "xserver:xserver-bot,a-b_c:shop.bot,a-b_c:game",
    "FAILOVER_PRIORITY": "xserver,Xserver,a-b_c",
}
BODY = b"some_metric 1\n"


@dataclass(frozen=True)
class Stack:
    """A proxy, and the port of the Pushgateway behind it."""

    proxy: Proxy
    behind: int
    pool: urllib3.PoolManager

    def push(self, user: str, password: str, path: str) -> tuple[int, str]:
        headers = {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
        answer = self.pool.request("PUT", self.proxy.url(path), headers=headers, body=BODY)
        return answer.status, answer.data.decode()


@contextmanager
def _stack(folder: Path, values: dict[str, str]) -> Iterator[Stack]:
    """A push proxy for the logins of an env file, in front of a Pushgateway."""
    nginx, port = folder / "nginx", free_port()
    with pushgateway(folder) as behind:
        command = lay_out_proxy(nginx, behind, port)
        (nginx / "htpasswd").unlink()
        list(push_users.write_htpasswd(nginx / "htpasswd", values, anew=False))
        (nginx / "proof.conf").write_text(push_users.render_proof(values))
        context = ssl.create_default_context(cafile=nginx / "tls.crt")
        with (
            urllib3.PoolManager(ssl_context=context, retries=False, timeout=20) as pool,
            running(command, folder / "nginx.log", (nginx / "nginx.pid").exists),
        ):
            yield Stack(Proxy(port, nginx / "tls.crt", folder / "nginx.log"), behind, pool)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with _stack(tmp_path_factory.mktemp("users"), ENV) as stack:
        yield stack


@pytest.mark.parametrize(
    ("site", "job"),
    [("xserver", "xserver-bot"), ("Xserver", "Xserver-bot"), ("a-b_c", "shop.bot"), ("a-b_c", "game")],
)
def test_a_site_pushes_under_its_own_job(site: str, job: str, stack: Stack) -> None:
    assert stack.push(site, SITES[site], f"/metrics/job/{job}")[0] == 200
    assert stack.push(site, SITES[site], f"/metrics/job/{job}/instance/a")[0] == 200
    assert job in pushed_groups(stack.behind)


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/job/shop.bot",
        "/metrics/job/Xserver-bot",
        "/metrics/job/xserver-bot2",
        "/metrics/job/xserver",
        "/metrics/job/shopxbot/instance/xserver-bot",
        "/metrics/job@base64/c2hvcC5ib3Q",  # shop.bot
        "/metrics/job@base64/eHNlcnZlci1ib3Q",  # its own, but in a way that it need not go
        "/metrics/job/shop.bot/label/",
        "/metrics/job/other",
    ],
)
def test_a_site_does_not_push_under_another_s_job(path: str, stack: Stack) -> None:
    before = set(pushed_groups(stack.behind))
    status, text = stack.push("xserver", SITES["xserver"], path)
    assert (status, "own job only" in text) == (403, True)
    assert set(pushed_groups(stack.behind)) == before


def test_a_dot_in_a_job_is_a_dot(stack: Stack) -> None:
    assert stack.push("a-b_c", SITES["a-b_c"], "/metrics/job/shopxbot")[0] == 403


@pytest.mark.parametrize(
    ("user", "password"),
    [("xserver", PASSWORD), ("xserver", "of-another"), ("xserver", "of-the-third"), ("prom", "of-xserver"), ("x", "y")],
)
def test_each_login_has_its_own_password(user: str, password: str, stack: Stack) -> None:
    assert stack.push(user, password, "/metrics/job/xserver-bot")[0] == 401


def test_the_monitoring_host_itself_pushes_under_any_job(stack: Stack) -> None:
    assert stack.push("prom", PASSWORD, "/metrics/job/backup")[0] == 200
    assert stack.push("prom", PASSWORD, "/metrics/job/hub")[0] == 403


def test_a_site_s_log_lines_go_the_same_way(stack: Stack) -> None:
    headers = urllib3.make_headers(basic_auth=f"xserver:{SITES['xserver']}")
    url = stack.proxy.url("/loki/api/v1/push")
    assert stack.pool.request("POST", url, headers=headers, body=b"{}").status == 502, "admitted; there is no Loki here"


@pytest.mark.parametrize("user", ["prom", "a-b_c"])
def test_pushes_of_every_login_are_told_from_guesses(user: str, stack: Stack) -> None:
    """Of guesses are 20 taken at once, and then two a second: so many pushes would not all be."""
    password = SITES.get(user, PASSWORD)
    assert [stack.push(user, password, "/metrics/job/game")[0] for _ in range(50)] == [200] * 50


@pytest.mark.parametrize("user", ['a"b', "a\\b", "ä ö", "$remote_addr", "x;y{}", "~^.*", "a#"])
def test_whatever_the_monitoring_host_is_called_it_is_known(user: str, tmp_path: Path) -> None:
    with _stack(tmp_path, {"PUSHGATEWAY_USER": user, "PUSHGATEWAY_PASSWORD": "pw"}) as stack:
        assert [stack.push(user, "pw", "/metrics/job/any")[0] for _ in range(30)] == [200] * 30


def test_lines_of_others_stay_and_those_of_sites_that_have_none_any_more_go(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    list(push_users.write_htpasswd(path, ENV, anew=False))
    path.write_text(f"{path.read_text()}backup:$2y$10$abc\n")
    assert list(push_users.write_htpasswd(path, ENV, anew=False)) == []
    without = ENV | {"PUSHGATEWAY_PASSWORDS": "Xserver:of-another"}
    assert list(push_users.write_htpasswd(path, without, anew=False))
    assert list(push_users.lines_of(path.read_text())) == ["prom", "Xserver", "backup"]
    assert push_users.admits(path.read_text(), "Xserver", "of-another")
    list(push_users.write_htpasswd(path, without | {"PUSHGATEWAY_PASSWORD": "new"}, anew=True))
    assert list(push_users.lines_of(path.read_text())) == ["prom", "Xserver"]
