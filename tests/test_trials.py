"""`--test` and `--bench`: what passes, what is timed, what is said about it."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import pytest
from test_cli import tool

from bpfscript.runtime.sink import Sink
from bpfscript.runtime.trial_reports import Benchmark, JsonReport, Report, TextReport, Trial

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

GOOD, BAD = Trial("good", True, 999, ""), Trial("bad", False, 1_234_567, 'no "end"')


def shown(kind: type[TextReport] | type[JsonReport]) -> tuple[str, list[str]]:
    """What all methods of a report write, and its complaints."""
    stream, errors = io.BytesIO(), list[str]()
    report: Report = kind(Sink(stream), errors.append)
    report.tests(2)
    for trial in (GOOD, BAD):
        report.running(trial.name)
        report.test(trial)
    report.tested([GOOD, BAD])
    report.benchmarks(["a", "b"])
    report.benchmark(Benchmark("a", 12, 128000))
    report.failed("b")
    return stream.getvalue().decode(), errors


def test_text_report() -> None:
    text, errors = shown(TextReport)
    colours, plain = re.findall(r"\033\[(\d*)m\[", text), re.sub(r"\033\[\d*m", "", text)
    assert plain.splitlines() == [
        "[==========] Running 2 tests.",
        "[ RUN      ] good",
        "[       OK ] good (999 ns)",
        "[ RUN      ] bad",
        'no "end"',
        "[  FAILED  ] bad (1 ms)",
        "[==========] 2 tests ran.",
        "[  PASSED  ] 1 test.",
        "[  FAILED  ] 1 test, listed below:",
        "[  FAILED  ] bad",
        f"{'Benchmark':<41}{'Time(ns)':<15}Iterations",
        "-" * 66,
        f"{'a':<41}{'12':<15}128000",
    ]
    assert colours == ["32"] * 4 + ["31"] + ["32"] * 2 + ["31"] * 2
    assert errors == ["Benchmark 'b' failed."]


def test_json_report() -> None:
    text, errors = shown(JsonReport)
    assert [json.loads(line) for line in text.splitlines()] == [
        {"type": "test_result", "data": {"good": {"duration": 999, "passed": True, "output": ""}}},
        {
            "type": "test_result",
            "data": {"bad": {"duration": 1_234_567, "passed": False, "output": 'no "end"'}},
        },
        {"type": "benchmark_result", "data": {"a": {"average": 12, "iters": 128000}}},
    ]
    assert errors == ["Benchmark 'b' failed."]


@as_root
@pytest.mark.kernel
def test_what_makes_a_test_fail() -> None:
    script = (
        'begin { printf("first\\n"); } end { printf("last\\n"); } '
        'test:zero { printf("quiet"); return 0; } test:none { @x = 1; } '
        'test:one { printf("said %d\\n", @x); return 1; } test:error { errorf("no"); } '
        'test:exit { exit(2); } test:after { exit(0); } bench:other { print("never"); }'
    )
    code, out, err = tool("--test", "-f", "json", "-e", script)
    lines = [json.loads(line) for line in out.splitlines()]
    results = {n: r for x in lines if x["type"] == "test_result" for n, r in x["data"].items()}
    assert (code, err) == (1, "")
    assert {name: (r["passed"], r["output"]) for name, r in results.items()} == {
        "zero": (True, "quiet"),
        "none": (True, ""),
        "one": (False, "said 1\n"),
        "error": (False, "stdin:1:180-192: ERROR: no\n"),
        "exit": (False, ""),
        "after": (True, ""),
    }
    assert lines[0] == {"type": "printf", "data": "first\n"}
    assert lines[-1] == {"type": "printf", "data": "last\n"}
    code, out, _ = tool("--test", "-e", "test:a { return 0; }")
    assert code == 0 and out.endswith(" 1 test.\n\n\n")
    assert tool("--test", "-e", "begin { @x = 1; }") == (0, "\n\n", "")


@as_root
@pytest.mark.kernel
def test_benchmarks(tmp_path: Path) -> None:
    script = (
        'bench:a { @x = count(); } bench:skipped { return 1; } bench:b { printf("x"); } '
        'test:t { print("never"); }'
    )
    out = tmp_path / "out"
    assert tool("--bench", "-f", "json", "-o", str(out), "-e", script) == (0, "", "")
    results = [json.loads(line)["data"] for line in out.read_text().splitlines()]
    assert [list(result) for result in results] == [["a"], ["b"]]
    timed = results[0]["a"]
    assert timed["average"] * timed["iters"] >= 1_000_000 and timed["iters"] % 1000 == 0
    code, shown, err = tool("--bench", "-e", 'bench:e { errorf("x"); } bench:x { exit(3); }')
    assert code == 1 and len(shown.splitlines()) == 4
    assert err == "ERROR: Benchmark 'e' failed.\nERROR: Benchmark 'x' failed.\n"
    code, _, err = tool("--bench", "-e", "bench:k { @[kstack] = count(); }")
    assert code == 255 and err.startswith("ERROR: This cannot be run as a benchmark: ")
