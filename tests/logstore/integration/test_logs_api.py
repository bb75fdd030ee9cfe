"""Loki's HTTP API: pushes in every encoding, what Grafana asks, limits, tailing, deletion, and errors as Loki's."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import cramjam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logs_server import T0, LogServer, log_server, protobuf

PUSH = "/loki/api/v1/push"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    with log_server(tmp_path_factory.mktemp("api") / "logs") as running:
        for site in ("xserver", "oci"):
            values = [
                [str(T0 + number * 10**9), json.dumps({"level": "info", "n": number, "took": f"{number}ms"})]
                for number in range(300)
            ]
            assert running.push({"job": "bot", "site": site}, values) == (204, b"")
        yield running
        assert "Traceback" not in running.log


def test_protobuf_and_snappy(server: LogServer) -> None:
    body = protobuf('{job="pb", odd="a\\"b"}', [(T0 + 5, "one", {"trace": "t1"}), (T0 + 3, "zwei é", {})])
    assert server.request(PUSH, body, Content_Type="application/x-protobuf")[0] == 204
    result = server.data("query_range", query='{job="pb"} | trace="t1"', start=T0, end=T0 + 10)["result"]
    assert result[0]["values"] == [[str(T0 + 5), "one"]]
    assert result[0]["stream"]["trace"] == "t1"
    assert result[0]["stream"]["odd"] == 'a"b'
    assert server.lines('{job="pb"}') == [(T0 + 3, "zwei é"), (T0 + 5, "one")]


def test_gzip_and_structured_metadata(server: LogServer) -> None:
    push = {"streams": [{"stream": {"job": "gz"}, "values": [[str(T0), "x", {"user": "u"}]]}]}
    body = gzip.compress(json.dumps(push).encode())
    assert server.request(PUSH, body, Content_Type="application/json", Content_Encoding="gzip")[0] == 204
    (stream,) = server.data("query_range", query='{job="gz"} | user="u"', start=T0, end=T0 + 1)["result"]
    assert stream["stream"] == {"job": "gz", "service_name": "gz", "user": "u", "detected_level": "unknown"}


def test_lines_that_hold_newlines_and_anything_else(server: LogServer) -> None:
    lines = ["a\nb", "", "\n", "\x00\x1f", "é\u2028\U0001f600", "}" * 10, '"' + "," * 5]
    values = [[str(T0 + index), line] for index, line in enumerate(lines)]
    assert server.push({"job": "odd"}, values)[0] == 204
    assert [line for _, line in server.lines('{job="odd"}')] == lines
    assert [line for _, line in server.lines('{job="odd"} |= "b"')] == ["a\nb"]
    assert [line for _, line in server.lines('{job="odd"} |~ "^$"')] == [""]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"streams":[{"stream":{},"values":[["1","x"]]}]}', "application/json", 400),
        (b'{"streams":[{"stream":{"a b":"c"},"values":[["1","x"]]}]}', "application/json", 400),
        (b'{"streams":[{"stream":{"a":"c"},"values":[["x","x"]]}]}', "application/json", 400),
        (b'{"streams":[{"stream":{"a":"c"},"values":[[1,2]]}]}', "application/json", 400),
        (b'{"streams":[{"stream":{"a":"c"},"values":[["1"]]}]}', "application/json", 400),
        (b'{"streams":[]}', "application/json", 204),
        (b"nonsense", "application/x-protobuf", 400),
        (b"\xff\xff\xff\xff\x7f", "application/x-protobuf", 400),
        (b"x", "image/png", 400),
    ],
)
def test_pushes_that_are_none(server: LogServer, body: bytes, kind: str, status: int) -> None:
    answer = server.request(PUSH, body, Content_Type=kind)
    assert answer[0] == status, answer


def test_too_long_and_too_new_lines_are_refused_and_the_others_kept(server: LogServer) -> None:
    future = time.time_ns() + 3600 * 10**9
    status, body = server.push(
        {"job": "mixed"}, [[str(T0), "good"], [str(T0 + 1), "x" * 300_000], [str(future), "new"]]
    )
    assert status == 400
    assert b"timestamp too new" in body or b"Max entry size" in body
    assert server.lines('{job="mixed"}') == [(T0, "good")]


def test_a_gzip_bomb_is_refused(server: LogServer) -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    status, _ = server.request(PUSH, bomb, Content_Type="application/json", Content_Encoding="gzip")
    assert status in (400, 413)


GRAFANA: list[tuple[str, dict[str, Any]]] = [
    ("labels", {"start": T0, "end": T0 + 10**12}),
    ("label/site/values", {"start": T0, "end": T0 + 10**12, "query": '{job="bot"}'}),
    ("series", {"match[]": '{job="bot"}', "start": T0, "end": T0 + 10**12}),
    ("index/stats", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12}),
    ("index/volume", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12, "limit": 100}),
    ("index/volume_range", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12, "step": "60"}),
    ("detected_fields", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12, "line_limit": 50}),
    ("detected_labels", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12}),
    ("patterns", {"query": '{job="bot"}', "start": T0, "end": T0 + 10**12, "step": "1m"}),
    ("status/buildinfo", {}),
    ("query", {"query": "vector(1)+vector(1)", "time": "4000000000"}),  # the data source's health check
    (
        "query_range",
        {
            "query": 'sum by (level, detected_level) (count_over_time({job="bot"} | drop __error__ [5s]))',
            "start": T0,
            "end": T0 + 3 * 10**11,
            "step": "5000ms",
            "direction": "backward",
            "limit": "1000",
        },
    ),
    ("query_range", {"query": '{job="bot"} |= ``', "start": T0, "end": T0 + 10**12, "step": "1000ms", "limit": 1000}),
]


@pytest.mark.parametrize(("path", "params"), GRAFANA)
def test_what_grafana_asks(server: LogServer, path: str, params: dict[str, Any]) -> None:
    status, body = server.get(f"/loki/api/v1/{path}", **params)
    assert status == 200, body
    found = json.loads(body)
    if path == "index/stats":
        assert found == {"streams": 2, "chunks": found["chunks"], "entries": 600, "bytes": found["bytes"]}
    elif path == "detected_fields":
        assert {field["label"] for field in found["fields"]} >= {"level", "n", "took", "detected_level"}
        assert {field["label"]: field["type"] for field in found["fields"]}["took"] == "duration"
    elif path == "query":
        assert found["data"]["result"][0]["value"][1] == "2"
    elif path == "label/site/values":
        assert found["data"] == ["oci", "xserver"]
    elif path == "index/volume":
        assert found["data"]["result"][0]["metric"] == {"job": "bot"}
    elif path == "query_range":
        assert found["data"]["stats"]["summary"]["totalLinesProcessed"] == 600
        count = sum(len(item["values"]) for item in found["data"]["result"])
        assert count == (600 if "count" not in params["query"] else 61)


def test_the_same_by_post(server: LogServer) -> None:
    body = f"query=%7Bjob%3D%22bot%22%7D&start={T0}&end={T0 + 10**12}&limit=2".encode()
    status, answer = server.request("/loki/api/v1/query_range", body, Content_Type="application/x-www-form-urlencoded")
    assert status == 200
    assert sum(len(stream["values"]) for stream in json.loads(answer)["data"]["result"]) == 2


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        ("query_range", {"query": "{"}, "parse error at line 1, col 2: syntax error: unexpected $end"),
        ("query_range", {"query": '{a="b"}', "limit": "6000"}, "max entries limit per query exceeded"),
        ("query_range", {"query": '{a="b"}', "direction": "up"}, "invalid direction"),
        ("query_range", {"query": '{a="b"}', "start": "2", "end": "1"}, "end timestamp must not be before"),
        ("query_range", {"query": 'rate({a="b"}[1m])', "start": "1", "end": "100000", "step": "1"}, "exceeded maximum"),
        ("query_range", {"query": '{a="b"}', "start": "x"}, "could not parse"),
        ("query_range", {"query": '{a="b"}', "start": "1", "end": "9000000000"}, "the query time range exceeds"),
        ("query", {"query": '{a="b"}'}, "log queries are not supported as an instant query type"),
        (
            "query",
            {"query": 'sum(count_over_time({job="bot"} | json | took > 5 [1h]))', "time": T0 + 10**11},
            "pipeline error: 'LabelFilterErr'",
        ),
        ("query", {"query": 'count_over_time({job="bot"} | json [1h])', "time": T0 + 6 * 10**11}, "maximum of series"),
        ("delete", {}, ""),
    ],
)
def test_errors_are_plain_sentences(server: LogServer, path: str, params: dict[str, Any], message: str) -> None:
    status, body = server.get(f"/loki/api/v1/{path}", **params)
    assert status == (400 if message else 200)
    assert body.decode().startswith(message or "[")


def test_tail_sends_what_was_and_what_comes(server: LogServer) -> None:
    async def follow() -> list[str]:
        lines: list[str] = []
        url = f'{server.url}/loki/api/v1/tail?query={{job="tail"}}|="keep"&start={T0}&limit=10'
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket_:
            for number in range(3):
                values = [[str(T0 + 10 + number), f"keep {number}"], [str(T0 + 20 + number), "other"]]
                await asyncio.to_thread(server.push, {"job": "tail"}, values)
            while len(lines) < 4:
                for stream in (await socket_.receive_json(timeout=10))["streams"]:
                    lines += [line for _, line in stream["values"]]
        return lines

    assert server.push({"job": "tail"}, [[str(T0), "keep past"]])[0] == 204
    assert asyncio.run(follow()) == ["keep past", "keep 0", "keep 1", "keep 2"]


def test_deletion(server: LogServer) -> None:
    values = [[str(T0 + number), f"line {number}"] for number in range(10)]
    assert server.push({"job": "del"}, values)[0] == 204
    path = f"/loki/api/v1/delete?query=%7Bjob%3D%22del%22%7D%7C%3D%221%22&start={T0}&end={T0 + 100}"
    assert server.request(path, b"", "POST")[0] == 204
    deadline = time.monotonic() + 20
    while len(server.lines('{job="del"}')) == 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [line for _, line in server.lines('{job="del"}')] == [f"line {n}" for n in range(10) if n != 1]
    assert json.loads(server.get("/loki/api/v1/delete")[1])[0]["query"] == '{job="del"}|="1"'


def test_a_client_that_goes_away_ends_its_query(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs") as server:
        for part in range(20):
            values = [[str(T0 + (part * 1000 + n) * 10**6), f"a={n} b=" + "x" * 200] for n in range(1000)]
            assert server.push({"job": "slow"}, values)[0] == 204
        # More queries than may run at once: those behind them can only be answered if the first ones end.
        slow = 'quantile_over_time(0.5,{job="slow"}|logfmt|regexp`(?P<x>x%2B)`|unwrap+a[1h])'.replace('"', "%22")
        links = []
        for _ in range(12):
            link = socket.create_connection(("127.0.0.1", server.port))
            times = f"start={T0}&end={T0 + 10**11}&step=10"
            link.sendall(f"GET /loki/api/v1/query_range?query={slow}&{times} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            links.append(link)
        for link in links:
            link.close()
        begin = time.monotonic()
        assert len(server.lines('{job="slow"}', limit=10)) == 10
        assert time.monotonic() - begin < 20
        assert server.stop() == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_stream = st.fixed_dictionaries({"stream": _json, "values": st.lists(st.lists(_json, max_size=3), max_size=3)})


_bodies = (
    st.binary(max_size=80)
    | _json.map(lambda value: json.dumps(value).encode())
    | _stream.map(lambda value: json.dumps({"streams": [value]}).encode())
)


@given(_bodies, st.sampled_from(["application/json", "application/x-protobuf"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_breaks_the_server(server: LogServer, body: bytes, kind: str) -> None:
    for sent in (body, bytes(cramjam.snappy.compress_raw(body))):
        status, answer = server.request(PUSH, sent, Content_Type=kind)
        assert status in (204, 400), answer
        assert b"Traceback" not in answer
    assert server.get("/ready")[0] == 200


def test_a_parser_whose_labels_nobody_asks_for_does_not_fail_a_metric(server: LogServer) -> None:
    assert server.push({"job": "plain"}, [[str(T0), "no JSON"], [str(T0 + 1), "none either"]])[0] == 204

    def ask(query: str) -> tuple[int, bytes]:
        return server.get("/loki/api/v1/query", query=query, time=T0 + 10**9)

    status, body = ask('sum(count_over_time({job="plain"} | json [1m]))')
    assert (status, json.loads(body)["data"]["result"][0]["value"][1]) == (200, "2")
    for query in (
        'sum by (a) (count_over_time({job="plain"} | json [1m]))',
        'count_over_time({job="plain"} | json [1m])',
    ):
        status, body = ask(query)
        assert status == 400
        assert b"JSONParserErr" in body
    assert ask('sum(count_over_time({job="plain"} | pattern "no capture" [1m]))')[0] == 400


def test_metadata_gives_way_to_the_labels_of_its_stream(server: LogServer) -> None:
    assert (
        server.push({"job": "meta", "site": "oci"}, [[str(T0), "x", {"site": "other"}], [str(T0 + 1), "y"]])[0] == 204
    )
    (stream,) = server.data("query_range", query='{job="meta"} |= "x"', start=T0, end=T0 + 10)["result"]
    assert (stream["stream"]["site"], stream["stream"]["site_extracted"]) == ("oci", "other")
    result = server.data("query", query='sum by (site) (count_over_time({job="meta"}[1m]))', time=T0 + 10**9)["result"]
    assert [(item["metric"], item["value"][1]) for item in result] == [({"site": "oci"}, "2")]
