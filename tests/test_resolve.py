"""How attach points become programs: faults, missing probes, limits, sharing."""

from __future__ import annotations

from typing import Any

import pytest
from resolving import faults, machine, names, resolved, run, warnings

from bpfscript.frontend.typed import Limits, Options
from bpfscript.target import FEATURES

EMPTY = (
    "Probe has no valid attach points. If this is expected, set the 'missing_probes' config "
    "variable to 'warn'."
)
WITHOUT_COOKIES = machine(features=frozenset(FEATURES) - {"attach_cookie"})


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("foo:bar", "Invalid probe type: foo"),
        ("K:x", "Invalid probe type: K"),
        ("fo*:x:y", "No probe type matched for fo*"),
        ("$1:sched:x", "No attach points for probe"),
        ("begin:x", "begin probe type requires 0 arguments, found 1"),
        ("kprobe", "kprobe probe type requires 1 or 2 arguments, found 0"),
        ("rawtracepoint", "rawtracepoint probe type requires 2 or 1 arguments, found 0"),
        ("fentry", "fentry probe type requires 1 or 3 arguments, found 0"),
        ("tracepoint:a@b", "tracepoint probe type requires 2 arguments, found 3"),
        ('t:"a:b"', "tracepoint probe type requires 2 arguments, found 1"),
        ("uprobe:./prog", "uprobe probe type requires 2 or 3 arguments, found 1"),
        ("self:foo:SIGUSR1", "foo is not a supported trigger"),
        ("self:signal:SIGUSR2", "SIGUSR2 is not a supported signal"),
        ("test:", "test probes must have a name"),
        ("w:0:8:w", "watchpoint must be attached to a non-zero address"),
        ("w:x:8:w", "Invalid function/address argument: invalid integer: x"),
        ("w:1:3:w", "watchpoint length must be one of (1,2,4,8)"),
        ("w:1:8:r", "invalid watchpoint mode: r"),
        ("w:1:8:ww", "watchpoint modes may not be duplicated"),
        ("iter:task*", "iter probe type does not support wildcards"),
        ("iter:task", "No matches for iter task."),
        ("fentry:a:b:c", "Only the 'bpf' variant of this probe supports 4 arguments"),
        ("fexit:vfs_read", "fexit probes require kernel BTF, which is missing"),
        ('usdt:"":x', "usdt probe must specify at least path or pid to probe. "),
    ],
)
def test_faults(point: str, message: str) -> None:
    (found,) = faults(f"{point} {{ }}")
    assert found.startswith(message)


def test_a_fault_is_shown_at_its_attach_point() -> None:
    _, report = run("begin, foo:bar, end { }")
    (error,) = report.errors
    assert error.span.place == "stdin:1:8-15"


def test_near_misses_are_named() -> None:
    _, report = run("kprob:f { } t:sched:sched_swich { } software:page-fault { }")
    assert [error.hint for error in report.errors] == [
        "did you mean kprobe?",
        "did you mean tracepoint:sched:sched_switch?",
        "did you mean page-faults?",
    ]


def test_names_are_as_probe_shows_them() -> None:
    script = "BEGIN, begin:*, p1=end, self:signal:SIGUSR1, i:s:1, interval:1s, p:hz:0x10 { }"
    assert names(script) == [
        "begin", "begin", "end", "self:signal:SIGUSR1", "interval:s:1", "interval:us:1000000",
        "profile:hz:16",
    ]  # fmt: skip


def test_a_wildcard_in_the_kind() -> None:
    assert names("t*:sched:sched_switch { }") == ["tracepoint:sched:sched_switch"]
    assert names("k*:vfs_read { }") == ["kprobe:vfs_read"]
    assert names("u*:./prog:add { }") == ["uprobe:./prog:add"]
    assert faults("*ware:c* { }") == [
        "wildcards are not allowed for software probe type",
        "wildcards are not allowed for hardware probe type",
    ]


