"""Bodies that are not what they say, and a fuzzer: the answer is a sentence, and never 500."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import sqlite3
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from logs_server import T0, LogServer, log_server, protobuf
from logs_watch import FORM, PUSH, Watch, ask


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    folder = tmp_path_factory.mktemp("bodies") / "logs"
    with log_server(folder, "--client-rate", "0") as running:
        yield running
        assert "Traceback" not in running.log


def encodings() -> dict[str, tuple[bytes, str]]:
    plain = json.dumps({"streams": [{"stream": {"job": "odd"}, "values": [[str(T0), "x" * 50]]}]}).encode()
    packed, raw = gzip.compress(plain), zlib.compressobj(wbits=-15)
    deflated = raw.compress(plain) + raw.flush()
    damaged = bytearray(packed)
    damaged[len(damaged) // 2] ^= 0xFF
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # the checksum
    return {
        "plain": (plain, "gzip"),
        "without its end": (packed[:-8], "gzip"),
        "without its last byte": (packed[:-1], "gzip"),
        "half": (packed[: len(packed) // 2], "gzip"),
        "damaged": (bytes(damaged), "gzip"),
        "wrong checksum": (bytes(flipped), "gzip"),
        "header only": (packed[:10], "gzip"),
        "empty": (b"", "gzip"),
        "with something behind": (packed + b"x", "gzip"),
        "x-gzip": (packed[:-8], "x-gzip"),
        "deflate, plain": (plain, "deflate"),
        "deflate, half": (deflated[: len(deflated) // 2], "deflate"),
        "deflate, with something behind": (deflated + b"xx", "deflate"),
        "zlib, without its end": (zlib.compress(plain)[:-4], "deflate"),
        "unknown": (plain, "br"),
        "several": (packed, "gzip, gzip"),
    }


@pytest.mark.parametrize("name", encodings())
def test_a_body_that_is_not_what_it_says(server: LogServer, name: str) -> None:
    body, encoding = encodings()[name]
    status, answer = server.request(PUSH, body, Content_Type="application/json", Content_Encoding=encoding)
    assert status == 400, answer
    assert len(answer) > 10
    assert server.lines('{job="odd"}') == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_bodies_that_are_right_are_taken_in_each_encoding(server: LogServer, kind: str) -> None:
    job = kind[-4:]
    plain = json.dumps({"streams": [{"stream": {"job": job}, "values": [[str(T0), "x"]]}]}).encode()
    if kind.endswith("protobuf"):
        plain = protobuf(f'{{job="{job}"}}', [(T0, "x", {})])
        for cut in (1, 5, len(plain) - 1):
            assert server.request(PUSH, plain[:cut], Content_Type=kind)[0] == 400
            assert server.request(PUSH, plain[:cut], Content_Type=kind, Content_Encoding="snappy")[0] == 400
    raw = zlib.compressobj(wbits=-15)
    for encoding, body in {
        "": plain, "identity": plain, "snappy": plain, "gzip": gzip.compress(plain[:9]) + gzip.compress(plain[9:]),
        "deflate": raw.compress(plain) + raw.flush(), "DEFLATE": zlib.compress(plain),
    }.items():  # fmt: skip
        status, answer = server.request(PUSH, body, Content_Type=kind, Content_Encoding=encoding)
        assert status == 204, (encoding, answer)
    assert server.lines(f'{{job="{job}"}}') == [(T0, "x")]


def test_forms_of_another_kind(server: LogServer) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/mixed; boundary="):
        for body in (
            b"",
            b"--x\r\n",
            b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nx\r\n--x--',
            b"\xff",
        ):
            for path in ("query", "query_range", "labels", "series", "delete"):
                status, answer = server.request(f"/loki/api/v1/{path}", body, Content_Type=kind)
                assert status in ((200, 400) if not body else (400,)), (path, kind, body, answer)
    assert server.request("/loki/api/v1/query", b"query=%ff%fe", Content_Type=FORM)[0] == 400
    assert server.request("/loki/api/v1/query", b"a=b&" * 5000, Content_Type=FORM)[0] == 400
    assert server.request("/loki/api/v1/query", b"query=" + b"x" * 600_000, Content_Type=FORM)[0] == 413


FUZZ_SECONDS = float(os.environ.get("RECTBOT_FUZZ_SECONDS", "6"))
_PIECES = [
    *"{}[]\"'`\\|=~!>(),.- \n%&\x00\ufffdé",
    *("..", "\x1b[", "9" * 400, "1e999", "NaN", "null", "true", "0x", "/**/", "{{", "}}", "$a", ":=", "json", "logfmt"),
    *("unwrap", "rate", "line_format", "label_format", "[5m]", "offset", "by", "or", "%ff", "ip(", "regexp", "(?P<a>"),
]


def _mutated(dice: random.Random, text: str) -> str:
    for _ in range(dice.randrange(1, 6)):
        place, end = sorted((dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)))
        what = dice.randrange(4)
        if what == 0:
            text = text[:place] + dice.choice(_PIECES) * dice.choice((1, 1, 3, 50)) + text[place:]
        elif what == 1:
            text = text[:place] + text[end:]
        elif what == 2:
            text = text[:end] + text[place:end] * dice.choice((1, 2, 20)) + text[end:]
        else:
            text = text[:place] + chr(dice.choice((0, 10, 34, 92, 123, 127, 255, 0x3042))) + text[place + 1 :]
    return text


def test_a_fuzzer_finds_no_500(server: LogServer) -> None:
    """For a bounded time; RECTBOT_FUZZ_SECONDS=600 looks longer. The seed is in the message of a failure."""
    seed = random.SystemRandom().randrange(1 << 32)
    dice = random.Random(seed)
    good = [
        '{job=~"t|evil"} |= "line" != "x" |~ "a.*" | json a="b[0]" | logfmt | v > 5s or a="b" | line_format "{{.v}}"',
        'sum by (a) (rate({job="t"} | logfmt | unwrap duration(v) | __error__="" [5m] offset 1m)) > 2 or vector(1)',
        'quantile_over_time(0.5, {job="t"} | regexp `(?P<n>\\d+)` | unwrap n [1h]) by (job)',
        '{job="t"} | label_format a=`{{ printf "%5d|%s" 3 (.v | upper) }}`, b=job | drop v | keep a',
        '{job="evil"} | pattern "<a>=<b>" | decolorize |> "<_>x<_>"',
        'topk(2, label_replace(count_over_time({job=~".+"}[1m]), "a", "$1", "job", "(.*)"))',
    ]
    push = json.dumps(
        {"streams": [{"stream": {"job": "fuzz"}, "values": [[str(T0), "x", {"k": "v"}], [str(T0 + 1), "y"]]}]}
    )
    paths = (
        "query",
        "query_range",
        "detected_fields",
        "series",
        "index/volume",
        "index/stats",
        "labels",
        "format_query",
    )
    end = time.monotonic() + FUZZ_SECONDS
    with Watch(server) as watch:
        while time.monotonic() < end:
            if dice.randrange(3):
                params = {
                    "query": _mutated(dice, dice.choice(good)),
                    "limit": "50",
                    "start": str(T0),
                    "end": str(T0 + 10**9),
                }
                for name in ("limit", "start", "end", "step", "time", "interval", "since", "direction"):
                    if not dice.randrange(6):
                        params[name] = _mutated(dice, params.get(name, "60"))
                params["match[]"] = params["query"]
                status, body = ask(server, dice.choice(paths), **params)
                sent: Any = params
            else:
                sent = _mutated(dice, push).encode(errors="surrogatepass")
                headers = {
                    "Content_Type": dice.choice(["application/json", "application/x-protobuf", "text/plain", "x"])
                }
                if not dice.randrange(3):
                    headers["Content_Encoding"] = dice.choice(["gzip", "deflate", "snappy", "zstd"])
                    sent = dice.choice(
                        [sent, gzip.compress(sent), gzip.compress(sent)[: dice.randrange(60)], zlib.compress(sent)]
                    )
                status, body = server.request(PUSH, sent, **headers)
            assert status in (200, 204, 400, 413, 429, 504), (seed, sent, status, body[:300])
    watch.check()


def test_what_is_stored_can_be_read_by_sqlite(server: LogServer) -> None:
    """After all of this."""
    with contextlib.closing(sqlite3.connect(server.folder / "logs.db")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
