from __future__ import annotations

import pytest
from resolving import faults, machine, names, resolved, run, warnings

from bpfscript.frontend import resolve_instances
from bpfscript.frontend.typed import Limits, Options
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.target import FEATURES
from bpfscript.types import INT32, INT64


class TestTracepoints:
    def test_arguments_are_those_that_the_body_uses(self) -> None:
        (instance,) = resolved("t:sched:sched_switch { print(args.pid); print(args->nope); }")
        arguments = instance.arguments
        assert arguments is not None and list(arguments) == ["pid"]
        assert (arguments["pid"].type, arguments["pid"].offset) == (INT32, 24)
        assert str(instance.args_type) == "struct tracepoint:sched:sched_switch_args"

    def test_all_of_them_when_args_is_used_as_a_whole(self) -> None:
        (instance,) = resolved("t:sched:sched_switch { $a = args; print($a.pid); }")
        assert list(instance.arguments or ()) == ["prev_comm", "pid"]
        assert instance.args_type and instance.args_type.size == 28

    def test_events_share_a_program_where_the_fields_lie_in_one_place(self) -> None:
        found = resolved("t:sched:sched_* { print(args.pid); }")
        assert [[n.rpartition("_")[2] for n in i.names] for i in found] == [
            ["exec"],
            ["switch", "wakeup"],
        ]

    def test_must_have_a_target(self) -> None:
        assert faults("tracepoint:sched: { }") == ["tracepoint probe must have a target"]


class TestSystemCalls:
    @pytest.fixture(autouse=True)
    def _none_are_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolve_instances, "FEW", 0)

    def test_a_few_are_perf_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolve_instances, "FEW", 3)
        (instance,) = resolved("t:syscalls:sys_enter_open* { }")
        assert {attach.kind for attach in instance.attachments} == {"tracepoint"}

    def test_become_one_raw_tracepoint(self) -> None:
        (instance,) = resolved("t:syscalls:sys_enter_open* { print(probe); }")
        assert (instance.kind, instance.syscall_side) == ("tracepoint", "enter")
        assert instance.syscalls == {2: 0, 257: 1, 437: 2}
        (attach,) = instance.attachments
        assert (attach.kind, attach.target) == ("raw_tracepoint", "sys_enter")
        assert instance.names[1] == "tracepoint:syscalls:sys_enter_openat"

    def test_programs_differ_where_the_arguments_do(self) -> None:
        found = resolved("t:syscalls:sys_enter_open* { print(str(args.filename)); }")
        assert [i.syscalls for i in found] == [{2: 0}, {257: 0, 437: 1}]
        offsets = [i.arguments["filename"].offset for i in found if i.arguments]
        assert offsets == [0, 1]

    def test_both_sides(self) -> None:
        script = "t:syscalls:sys_enter_open, t:syscalls:sys_exit_open { @[probe] = count(); }"
        found = resolved(script)
        assert [(i.syscall_side, i.attachments[0].target) for i in found] == [
            ("enter", "sys_enter"),
            ("exit", "sys_exit"),
        ]

    def test_results(self) -> None:
        (instance,) = resolved("t:syscalls:sys_exit_* { print(args.ret); }")
        assert instance.syscalls == {2: 0, 257: 1}
        assert instance.arguments
        ret = instance.arguments["ret"]
        assert (ret.type, ret.source) == (INT64, "syscall_return")

    def test_named_twice_fire_twice(self) -> None:
        found = resolved("t:syscalls:sys_enter_open, t:syscalls:sys_enter_open* { }")
        assert [i.syscalls for i in found] == [{2: 0, 257: 1, 437: 2}, {2: 0}]

    @pytest.mark.parametrize(
        "script",
        [
            "t:syscalls:sys_enter_unheard_of { print(args.fd); }",
            "t:syscalls:sys_enter_open { $a = args; }",
        ],
    )
    def test_otherwise_they_are_tracepoints(self, script: str) -> None:
        (instance,) = resolved(script)
        assert instance.syscall_side == "" and instance.attachments[0].kind == "tracepoint"

    def test_of_a_machine_without_a_table(self) -> None:
        (instance,) = resolved("t:syscalls:sys_enter_open { }", target=machine(arch="riscv64"))
        assert instance.attachments[0].kind == "tracepoint"


