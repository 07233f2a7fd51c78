"""What `-l` says of a recorded machine, and of this one's types."""

from __future__ import annotations

from pathlib import Path

import pytest
from resolving import machine

from bpfscript.btf import Btf
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend.parser import parse
from bpfscript.frontend.typed import Options
from bpfscript.listing import Listing
from bpfscript.target import MachineError, RecordedTarget, Target, UsdtProbe

BTF = Path("/sys/kernel/btf/vmlinux")
MARKERS = [
    UsdtProbe(provider, name, at, at, 0, "")
    for at, provider, name in ((1, "tp", "probe1"), (2, "x", "done"), (3, "tp", "done"))
]
RECORDED = machine(usdt={"./prog": MARKERS})


def listed(
    text: str, target: Target | None = None, *, verbose: bool = False, pid: int | None = None
) -> tuple[list[str], list[str]]:
    """Lines and warnings for patterns."""
    warnings: list[str] = []
    listing = Listing(target or RECORDED, Options(pid=pid), warnings.append)
    return list(listing.patterns(text, verbose)), warnings


def program(text: str, *, verbose: bool = False) -> list[str]:
    listing = Listing(RECORDED, Options(), pytest.fail)
    return list(listing.program(parse(Source("stdin", text)), verbose))


@pytest.fixture(scope="module")
def kernel() -> RecordedTarget:
    if not BTF.exists():
        pytest.skip("needs BTF of the kernel")
    return machine(btf=Btf(BTF.read_bytes()), functions=(("", "vfs_read"), ("", "no_type_at_all")))


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        ("t:sched:*w*", ["tracepoint:sched:sched_switch", "tracepoint:sched:sched_wakeup"]),
        ("tracepoint:*exec", ["tracepoint:sched:sched_exec"]),
        ("kprobe:vfs_*", ["kprobe:vfs_read", "kprobe:vfs_write"]),
        ("k:ext4:*", ["kprobe:ext4:ext4_sync"]),
        ("rt:sys_e*", ["rawtracepoint:vmlinux:sys_enter", "rawtracepoint:vmlinux:sys_exit"]),
        ("interval:*", ["interval:hz:", "interval:ms:", "interval:s:", "interval:us:"]),
        ("profile:s:*", ["profile:s:"]),
        ("s:cp*", ["software:cpu-clock:", "software:cpu-migrations:", "software:cpu:"]),
        ("hardware:cycles", ["hardware:cycles:"]),
        ("self:*", ["self:signal:SIGUSR1"]),
        ("u:./prog:add*", ["uprobe:./prog:add", "uprobe:./prog:add_more"]),
        ('uprobe:./cxx:cpp:"ns::twice"', [f"uprobe:./cxx:cpp:_ZN2ns5twiceE{t}" for t in "il"]),
        ("*:./prog:_start", ["uprobe:./prog:_start"]),
        ("usdt:./prog:*", ["usdt:./prog:tp:done", "usdt:./prog:tp:probe1", "usdt:./prog:x:done"]),
        ("usdt:./prog:x:*", ["usdt:./prog:x:done"]),
        ("rt:sys_exit,k:vfs_read", ["rawtracepoint:vmlinux:sys_exit", "kprobe:vfs_read"]),
        ("sched_switch", ["rawtracepoint:vmlinux:sched_switch", "tracepoint:sched:sched_switch"]),
    ],
)
def test_patterns(pattern: str, lines: list[str]) -> None:
    assert listed(pattern) == (lines, [])


def test_everything_is_sorted_by_kind_and_name() -> None:
    lines, warnings = listed("*:*")
    assert lines == sorted(lines) and not warnings
    kinds = {line.partition(":")[0] for line in lines}
    assert kinds == {"hardware", "kprobe", "rawtracepoint", "software", "tracepoint"}


def test_nothing_matches() -> None:
    assert listed("foo:*") == ([], ["no kind of probe matches 'foo'"])
    assert listed("kprobe:nonsense") == ([], ["No matches for kprobe nonsense."])
    assert listed("kprobe:nonsense*") == ([], [])
    assert listed("*:nonsense") == ([], [])


