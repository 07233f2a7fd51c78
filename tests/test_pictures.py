"""--flame, --plot, --trace-json: what the files hold, and when there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bpfscript.library.distributions import Point, Series
from bpfscript.library.events import Event
from bpfscript.library.stacks import Frame, Stack
from bpfscript.library.values import Fields
from bpfscript.options import parse
from bpfscript.output_file import whole_file
from bpfscript.pictures import flame, of_maps, trace
from bpfscript.pictures.flame_page import page
from bpfscript.pictures.terminal import bars, line

SCRIPT = (
    "config = { unstable_tseries = enable }"
    ' begin { @[kstack, "<b>"] = count(); @h = hist(5); @t = tseries(3, 1s, 4);'
    ' printf("hello %d\\n", 7); print((name="read", ts=(uint64)5000, dur=(uint64)1500, n=3));'
    " @n = count(); print(@n); exit(); }"
)


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfscript.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_bars_of_eighths() -> None:
    lines = bars([("[1]", 2), ("[2, 4)", 1), ("[4, 8)", 0)]).splitlines()
    assert lines[0] == f"[1]    2 {'█' * 52}  66.7%"
    assert lines[1] == f"[2, 4) 1 {'█' * 26}{' ' * 26}  33.3%"
    assert lines[2] == f"[4, 8) 0 {' ' * 52}   0.0%"
    assert bars([("[1]", 1000), ("[2]", 1)]).splitlines()[1].split()[2] == "▏"


def test_a_line_is_broken_where_nothing_was_seen() -> None:
    drawn = line([(n * 10**9, n) for n in range(64)]).splitlines()
    assert drawn[0].startswith("63 ┤") and drawn[9].startswith(" 0 ┤")
    dots = [[ord(c) - 0x2800 for c in row[4:]] for row in drawn[:10]]
    assert all(any(row[column] for row in dots) for column in range(64))
    gap = line([(0, 1), (1, None), (2, None), (3, None), (4, 1)]).splitlines()
    assert set(gap[0][3 + 5 : -5]) <= {"⠀"} and gap[0][3] != "⠀"
    assert line([(0, None)]) == "no data\n"


def test_time_on_the_axis_of_a_trace() -> None:
    record = Fields({"name": "read", "ts": 5000, "dur": 1500, "tid": 7, "bytes": 1 << 60})
    (row,) = trace.rows(Event("print", (record,), "…"), 3)
    assert row == {
        "name": "read", "cat": "print", "ph": "X", "ts": 5.0, "dur": 1.5, "pid": 3, "tid": 7,
        "args": {"bytes": str(1 << 60), "text": "…"},
    }  # fmt: skip
    (row,) = trace.rows(Event("printf", (1, "a"), "1 a\n"), 3)
    assert (row["ph"], row["name"], row["s"]) == ("i", "1 a", "g")
    assert row["args"] == {"arg0": 1, "arg1": "a", "text": "1 a\n"}
    series = Series(10**9, (Point(0, 1), Point(10**9, None), Point(2 * 10**9, 5)))
    rows = list(trace.rows(Event("print_map", ({"x": series},), "", "@t"), 3))
    assert [(r["name"], r["ph"], r["args"]["value"]) for r in rows] == [
        ("@t[x]", "C", 1), ("@t[x]", "C", 5)
    ]  # fmt: skip
    assert rows[1]["ts"] - rows[0]["ts"] == pytest.approx(2e6)
    assert trace.dump({"name": "a\udcff"}) == b'{"name": "a?"}'


def test_samples_of_stacks() -> None:
    kernel = Stack.of([Frame(1, "leaf", 0, ""), Frame(2, "root", 0, "")], "kernel", 0)
    user = Stack.of([Frame(3, "main", 0, "/bin/x")], "user", 9)
    assert of_maps.samples({(kernel, user, "sh"): 4}) == [(("sh", "main", "root", "leaf"), 4)]
    assert of_maps.samples({kernel: "text"}) == of_maps.samples({"a": 4}) == []


def test_a_page_holds_nothing_of_what_names_could_do() -> None:
    text = page([(("<script>alert(1)</script>", "b&c"), 2), (("d",), 1)], "@<x>")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    picture = flame.picture([(("a", "b"), 2)]).document()
    assert len(ElementTree.fromstring(picture)) == 3


def test_a_value_that_may_be_left_out() -> None:
    assert parse(["--plot", "x.bt", ""]).flags["plot"] == [""]
    assert parse(["--plot", "x.bt", ""]).words == ["x.bt", ""]
    assert parse(["--plot", "x.svg", "--plot"]).flags["plot"] == ["x.svg", ""]
    assert parse(["--plot=x", "-e", "a"]).flags["plot"] == ["x"]


@pytest.mark.kernel
def test_all_of_a_run(tmp_path: Path) -> None:
    html, svg, traced = (tmp_path / name for name in ("f.html", "p.svg", "t.json"))
    words = ("--flame", html, "--plot", "--plot", svg, "--trace-json", traced, "-q")
    done = tool(*words, "-e", SCRIPT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hello 7\n" in done.stdout and "█" in done.stdout and "┤" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.html", "p.svg", "t.json"]
    assert "&lt;b&gt;: 1 samples, 100.00%" in html.read_text()
    shown = "".join(ElementTree.parse(svg).getroot().itertext())
    assert "@h" in shown and "[4, 8)" in shown and "@t" in shown
    rows = json.loads(traced.read_text())["traceEvents"]
    assert all({"name", "ph", "pid"} <= row.keys() for row in rows)
    assert all("ts" in row or row["ph"] == "M" for row in rows)
    found = [(row["ph"], row["name"]) for row in rows]
    for expected in (("i", "hello 7"), ("X", "read"), ("C", "@n"), ("C", "@t")):
        assert expected in found
    assert next(row["ts"] for row in rows if row["ph"] == "X") == 5


@pytest.mark.kernel
def test_what_there_is_no_picture_of_is_told_before_tracing(tmp_path: Path) -> None:
    for words, why in (
        (("--flame", tmp_path / "f.svg"), "no map of this script counts stacks"),
        (("--plot", tmp_path / "p.svg"), "no map of this script is a histogram"),
        (("--flame", tmp_path / "f.png"), "takes FILE.svg or FILE.html"),
        (("--plot", "-f", "json"), "takes a FILE.svg"),
        (("--trace-json", tmp_path / "none/t.json"), "cannot write"),
    ):
        done = tool(*words, "-e", 'begin { printf("ran"); exit(); }')
        assert done.returncode == 1 and why in done.stderr and "ran" not in done.stdout
    assert not [*tmp_path.iterdir()]


def test_what_ends_badly_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_file(str(tmp_path / "t.json")) as file:
        file.write(b"[")
        _ = 1 / 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.kernel
def test_no_picture_no_import() -> None:
    code = (
        "import sys; from bpfscript.cli import main; main(['-e', 'begin { @ = 1; exit(); }'])\n"
        "names = ('bpfscript.pictures', 'bpfscript.library')\n"
        "assert not [m for m in sys.modules if m.startswith(names)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
