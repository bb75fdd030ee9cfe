#!/usr/bin/env python3
"""Compare a Loki-compatible server with answers recorded from Grafana Loki 3.4.6.

    compare.py URL [--answers FILE] [--no-push] [--verbose]

URL is the server's base address (http://127.0.0.1:3100). The server must be empty and keep samples of 2026-11-01.
push.json is sent once to URL/loki/api/v1/push; then every recorded request is repeated and its answer compared:
the status (for errors: 4xx where Loki said 4xx), streams and series as sets, values in order, floats to 1e-6 relative.
Prints one line per difference and a total; exits 0 only if all agree.
"""
import argparse
import json
import math
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent


def fetch(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def same_number(a, b):
    a, b = float(a), float(b)
    return (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def by_labels(result, key):
    return {json.dumps(item[key], sort_keys=True, ensure_ascii=False): item for item in result}


def difference(want, got):
    """Say how two `data` values differ, or None."""
    if not isinstance(want, dict):
        canonical = lambda xs: sorted(json.dumps(x, sort_keys=True, ensure_ascii=False) for x in xs or [])
        return None if canonical(want) == canonical(got) else f"want {str(want)[:120]} got {str(got)[:120]}"
    if not isinstance(got, dict) or want["resultType"] != got.get("resultType"):
        return f"resultType: want {want['resultType']}, got {got and got.get('resultType')}"
    if want["resultType"] == "scalar":
        return None if same_number(want["result"][1], got["result"][1]) else "scalar differs"
    key = "stream" if want["resultType"] == "streams" else "metric"
    wanted, given = by_labels(want["result"], key), by_labels(got["result"], key)
    if wanted.keys() != given.keys():
        missing, extra = wanted.keys() - given.keys(), given.keys() - wanted.keys()
        return f"{key}s: {len(missing)} missing {sorted(missing)[:1]}, {len(extra)} extra {sorted(extra)[:1]}"
    for labels, item in wanted.items():
        if key == "stream":
            if [v[:2] for v in item["values"]] != [v[:2] for v in given[labels]["values"]]:
                return f"lines differ in {labels[:120]}"
            continue
        want_values = item.get("values") or [item["value"]]
        got_values = given[labels].get("values") or [given[labels].get("value")]
        if len(want_values) != len(got_values):
            return f"{len(want_values)} points wanted, {len(got_values)} given in {labels[:120]}"
        for w, g in zip(want_values, got_values):
            if abs(float(w[0]) - float(g[0])) > 1e-3 or not same_number(w[1], g[1]):
                return f"at {w[0]}: want {w[1]}, got {g[1]} (at {g[0]}) in {labels[:120]}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--answers", type=pathlib.Path, default=HERE / "answers.json")
    parser.add_argument("--no-push", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if not args.no_push:
        status, body = fetch(args.url + "/loki/api/v1/push", (HERE / "push.json").read_bytes())
        if status != 204:
            sys.exit(f"push: {status} {body[:200]!r}")
    cases, agreed = json.loads(args.answers.read_text()), 0
    for case in cases:
        expect = case["expect"]
        status, body = fetch(args.url + case["path"] + "?" + urllib.parse.urlencode(case["params"]))
        problem = None
        if status // 100 != expect["status"] // 100:
            problem = f"status: want {expect['status']}, got {status} {body[:120]!r}"
        elif status == 200:
            problem = difference(expect["data"], json.loads(body).get("data"))
        agreed += problem is None
        if problem or args.verbose:
            print(f"{'DIFFERS' if problem else 'agrees '} {case['id']:>3} {case['params'].get('query', case['path'])}  {problem or ''}")
    print(f"{agreed} of {len(cases)} agree")
    return 0 if agreed == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
