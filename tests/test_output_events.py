"""Events other than values and maps, messages and the streams."""

from __future__ import annotations

import io
import os
import struct
import time
from pathlib import Path

import pytest
from output_support import Output, words

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Event, Manifest, MapDef, MapType, Place, Settings
from bpfscript.runtime.messages import coloured
from bpfscript.runtime.sink import OutputClosed, Sink
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter
from bpfscript.target import MachineError
from bpfscript.types import INT32, UINT32, UINT64, Aggregate, Buffer, String

PLACE = Place("stdin", 3, 2, 9, "\t$a / $b;")
NOTHING = memoryview(bytes(8))
DIVISION = "Divide or modulo by 0 detected. This can lead to unexpected results."


def after(output: Output, event: Event, data: bytes = b"") -> Output:
    output.printer.event(event, memoryview(bytes(8) + data))
    return output


def text_event(kind: str, text: str) -> tuple[Event, bytes]:
    """An event whose format is `%s` of one string."""
    return Event(kind, (String(64),), (8,), text="%s"), text.encode().ljust(64, b"\0")


@pytest.mark.parametrize(
    ("event", "text", "json"),
    [
        (Event("printf", text='a"b\n'), 'a"b\n', r'{"type": "printf", "data": "a\"b\n"}'),
        (Event("printf"), "", '{"type": "printf", "data": ""}'),
        (Event("time", text="%%\n"), "%\n", r'{"type": "time", "data": "%\n"}'),
        (Event("join", text=" "), "\n", '{"type": "join", "data": ""}'),
    ],
)
def test_plain_events(event: Event, text: str, json: str) -> None:
    assert after(Output(), event).text == text
    assert after(Output(json=True), event).text == json + "\n"


def test_time_is_now() -> None:
    before = time.strftime("%Y-%m-%d")
    assert after(Output(), Event("time", text="%F")).text in (before, time.strftime("%Y-%m-%d"))


def test_join() -> None:
    event = Event("join", (String(4),) * 3, (8, 12, 16), text=", ")
    assert after(Output(), event, b"ls\0\0-l\0\0\0\0\0\0").text == "ls, -l\n"
    assert after(Output(), event, b"\0\0\0\0-l\0\0\0\0\0\0").text == "\n"


def test_an_element_shows_its_value_and_zero_without_one() -> None:
    stats = MapDef("@x", MapType.PERCPU_HASH, INT32, Aggregate("stats"), 4, 16, 10)
    for json, found, none in (
        (
            False,
            "{ .count = 2, .average = 3, .total = 7 }",
            "{ .count = 0, .average = 0, .total = 0 }",
        ),
        (True, '{"type": "value", "data": {"count": 2, "average": 3, "total": 7}}', None),
    ):
        output = Output(json=json)
        output.printer.element(stats, [bytes(words(6, 1)), bytes(words(1, 1))])
        output.printer.flush()
        assert output.text == found + "\n"
        if none:
            output.printer.element(stats, None)
            output.printer.flush()
            assert output.text.endswith(none + "\n")


