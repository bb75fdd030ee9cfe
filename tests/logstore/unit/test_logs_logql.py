"""LogQL beyond the recorded cases: the grammar, stages on lines, functions of templates, and fuzzing of all of it."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.logql import ast
from logstore.logql.errors import ParseError, QueryError
from logstore.logql.parse import parse
from logstore.logql.units import format_number, parse_duration, parse_float, parse_size
from logstore.pipeline.build import build
from logstore.pipeline.entry import Entry
from logstore.pipeline.lines import line_filter, matching_lines
from logstore.pipeline.template import compile_template
from logstore.store.chunk import decode, decode_text, encode
from logstore.store.levels import detect, detect_in_line, detect_in_lines


def run(pipeline: str, line: str, **labels: str) -> tuple[str, dict[str, str]] | None:
    tree = parse('{a="b"} ' + pipeline)
    assert isinstance(tree, ast.Logs)
    entry = Entry(1_793_491_200 * 10**9, line.encode(), dict(labels), frozenset(labels))
    if not all(stage(entry) for stage in build(tree.stages)):
        return None
    return entry.line.decode(), entry.everything()


def shown(template: str, line: str = "", **labels: str) -> str:
    found = run(f"| line_format {json.dumps(template)}", line, **labels)
    assert found is not None
    assert "__error__" not in found[1], found[1]
    return found[0]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('{job="bot"} | nosuch', "parse error at line 1, col 21: syntax error: unexpected $end"),
        ('rate({job="bot"})', "parse error at line 1, col 17: syntax error: unexpected )"),
        ('count_over_time({job="bot"}[5x])', 'parse error at line 0, col 28: unknown unit "x" in duration "5x"'),
        (
            'quantile_over_time({j="b"} | unwrap x [5m])',
            "parse error : parameter required for operation quantile_over_time",
        ),
        ('{a=~".*"}', "parse error : queries require at least one regexp or equality matcher"),
        ('sum_over_time({a="b"}[5m])', "parse error : invalid aggregation sum_over_time without unwrap"),
        ('topk(sum(rate({a="b"}[1m])))', "parse error : parameter required for operation topk"),
        ('{a=~"("}', "parse error : error parsing regexp:"),
    ],
)
def test_errors_read_as_lokis(query: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(query)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "query",
    [
        '{bytes="1", rate="2", ip="3"} | json bytes, rate="a[0].b" | bytes > 1KB or ip = ip("10.0.0.0/8") and rate != 5',  # noqa: E501
        'sum by (a, b) (rate({x="y"} |= "z" [5m] offset -1h)) / on(a) group_left(b) avg without () (rate({x="y"}[1h30m]))',  # noqa: E501
        'topk(3, sum(rate({x="y"} | logfmt --strict --keep-empty | unwrap duration(took) | __error__="" [1m])) by (a))',
        '{x="y"} # a comment\n  != "a" or "b" |~ `c|d` !> "<_>e" | drop a, b="c" | keep d | decolorize | unpack',
        'label_replace(vector(1), "a", "$1", "b", "(.*)") or -1 * (2 ^ 3 ^ 2) + count_over_time({x="y"}[1d]) > bool 3',
        '({x="y"} | json)',
        'sum(count_over_time(({x="y"} |= "a")[5m]))',
        'rate({x="y"}[5m] |= "late" | json)',
    ],
)
def test_what_loki_accepts_is_accepted(query: str) -> None:
    parse(query)


def test_operators_bind_as_in_promql() -> None:
    tree = parse("vector(1) + vector(2) * vector(3) > vector(4) or vector(5)")
    assert isinstance(tree, ast.Binary)
    assert tree.op == "or"
    assert isinstance(tree.left, ast.Binary)
    assert tree.left.op == ">"
    assert isinstance(tree.left.left, ast.Binary)
    assert tree.left.left.op == "+"


@pytest.mark.parametrize(
    ("template", "labels", "expected"),
    [
        ("{{.a}} {{.missing}}|", {"a": "x"}, "x |"),
        ('{{ printf "%-6s|%5.2f|%03d" .a 3.14159 7 }}', {"a": "x"}, "x     | 3.14|007"),
        ("{{if and (gt (len .a) 2) (ne .a `no`)}}long{{else if .a}}short{{else}}none{{end}}", {"a": "yes"}, "long"),
        ("{{ .a | upper | trunc 2 }}{{- /* gone */ -}} {{ lower `X` }}", {"a": "abc"}, "ABx"),
        ('{{ regexReplaceAll "(a)(b)" .a "${2}$1" }}', {"a": "abab"}, "baba"),
        ("{{ range $i, $w := fromJson .a }}{{$i}}={{$w.k}};{{ end }}", {"a": '[{"k":1},{"k":"z"}]'}, "0=1;1=z;"),
        ("{{ add 1 2 3 }} {{ sub 5 7 }} {{ div -7 2 }} {{ mod 7 3 }} {{ mulf 1.5 2 }} {{ round 2.345 2 }}", {}, "6 -2 -3 1 3 2.35"),  # noqa: E501
        ("{{ __timestamp__ | date `2006-01-02T15:04:05.000Z07:00` }}", {}, "2026-11-01T00:00:00.000Z"),
        ("{{ unixEpochMillis (unixToTime `1793491200`) }}", {}, "1793491200000"),
        ("{{ alignLeft 5 .a }}|{{ alignRight 5 .a }}|{{ alignRight 2 .a }}", {"a": "abc"}, "abc  |  abc|bc"),
        ("{{ default `d` .x }} {{ b64enc .a }} {{ b64dec `YWJj` }} {{ urlencode `a b&` }}", {"a": "abc"}, "d YWJj abc a+b%26"),  # noqa: E501
        ("{{ with $x := .a }}{{ $x }}{{ $.a }}{{ end }}{{ bytes `2KB` }} {{ duration `1m30s` }}", {"a": "q"}, "qq2000 90"),  # noqa: E501
        ('{{ .a | replace "b" "-" | title }} {{ substr 1 3 .a }} {{ count "b" .a }}', {"a": "abcb"}, "A-C- bc 2"),
        ("{{ __line__ | len }}", {}, "4"),
    ],
)  # fmt: skip
def test_templates(template: str, labels: dict[str, str], expected: str) -> None:
    assert shown(template, "line", **labels) == expected


def test_a_template_that_fails_marks_the_line() -> None:
    found = run("| line_format `{{ div 1 .a }}`", "line", a="0")
    assert found is not None
    assert found[0] == "line"
    assert found[1]["__error__"] == "TemplateFormatErr"


@pytest.mark.parametrize(
    ("pipeline", "line", "expected"),
    [
        ("| json", '{"a":1.50,"b":{"c d":true,"e":null},"f":[1]}', {"a": "1.50", "b_c_d": "true"}),
        ('| json x="b[1].c", y="d"', '{"b":[0,{"c":"v"}],"d":{"e":1}}', {"x": "v", "y": '{"e":1}'}),
        ("| logfmt", 'a=1 b="x \\"y\\"" c= d e=é', {"a": "1", "b": 'x "y"', "e": "é"}),
        ("| logfmt --keep-empty", "a=1 c= d", {"a": "1", "c": "", "d": ""}),
        ("| pattern `<ip> - [<_>] <rest>`", "1.2.3.4 - [x] a b", {"ip": "1.2.3.4", "rest": "a b"}),
        ("| regexp `(?P<n>\\d+) (?P<w>\\w+)`", "take 42 cakes", {"n": "42", "w": "cakes"}),
        ("| unpack", '{"c":"x","_entry":"the line"}', {"c": "x"}),
        ("| logfmt | a > 1.5 and b <= 10ms", "a=2 b=9.5ms", {"a": "2", "b": "9.5ms"}),
        ('| logfmt | label_format b=a,c="{{.a}}!"', "a=1", {"b": "1", "c": "!"}),
    ],
)
def test_parsers(pipeline: str, line: str, expected: dict[str, str]) -> None:
    found = run(pipeline, line)
    assert found is not None
    assert found[1] == expected


def test_names_that_are_taken_get_a_suffix() -> None:
    found = run("| json", '{"a":"new","b":"2"}', a="old")
    assert found == ('{"a":"new","b":"2"}', {"a": "old", "a_extracted": "new", "b": "2"})


@pytest.mark.parametrize(
    ("pipeline", "line", "passes"),
    [
        ("|> `<_>b c<_>`", "a b c d", True),
        ("|> `<_> b`", "a b c", False),
        ("|> `a <_>`", "x a b", True),
        ("!> `<_>b c<_>`", "a b c d", False),
        ('|= ip("10.0.0.0/8")', "from 10.1.2.3 to", True),
        ('|= ip("10.0.0.1-10.0.0.9")', "from 10.0.0.10", False),
        ('!= ip("2001:db8::/32")', "from 2001:db8::1", False),
        ('!= "a" or "b"', "xbx", False),
        ('| logfmt | ip = ip("192.168.0.0/16")', "ip=192.168.4.5", True),
        ('| json | b != "x" or c > 5', '{"b":"x","c":6}', True),
        ("| logfmt | a > 5", "b=1", False),
    ],
)
def test_filters(pipeline: str, line: str, passes: bool) -> None:
    assert (run(pipeline, line) is not None) == passes


def test_levels_as_loki_detects_them() -> None:
    cases = {
        b'{"level":"WARN"}': "warn",
        b'{"severity":"Error","x":1}': "error",
        b'{"severity":"Error","level":"info"}': "error",  # the first one in the document
        b'{"a":{"level":"debug"},"level":"info"}': "debug",
        b'{"a":{"b":{"level":"dbg"}},"msg":"x"}': "unknown",  # too deep
        b'{"level":30,"lvl":"wrn"}': "warn",  # only texts count
        b'{"level":"odd","msg":"an error here"}': "error",
        b"lvl=dbg a=b": "debug",
        b"a=b level=weird": "unknown",
        b"\x1b[31mERROR\x1b[0m x": "unknown",
        b"2026-11-27 WARN shard=2": "warn",
        b"WARN shard=2": "warn",
        b"[error] x": "error",
        b"x (fatal)": "fatal",
        b"xerror error_x misc:error": "unknown",
        b"info about an error": "info",  # the first word
        b"err: gone": "error",
        b"Trace|x 'debug'": "unknown",
        b"nothing": "unknown",
    }
    for line, level in cases.items():
        assert detect({}, None, line) == level, line
    assert detect({"level": "CRITICAL"}, None, b"info") == "critical"
    assert detect({"level": "Odd"}, None, b"info") == "Odd"  # what is said outright is taken as it is
    assert detect({}, {"severity_number": "13"}, b"info") == "warn"


def test_levels_of_many_lines_are_those_of_each() -> None:
    lines = [
        *(b'{"level":"info","a":1}', b'{"a":1,"level":"WARN"}', b'{"msg":"error level"}', b'{"level":5}'),
        *(b'{"a":{"level":"debug"},"level":"info"}', b'{"severity":"error","level":"info"}', b'{"x":"level"}'),
        *(b'{"\\u006cevel":"info"}', b'{"level":"odd","m":"error here"}', b'{"lvl":"err"}'),
    ]
    for count in range(1, 4):
        for chosen in product(lines, repeat=count):
            text = b"".join(line + b"\n" for line in chosen)
            assert detect_in_lines(text, chosen) == list(map(detect_in_line, chosen)), chosen


def test_units() -> None:
    assert parse_duration("1h30m") == 5400 * 10**9
    assert parse_duration("-1.5s") == -1_500_000_000
    assert parse_size("1.2MB") == 1_200_000
    assert parse_size("1KiB") == 1024
    for wrong in ("11.597", "", "5x"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(wrong)


@given(st.floats(allow_nan=False))
def test_numbers_are_written_so_that_they_read_back(value: float) -> None:
    text = format_number(value)
    assert "e" not in text
    assert (float(text) if "Inf" not in text else parse_float(text)) == value


_line = st.binary(max_size=12).map(lambda raw: raw.replace(b"\x00", b"ab")) | st.sampled_from([b"ab", b"ba\nab", b""])


@given(
    st.lists(_line, min_size=1, max_size=8),
    st.sampled_from(["ab", "a.*b", "^b", "b$", "[^a]+", r"\bab\b", "a|b", "a\\s+b", "(?i)A"]),
)
def test_searching_a_block_finds_what_searching_lines_finds(lines: list[bytes], pattern: str) -> None:
    texts = [line.decode(errors="replace") for line in lines]
    (packed,) = encode(list(range(len(lines))), texts, {})
    block = decode(packed.head, decode_text(packed.text))
    assert block.lines() == [text.encode() for text in texts]
    for op in ("|=", "!=", "|~", "!~"):
        filter_ = line_filter(ast.LineFilter(op, (("", pattern),)))
        found = matching_lines(block.text, block.starts, filter_)
        assert found == [index for index, line in enumerate(block.lines()) if filter_(line)]


_WORDS = r"""{ } a="b" [5m] | |= != "x" `y` json logfmt sum rate ( ) by 5 1KB or and unwrap ip( , = > a line_format
    {{ offset bool on # \ é"""
_words = st.sampled_from(_WORDS.split())


@given(st.lists(_words, max_size=14).map(" ".join) | st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        tree = parse(text)
        if isinstance(tree, ast.Logs):
            build(tree.stages)
    except QueryError:
        return  # any other exception fails the test


@given(
    st.text(max_size=60),
    st.lists(st.sampled_from(["{{", "}}", ".a", "|", "if", "end", "range", "(", ")", '"', "$x", ":="])),
)
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_a_template(text: str, words: list[str]) -> None:
    for template in (text, " ".join(words), "{{" + text + "}}"):
        entry = Entry(0, b"line", {"a": "1"}, frozenset())
        try:
            (stage,) = build([ast.LineFormat(template)])
        except ParseError:
            continue
        assert stage(entry)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_line_breaks_a_parser(line: bytes) -> None:
    for pipeline in (
        "| json",
        "| logfmt",
        "| unpack",
        '| json x="a[0]"',
        "| pattern `<a> <b>`",
        "| decolorize | logfmt --strict",
    ):
        tree = parse('{a="b"} ' + pipeline)
        assert isinstance(tree, ast.Logs)
        for text in (line, b'{"a":' + line + b"}", b"a=" + line):
            entry = Entry(0, text.decode(errors="replace").encode(), {}, frozenset())
            assert all(stage(entry) for stage in build(tree.stages))


def test_templates_print_numbers_as_go_does() -> None:
    printed = {
        "{{ .n | bytes }}": "3e+06",
        "{{ addf 0.1 0.2 }}": "0.3",
        "{{ divf 20.2 5.25 }}": "3.8476190476190477",
        "{{ round -2.5 0 }} {{ round 2.5 0 }} {{ floor 99999.9 }}": "-3 3 99999",
        "{{ mulf 1 0.00001 }} {{ float64 1234567.5 }}": "1e-05 1.2345675e+06",
    }
    for template, text in printed.items():
        assert compile_template(template)({"n": "3MB"}, b"", 0) == text