class TestRawTracepoints:
    def test_names_have_a_module(self) -> None:
        expected = ["rawtracepoint:vmlinux:sys_enter", "rawtracepoint:vmlinux:sys_exit"]
        assert names("rt:sys_* { }") == names("rt:vml*:sys_* { }") == expected
        (instance,) = resolved("rt:sys_enter { }")
        assert instance.attachments[0].kind == "raw_tracepoint"
        assert instance.attachments[0].target == "sys_enter"

    def test_missing(self) -> None:
        assert faults("rt:ext4:sys_enter { }") == ["No matches for rawtracepoint ext4:sys_enter."]
        assert faults("rt:nope { }") == ["No matches for rawtracepoint nope."]

    def test_arguments_by_name_need_btf(self) -> None:
        (message,) = faults("rt:sys_enter { print(args.id); }")
        assert message.startswith("rawtracepoints require kernel BTF.")

    @pytest.mark.requires("root", "tracefs", "btf")
    def test_arguments_by_name(self) -> None:
        (instance,) = resolved("rt:sched_switch { print(args.prev); }", target=LiveTarget())
        assert instance.arguments
        prev = instance.arguments["prev"]
        assert (str(prev.type), prev.source, prev.offset) == ("struct task_struct *", "raw", 1)


class TestKprobes:
    def test_one_name_in_several_places(self) -> None:
        rows = (("", "show"), ("", "show"), ("a", "show"), ("b", "show"), ("b", "shut"))
        (instance,) = resolved("k:sh* { }", target=machine(functions=rows))
        assert [(place.name, place.target) for place in instance.attachments] == [
            ("kprobe:show", "show"),
            ("kprobe:a:show", "a:show"),
            ("kprobe:b:show", "b:show"),
            ("kprobe:shut", "shut"),
        ]
        assert names("k:show { }", target=machine(functions=rows)) == ["kprobe:show"]

    def test_names(self) -> None:
        assert names("k:vfs_* { }") == ["kprobe:vfs_read", "kprobe:vfs_write"]
        assert names("k:ext4:ext4_* { }") == ["kprobe:ext4:ext4_sync"]
        assert names("k:vml*:vfs_read { }") == ["kprobe:vmlinux:vfs_read"]
        assert names("kr:vfs_read { }") == ["kretprobe:vfs_read"]
        assert names("k:vfs_read+0x10 { }") == ["kprobe:vfs_read+16"]

    def test_attachment(self) -> None:
        (instance,) = resolved("k:vfs_read+16, k:vmlinux:vfs_write, k:ext4:ext4_sync { }")
        assert [(a.target, a.offset) for a in instance.attachments] == [
            ("vfs_read", 16),
            ("vfs_write", 0),
            ("ext4:ext4_sync", 0),
        ]

    @pytest.mark.parametrize(
        ("point", "message"),
        [
            ("k:nope", "No matches for kprobe nope."),
            ("k:vfs_read+x", "Invalid offset: invalid integer: x"),
            ("k:vfs_read+", "Invalid offset"),
            ("kr:vfs_read+4", "Offset not allowed"),
            ("k:m:", "kprobes should be attached to a function or an address"),
            ("k:0xffffffff81000000", "Probing by address requires --unsafe"),
        ],
    )
    def test_faults(self, point: str, message: str) -> None:
        assert faults(f"{point} {{ }}") == [message]

    def test_unknown_functions_are_warned_of(self) -> None:
        (warning,) = warnings("k:nope { }")
        assert warning.startswith("nope is not traceable (either non-existing, inlined,")
        assert names("k:nope { }", options=Options(unsafe=True)) == ["kprobe:nope"]
        _, report = run("k:nope { }", limits=Limits(missing_probes="ignore"))
        assert not report.warnings

    def test_unknown_modules(self) -> None:
        assert faults("k:nomod:f { }") == [
            "specified module nomod in probe kprobe:nomod:f is not loaded.",
            "No matches for kprobe nomod:f.",
        ]

    def test_by_address(self) -> None:
        (instance,) = resolved("k:0xff000010 { }", options=Options(unsafe=True))
        assert instance.names == ("kprobe:4278190096",)
        assert (instance.attachments[0].target, instance.attachments[0].offset) == ("", 0xFF000010)

    def test_a_kernel_without_kprobes(self) -> None:
        without = machine(features=frozenset(FEATURES) - {"kprobe"})
        _, report = run("k:vfs_read { }", target=without)
        assert report.errors[0].message == "No matches for kprobe vfs_read."
        assert report.errors[0].hint == "this kernel has no kprobes (CONFIG_KPROBES)"