class TestMissing:
    def test_is_an_error(self) -> None:
        assert faults("t:sched:nope { }") == ["No matches for tracepoint sched:nope."]
        assert faults("t:sched:nope, begin { }") == ["No matches for tracepoint sched:nope."]

    def test_of_a_wildcard_matters_only_when_nothing_is_left(self) -> None:
        assert faults("t:sched:nope* { }") == [EMPTY]
        assert names("t:sched:nope*, begin { }") == ["begin"]

    def test_may_be_a_warning(self) -> None:
        limits = Limits(missing_probes="warn")
        assert names("t:sched:nope, begin { } end { }", limits=limits) == ["begin", "end"]
        assert warnings("t:sched:nope { }", limits=limits) == [
            "No matches for tracepoint sched:nope. Skipping.",
            "Probe has no valid attach points. It is being removed which may cause issues with "
            "program behavior.",
        ]

    def test_may_be_ignored(self) -> None:
        instances, report = run("t:sched:nope { }", limits=Limits(missing_probes="ignore"))
        assert not instances and not report.errors and not report.warnings


class TestTests:
    def test_are_left_out_unless_asked_for(self) -> None:
        assert resolved("test:a { } bench:b { }") == []
        assert names("test:a { } bench:b { } ", options=Options(mode="test")) == ["test:a"]
        assert names("test:a { } bench:b { } ", options=Options(mode="bench")) == ["bench:b"]

    def test_have_names_of_their_own(self) -> None:
        _, report = run("test:a { } bench:a { } test:a { }")
        (error,) = report.errors
        assert error.message == '"a" was used as the name for more than one TEST probe'
        assert error.context[0][0].place == "stdin:1:1-7"


class TestLimits:
    def test_probes(self) -> None:
        (message,) = faults("i:s:1 { } i:s:2 { }", limits=Limits(max_probes=1))
        assert message == (
            "Can't attach to 2 probes because it exceeds the current limit of 1 probes."
        )

    def test_programs(self) -> None:
        limits = Limits(max_bpf_progs=1)
        assert len(resolved("t:sched:* { }", limits=limits)) == 1
        (message,) = faults("t:sched:* { print(args.pid); }", limits=limits)
        assert message.startswith("Your program is trying to generate more than 2 BPF programs")


class TestSharing:
    def test_one_program_for_all_matches(self) -> None:
        (instance,) = resolved("t:sched:sched_* { print(probe); }")
        assert [a.cookie for a in instance.attachments] == [0, 1, 2]
        assert instance.names[2] == "tracepoint:sched:sched_wakeup"
        assert instance.attachments[2].name == instance.names[2]
        assert instance.attachments[2].target == "sched_wakeup"

    def test_perf_events_only_for_what_raw_tracepoints_lack(self) -> None:
        def kinds(script: str, **changes: Any) -> set[str]:
            (instance,) = resolved(script, target=machine(**changes))
            return {a.kind for a in instance.attachments}

        assert kinds("t:sched:sched_wakeup { print(probe); print(ustack); }") == {"raw_tracepoint"}
        assert kinds("t:sched:sched_wakeup { print(args.pid); }") == {"tracepoint"}
        assert kinds("t:sched:sched_wakeup { print(kstack(3)); }") == {"tracepoint"}
        made = frozenset({("sched", "sched_wakeup")})
        assert kinds("t:sched:sched_wakeup { }", dynamic_events=made) == {"tracepoint"}
        old = frozenset(FEATURES) - {"raw_cookie"}
        assert kinds("t:sched:sched_wakeup { }", features=old) == {"tracepoint"}

    def test_a_program_for_each_kind(self) -> None:
        found = resolved("begin, i:s:1, i:s:2, p:hz:9, u:./prog:add { }")
        assert [i.kind for i in found] == ["begin", "interval", "profile", "uprobe"]
        assert found[0].probe is not found[1].probe

    def test_without_cookies_the_name_needs_programs(self) -> None:
        script = "t:sched:sched_* { print(probe); }"
        assert len(resolved(script, target=WITHOUT_COOKIES)) == 3
        assert len(resolved("t:sched:sched_* { }", target=WITHOUT_COOKIES)) == 1
        assert len(resolved("rt:sys_* { print(probe); }", target=WITHOUT_COOKIES)) == 2
        assert len(resolved("rt:sys_* { print(probe); }")) == 1
        assert len(resolved("rt:sys_* { print(arg0); }")) == 1
        assert len(resolved("begin, begin { print(probe); }")) == 1

    def test_duplicates_stay(self) -> None:
        (instance,) = resolved("i:s:1, i:s:1, { }")
        assert len(instance.attachments) == 2

    def test_a_place_in_the_script_goes_with_each_attachment(self) -> None:
        (instance,) = resolved("i:s:1, i:s:2 { }")
        places = [a.place for a in instance.attachments]
        assert [(p.line, p.column, p.end) for p in places if p] == [(1, 1, 6), (1, 8, 13)]
