"""What one client can do to all others: requests, lines and connections that are made to stop the log store.

Whatever is asked, /ready answers at once, pushes are taken, nothing is answered with 500, and memory stays bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from logs_server import T0, LogServer, log_server
from logs_watch import Watch, ask, served
from logstore.store.database import connect

GROW = '{{$a := "xxxxxxxx"}}' + "{{$a = print $a $a}}" * 25
LONG = '{{$a := repeat 1000000 "a"}}'
TEMPLATES = {
    "comments without an end": "{{ " + "/**/" * 20 + "/* ",
    "a comment that is none": "{{ " + "/**/" * 20_000,
    "numbers that grow": "{{$a := 7}}" + "{{$a = mul $a $a}}" * 3000 + "{{add $a $a}}",
    "texts that grow": GROW,
    "texts that grow when encoded": LONG + "{{$a = b64enc $a}}" * 100,
    "replacements that grow": '{{$a := repeat 30000 "a"}}{{replace "" $a $a}}{{Replace $a "a" $a -1}}',
    "replacements by expressions": LONG + '{{regexReplaceAll "" $a "' + "${z}" * 3000 + '"}}',
    "loops in loops": "{{range 10000}}{{range 10000}}{{range 10000}}{{end}}{{end}}{{end}}",
    "loops over lines": '{{range fromJson (print "[" (repeat 90000 "1,") "1]")}}{{range 10000}}{{.}}{{end}}{{end}}',
    "a wide number": '{{printf "%1000000000d|%.1000000000f|%9999999999999999999s" 1 1.0 "x"}}',
    "a format of zeros": '{{printf (print "%" (repeat 900000 "0")) 1}}',
    "many alternatives": "{{if .a}}" + "{{else if .b}}" * 6000 + "{{end}}",
    "many blocks": "{{with .job}}" * 3000 + "{{end}}" * 3000,
    "many links": "{{.job" + " | print" * 20_000 + "}}",
    "many parentheses": "{{print " + "(" * 90 + ".job" + ")" * 90 + "}}",
    "indents": LONG + '{{indent 1000000000 $a}}{{nindent 1000000 (repeat 1000000 "\\n")}}',
    "widths": LONG + "{{alignLeft 1000000000000 $a}}{{alignRight 1000000000000 $a}}{{trunc -9999999999 $a}}",
    "letters to cut": LONG + '{{Trim $a (print (repeat 1000000 "b") "a")}}',
    "long layouts": '{{toDate "' + " 2006" * 20_000 + '" "x"}}{{date "' + "Monday" * 9000 + '" (unixToTime "1")}}',
    "long numbers": '{{unixToTime "'
    + "9" * 20_000
    + '"}}{{add 1 "'
    + "9" * 20_000
    + '"}}{{floor "1e308"}}{{int 1e300}}',
    "a long constant": "{{add 1 " + "9" * 20_000 + "}}",
    "nothing closed": "{{" * 50_000,
    "division": "{{div -9223372036854775808 -1}}{{mod 1 0}}",
    "json in itself": '{{fromJson (repeat 100000 "[")}}',
}
QUERIES = {
    "parentheses": "(" * 10_000 + '{job="t"}' + ")" * 10_000,
    "alternatives": '{job="t"} |= "a"' + ' or "a"' * 9000,
    "filters": '{job="t"}' + ' |= "line"' * 9000,
    "expressions": '{job="t"}' + ' |~ "a{999}b?"' * 5000,
    "repetitions": '{job="t"} |~ "((a{100}){100}){100}"',
    "alternation": '{job="t"} |~ "(' + "|".join(f"x{number}.*" for number in range(1500)) + ')+$"',
    "conditions": '{job="t"} | ' + " or ".join(['a="b"'] * 9000),
    "labels": '{job="t"}' + "".join(f" | label_format l{n}=`{{{{repeat 1000000 .job}}}}`" for n in range(1500)),
    "captures": '{job="evil"} | regexp "' + "".join(f"(?P<a{number}>.*)" for number in range(200)) + '"',
    "a pattern": '{job="evil"} | pattern "' + " ".join(f"<a{number}>" for number in range(3000)) + '"',
    "sums": "+".join(["vector(1)"] * 10_000),
    "numbers": "vector(1) + vector(" + "9" * 20_000 + ")",
    "sizes": '{job="t"} | a > ' + "9" * 5000 + "KB",
    "durations": '{job="t"} | a > ' + "9" * 5000 + "s",
    "ranges": 'rate({job="t"}[' + "9" * 5000 + "s])",
    "offsets": 'rate({job="t"}[1m] offset ' + "1y" * 5000 + ")",
    "replacing": 'label_replace(vector(1), "a", "' + "$1" * 40_000 + '", "", "(.*)")',
    "top": 'topk(999999999999, count_over_time({job="t"}[1m]))',
    "json": '{job="evil"} | json',
    "json by path": '{job="evil"} | json x="a.a.a[0]", y="k1"',
    "logfmt": '{job="evil"} | logfmt --strict | v > 5',
    "logfmt and durations": '{job="evil"} | logfmt | v > 5s or v > 5KB',
    "unpack": '{job="evil"} | unpack',
    "colours": '{job="evil"} | decolorize',
    "addresses": '{job="evil"} |= ip("10.0.0.0/8")',
    "samples": 'quantile_over_time(0.5, {job="evil"} | logfmt | unwrap v | __error__="" [1h])',
    "groups": 'sum by (detected_level, x) (rate({job="evil"} | json [1h]))',
    "comments": "#" * 130_000,
    "too much": '{job="t"} |= `' + "x" * 400_000 + "`",
}
LINES = [
    *("v=" + "9" * 20_000 + "..", "v=" + "1_" * 40_000, "v=" + "9" * 40_000 + "s", "v=0x" + "1" * 9000 + "p99999999"),
    *(
        '{"a":' * 30_000 + "1" + "}" * 30_000,
        "[" * 90_000,
        '{"a":"' + "\\n" * 90_000 + '"}',
        '"' * 90_000,
        "=" * 90_000,
    ),
    *("\x1b" + ";" * 200_000, "1." * 90_000, "::" * 90_000, "{{" * 90_000, 'a="' * 40_000),
    "{" + ",".join(f'"k{number}":{number}' for number in range(12_000)) + "}",
]
PARAMS: list[tuple[str, dict[str, Any]]] = [
    *(("query_range", {"query": '{job="t"}', name: value}) for name in ("step", "start", "end", "limit", "interval")
      for value in ("9" * 7000 + "..", "9" * 5000, "1e400", "NaN", "-1", "-" + "9" * 4000, "0x10", "9" * 18, "\u0664")),
    *(("query", {"query": "vector(1)", "time": value}) for value in ("9" * 5000, "1e400", "NaN", "-" + "9" * 18)),
    ("query_range", {"query": 'rate({job="t"}[1m])', "start": "1", "end": "1000000", "step": "1e-9"}),
    *(("detected_fields", {"query": '{job="evil"}', "limit": value}) for value in ("9" * 30, "-5", "", "10")),
    *(("index/volume", {"query": '{job="t"}', "limit": value}) for value in ("9" * 30, "-5", str(10**18))),
    ("index/volume_range", {"query": '{job="t"}', "step": "0.0000001"}),
    ("series", {"match[]": '{job="t"', "start": "x"}),
    ("delete", {"start": "-" + "9" * 4000, "query": '{job="t"}'}),
    ("label/" + "x" * 3000 + "/values", {}),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogServer]:
    folder = tmp_path_factory.mktemp("attacks") / "logs"
    with log_server(folder, "--query-timeout", "4s", "--client-rate", "0") as running:
        lines = [[str(T0 + number), f"line {number} a=b v={number}s {'x' * 100}"] for number in range(1000)]
        assert running.push({"job": "t"}, lines)[0] == 204
        assert running.push({"job": "evil"}, [[str(T0 + n), line] for n, line in enumerate(LINES)])[0] == 204
        yield running
        assert "Traceback" not in running.log


def query(server: LogServer, text: str) -> tuple[int, bytes]:
    return ask(server, "query_range", query=text, start=T0 - 10**9, end=T0 + 10**9, limit=1000)


def answered(server: LogServer, run: Callable[[], tuple[int, bytes]]) -> None:
    """Whatever the answer is: it comes, it is no failure of ours, and everybody else is served meanwhile."""
    with Watch(server) as watch:
        begin = time.monotonic()
        status, body = run()
        assert time.monotonic() - begin < 25
    assert status in (200, 400, 413, 429, 503, 504), body[:300]
    watch.check()


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates(server: LogServer, name: str) -> None:
    answered(server, lambda: query(server, '{job="t"} | line_format ' + json.dumps(TEMPLATES[name])))
    answered(
        server,
        lambda: query(server, 'sum by (x) (rate({job="t"} | label_format x=' + json.dumps(TEMPLATES[name]) + " [1m]))"),
    )


@pytest.mark.parametrize("name", QUERIES)
def test_queries(server: LogServer, name: str) -> None:
    answered(server, lambda: query(server, QUERIES[name]))


def test_parameters(server: LogServer) -> None:
    with Watch(server) as watch:
        for path, params in PARAMS:
            status, body = server.get(f"/loki/api/v1/{path}", **params)
            assert status in (200, 400), (path, params, body[:200])
    watch.check()


def test_hostile_lines_do_not_hide_the_fields_of_others(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs") as server, Watch(server) as watch:
        assert (
            server.push({"job": "evil"}, [[str(T0 + n), line] for n, line in enumerate([*LINES, "mine=1"])])[0] == 204
        )
        asked = {"query": '{job="evil"}', "start": T0, "end": T0 + 10**9, "line_limit": "1000", "limit": "20000"}
        status, body = ask(server, "detected_fields", **asked)
        assert status == 200, body[:200]
        assert {"mine", "v", "k1"} <= {field["label"] for field in json.loads(body)["fields"]}
    watch.check()


def test_when_all_are_busy_others_are_told_and_pushes_go_on(server: LogServer) -> None:
    slow = '{job="t"} | line_format `' + TEMPLATES["loops in loops"] + "`"
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(query(server, slow)[0])) for _ in range(90)]
    with Watch(server) as watch:
        for thread in threads:
            thread.start()
        for number in range(20):
            assert server.push({"job": "meanwhile"}, [[str(T0 + number), "x"]])[0] == 204
        for thread in threads:
            thread.join()
    assert set(answers) <= {429, 503, 504}
    assert 429 in answers
    watch.check()
    assert len(server.lines('{job="meanwhile"}')) == 20


def test_a_worker_that_hangs_is_replaced(server: LogServer) -> None:
    assert server.process is not None
    served(server)
    [worker] = psutil.Process(server.process.pid).children()
    os.kill(worker.pid, signal.SIGSTOP)  # as one call that never comes back
    try:
        status, body = query(server, '{job="t"}')
        assert status in (503, 504), body
        assert server.push({"job": "meanwhile"}, [[str(T0 + 50), "y"]])[0] == 204
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGCONT)
    assert (T0 + 50, "y") in server.lines('{job="meanwhile"}')
    [other] = psutil.Process(server.process.pid).children()
    assert other.pid != worker.pid


# Deletions


@pytest.mark.parametrize(
    "text",
    [
        *(f'{{job="t"}} | line_format {json.dumps(template)}' for template in list(TEMPLATES.values())[:6]),
        *(
            '{job="t"} | json',
            '{job="t"} | a="b"',
            '{job="t"} | decolorize',
            'rate({job="t"}[1m])',
            "vector(1)",
            "",
            "{",
        ),
        *('{job="t"}' + ' |= "x"' * 60, '{job="t"} |= `' + "x" * 9000 + "`", "(" * 200 + '{job="t"}' + ")" * 200),
    ],
)
def test_a_deletion_says_what_it_means_by_selectors_and_line_filters(server: LogServer, text: str) -> None:
    status, body = ask(server, "delete", query=text, start="1")
    assert status == 400, body
    assert json.loads(server.get("/loki/api/v1/delete")[1]) == []


def test_a_bad_deletion_of_an_earlier_version_does_not_stop_the_store(tmp_path: Path) -> None:
    with log_server(tmp_path / "logs") as server:
        values = [[str(T0), "keep"], [str(T0 + 1), "drop this"]]
        assert server.push({"job": "t"}, values)[0] == 204
        server.stop()
        database = connect(server.folder / "logs.db", write=True)
        for text in (
            f'{{job="t"}} | line_format `{TEMPLATES["loops in loops"]}`',
            "{",
            "{" * 100_000,
            '{job="t"} |= "drop"',
        ):
            row = (text, 0, T0 + 10**9, T0)
            database.execute(
                "INSERT INTO deletion (query, first, last, created, status) VALUES (?, ?, ?, ?, 'received')", row
            )
        database.close()
        server.start()
        deadline = time.monotonic() + 30
        while len(server.lines('{job="t"}')) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.lines('{job="t"}') == [(T0, "keep")]
        found = [one["status"] for one in json.loads(server.get("/loki/api/v1/delete")[1])]
        assert found[:3] == ["failed", "failed", "failed"]
        assert "Traceback" not in server.log