def test_a_process() -> None:
    target = machine(files={"/proc/7/exe": machine().files["./prog"]})
    lines, _ = listed("u:add", target, pid=7)
    assert lines == ["uprobe:/proc/7/exe:add"]
    assert "uprobe:/proc/7/exe:_start" in listed("*:*", target, pid=7)[0]


def test_fields_of_tracepoints() -> None:
    lines, _ = listed("t:sched:sched_exec,t:syscalls:sys_enter_open", verbose=True)
    assert lines == [
        "tracepoint:sched:sched_exec", "    __data_loc char[] file", "    pid_t pid",
        "tracepoint:syscalls:sys_enter_open", "    int __syscall_nr",
        "    const char * filename", "    int flags",
    ]  # fmt: skip


def test_a_script() -> None:
    script = "begin { } i:s:1,t:sched:sched_s* { } usdt:./prog:tp:done { } s:cpu:9 { } test:a { }"
    assert program(script) == [
        "interval:s:", "tracepoint:sched:sched_switch", "usdt:./prog:tp:done", "software:cpu:",
        "test:a:",
    ]  # fmt: skip
    assert program("t:sched:sched_switch { nosuch() }", verbose=True)[1:] == [
        "    char prev_comm[16]", "    pid_t pid",
    ]  # fmt: skip


def test_a_script_with_faults() -> None:
    faults = {"t:no:no { }": "No matches for tracepoint no:no", "foo:x { }": "Invalid probe type"}
    for text, message in faults.items():
        with pytest.raises(ScriptError, match=message):
            program(text)


def test_functions_and_types_of_the_kernel(kernel: RecordedTarget) -> None:
    arguments = ["    struct file * {}", "    char * {}", "    size_t {}", "    loff_t * {}"]
    by_name = [a.format(n) for a, n in zip(arguments, ("file", "buf", "count", "pos"), strict=True)]
    by_number = [text.format(f"arg{i}") for i, text in enumerate(arguments)]
    assert listed("k:vfs_read", kernel, verbose=True)[0] == ["kprobe:vfs_read", *by_number]
    assert listed("kr:vfs_read", kernel, verbose=True)[0][1:] == ["    ssize_t retval"]
    fentry = "fentry:vmlinux:vfs_read"
    assert listed("f:*", kernel, verbose=True)[0] == [fentry, *by_name]
    assert listed("fexit:vfs_read", kernel, verbose=True)[0][1:] == [*by_name, "    ssize_t retval"]
    assert listed("rt:sys_exit", kernel, verbose=True)[0][1:] == [
        "    struct pt_regs * regs", "    long int ret",
    ]  # fmt: skip
    assert "iter:task" in listed("iter:*", kernel)[0]
    assert listed("iter:task", kernel, verbose=True)[0][1:] == [
        "    struct bpf_iter_meta * meta", "    struct task_struct * task",
    ]  # fmt: skip


def test_definitions(kernel: RecordedTarget) -> None:
    assert listed("struct list_hea*", kernel)[0] == ["struct list_head"]
    assert listed("struct list_head,enum pid_type", kernel, verbose=True)[0] == [
        "vmlinux: struct list_head {\n\tstruct list_head *next;\n\tstruct list_head *prev;\n};\n",
        "vmlinux: enum pid_type {\n\tPIDTYPE_PID = 0,\n\tPIDTYPE_TGID = 1,\n\tPIDTYPE_PGID = 2,\n"
        "\tPIDTYPE_SID = 3,\n\tPIDTYPE_MAX = 4,\n};\n",
    ]
    (text,), _ = listed("struct file_operations", kernel, verbose=True)
    assert "\tssize_t (*write)(struct file *, const char *, size_t, loff_t *);\n" in text
    (text,), _ = listed("struct tcphdr", kernel, verbose=True)
    assert "\t__u16 doff: 4;\n" in text
    (text,), _ = listed("struct sk_buff", kernel, verbose=True)
    assert text.startswith("vmlinux: struct sk_buff {\n\tunion {\n\t\tstruct {\n\t\t\tstruct sk_b")
    assert listed("struct nosuch", kernel) == ([], [])
    with pytest.raises(MachineError, match="no BTF"):
        listed("struct list_head")