def test_cat(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\xff")
    event, data = text_event("cat", str(path)[:63])
    manifest = Manifest(settings=Settings(max_cat_bytes=5))
    assert after(Output(), event, data).text == "one\ntwo\udcff"
    assert after(Output(manifest), event, data).text == "one\nt"
    assert after(Output(manifest, json=True), event, data).text == (
        '{"type": "cat", "data": "one\\nt"}\n'
    )


def test_packets(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    fields, offsets = (UINT64, UINT32, Buffer(4 + 8)), (8, 16, 20)
    data = struct.pack("<QII8s", 1_000_000, 9, 3, b"abcdefgh")
    output = after(Output(), Event("skboutput", fields, offsets, text=str(path)), data + data)
    written = path.read_bytes()
    assert len(written) == 24 + 16 + 3 and written.endswith(struct.pack("<II", 3, 9) + b"abc")
    nowhere = Event("skboutput", fields, offsets, text="/nonexistent/a")
    assert after(output, nowhere, data).errors == (
        "ERROR: failed to write file '/nonexistent/a' (No such file or directory)\n"
    )


def test_cat_of_nothing() -> None:
    for json in (False, True):
        output = after(Output(json=json), *text_event("cat", "/nonexistent"))
        assert output.text == ""
        assert output.errors == (
            "ERROR: failed to open file '/nonexistent' (No such file or directory)\n"
        )


def test_system() -> None:
    unsafe = Manifest(unsafe=True)
    event = text_event("system", "echo a; echo b >&2")
    assert after(Output(unsafe), *event).text == "a\nb\n\n"
    assert (
        after(Output(unsafe, json=True), *event).text == '{"type": "syscall", "data": "a\\nb\\n"}\n'
    )
    failed = after(Output(unsafe), *text_event("system", "exit 3"))
    assert (failed.text, failed.errors) == ("", "ERROR: command exited with code 3\n")
    killed = after(Output(unsafe), *text_event("system", "kill -9 $$"))
    assert killed.errors == "ERROR: child process did not exit normally\n"
    refused = after(Output(), *event)
    assert refused.text == ""
    assert refused.errors == "ERROR: syscall() not allowed in safe mode. Use '--unsafe'.\n"


# Messages


def test_errorf_and_warnf() -> None:
    event = Event("errorf", (INT32,), (8,), text="x %d\n", place=PLACE)
    assert after(Output(), event, words(1)).errors == "stdin:3:2-9: ERROR: x 1\n"
    assert after(Output(warnings=0), event, words(1)).errors == "stdin:3:2-9: ERROR: x 1\n"
    assert after(Output(json=True), event, words(1)).text == (
        '{"type": "errorf", "msg": "x 1\\n", "filename": "stdin", "line": 3, "col": 2}\n'
    )
    warning = Event("warnf", text="100%%", place=PLACE)
    assert after(Output(), warning).errors == "stdin:3:2-9: WARNING: 100%\n"
    assert after(Output(warnings=0), warning).errors == ""


def test_runtime_error() -> None:
    event = Event("runtime_error", text=DIVISION, place=PLACE)
    assert after(Output(), event).errors == (
        f"stdin:3:2-9: WARNING: {DIVISION}\n    $a / $b;\n    ~~~~~~~\n"
    )
    assert after(Output(json=True), event).text == (
        f'{{"type": "runtime_error", "msg": "{DIVISION}", '
        '"filename": "stdin", "line": 3, "col": 2}\n'
    )
    assert after(Output(warnings=0), event).errors == ""
    lines = Event("runtime_error", text="m", place=Place("stdin", 3, 5, 2, "a %\n b"))
    assert after(Output(), lines).errors == "stdin:3-4: WARNING: m\na %\n b\n"


def helper_error(helper: str, code: int, **options: int) -> Output:
    event = Event("helper_error", (INT32,), (8,), text="m", helper=helper, place=PLACE)
    return after(Output(**options), event, struct.pack("<i4x", code))  # type: ignore[arg-type]


def test_helper_errors() -> None:
    assert helper_error("map_update_elem", -7).errors == (
        "stdin:3:2-9: WARNING: Map full; can't update element. "
        "Try increasing max_map_keys config or manually setting the max entries "
        "in a map declaration e.g. `let @a = hash(5000)`\n"
        "Additional Info - helper: map_update_elem, retcode: -7\n"
        "    $a / $b;\n    ~~~~~~~\n"
    )
    assert helper_error("map_update_elem", -7, json=True).text == (
        '{"type": "helper_error", "msg": "Argument list too long", "helper": "map_update_elem", '
        '"retcode": -7, "filename": "stdin", "line": 3, "col": 2}\n'
    )
    assert "WARNING: Cannot allocate memory\n" in helper_error("map_update_elem", -12).errors
    assert helper_error("map_update_elem", -7, warnings=0).errors == ""


def test_helpers_that_often_fail() -> None:
    for helper in ("probe_read_user", "probe_read_kernel_str", "map_lookup_elem"):
        assert helper_error(helper, -14).errors == ""
    assert "WARNING: Bad address\n" in helper_error("probe_read_user", -14, warnings=2).errors
    text = helper_error("map_lookup_elem", 0, warnings=2).errors
    assert "Can't lookup map element because it does not exist.\n" in text


def test_start_and_end() -> None:
    for count, line in ((1, "Attached 1 probe\n"), (2, "Attached 2 probes\n")):
        output = Output()
        output.printer.attached(count)
        output.printer.end()
        assert (output.errors, output.text) == (line, "\n\n")
    quiet = Output(quiet=True)
    quiet.printer.attached(1)
    assert quiet.errors == ""


def test_start_and_end_in_json() -> None:
    output = Output(json=True)
    output.printer.attached(2)
    output.printer.end()
    assert output.text == '{"type": "attached_probes", "count": 2, "data": {"probes": 2}}\n'
    quiet = Output(json=True, quiet=True)
    quiet.printer.attached(1)
    assert quiet.text == ""


def test_lost_events() -> None:
    output = Output()
    output.printer.lost(5)
    output.printer.finish(12)
    assert output.errors == "Lost 5 events\nWARNING: Total lost event count: 12\n"
    json = Output(json=True)
    json.printer.lost(5)
    json.printer.finish(5)
    assert json.text == '{"type": "lost_events", "count": 5, "data": {"events": 5}}\n'


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BPFTRACE_COLOR", raising=False)
    assert coloured(True, True)
    assert not coloured(True, False)
    monkeypatch.setenv("BPFTRACE_COLOR", "never")
    assert not coloured(True, True)
    monkeypatch.setenv("BPFTRACE_COLOR", "always")
    output = after(Output(), Event("runtime_error", text="m", place=PLACE))
    assert output.errors == "\033[33mstdin:3:2-9: WARNING: m\033[0m\n    $a / $b;\n    ~~~~~~~\n"
    error = after(Output(), Event("errorf", text="m", place=PLACE))
    assert error.errors == "\033[31mstdin:3:2-9: ERROR: m\033[0m\n"


def test_kinds_that_belong_to_the_session() -> None:
    with pytest.raises(CompilerBug, match="clear"):
        Output().printer.event(Event("clear", map="@x"), NOTHING)


# Streams


def test_buffering() -> None:
    event = Event("printf", text="x")
    seen = {}
    for mode in ("none", "line", "full"):
        output = after(Output(buffering=mode), event)
        now = output.stdout.getvalue()
        output.printer.flush()
        batch = output.stdout.getvalue()
        output.printer.finish(0)
        seen[mode] = now, batch, output.stdout.getvalue()
    assert seen == {"none": (b"x",) * 3, "line": (b"", b"x", b"x"), "full": (b"", b"", b"x")}


def test_much_output_leaves_early() -> None:
    stream = io.BytesIO()
    sink = Sink(stream, "full")
    sink.write("x" * 70000)
    assert len(stream.getvalue()) == 70000


def test_output_precedes_messages() -> None:
    output = after(Output(), Event("printf", text="x"))
    after(output, Event("errorf", text="m", place=PLACE))
    assert output.stdout.getvalue() == b"x"


def test_closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as stream:
        printer = TextPrinter(Manifest(), stream, io.StringIO(), Symbols())
        printer.event(Event("printf", text="x"), NOTHING)
        with pytest.raises(OutputClosed):
            printer.flush()


def test_full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as stream:
        sink = Sink(stream)
        sink.write("x")
        with pytest.raises(MachineError, match="failed to write output: No space left on device"):
            sink.flush()
