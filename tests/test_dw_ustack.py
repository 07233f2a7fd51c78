"""dw_ustack against programs compiled without frame pointers: in the kernel, with both backends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from check_support import checked, errors
from tracing import trace

import bpfscript
from bpfscript.frontend.typed import Options
from bpfscript.target import MachineError

pytestmark = [pytest.mark.kernel, pytest.mark.requires("cc")]

PROGRAM = r"""
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define FUNCTION __attribute__((noinline))
FUNCTION int inner(int x) { __asm__ volatile(""); return getppid() + x; }
FUNCTION int deep(int x) {
  volatile int a[5]; a[1] = x;
  return (x ? deep(x - 1) : inner(x)) + a[1];
}
FUNCTION int aligned(int x) {
  volatile char b[64] __attribute__((aligned(64))); b[x & 63] = x;
  return inner(x) + b[3];
}
FUNCTION int variable(int n) {
  volatile char b[n]; memset((void *)b, n, n);
  return inner(n) + b[3];
}
FUNCTION int both(int n) {
  volatile char c[64] __attribute__((aligned(64))), b[n]; memset((void *)b, n, n); c[n & 63] = 3;
  return inner(n) + b[3] + c[2];
}
static void handler(int s) { inner(s); }
FUNCTION int interrupted(volatile int *x) { int i = *x; raise(SIGUSR1); return i * 3 + *x; }
static void *thread(void *a) { inner(5); return a; }
static int by_qsort(const void *a, const void *b) { return inner(3); }
FUNCTION void generated(void) {
  /* sub $8, %rsp; call *%rdi; add $8, %rsp; ret */
  static const char code[] = "\x48\x83\xec\x08\xff\xd7\x48\x83\xc4\x08\xc3";
  void *m = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(m, code, sizeof code);
  ((int (*)(int (*)(int)))m)(inner);
}
FUNCTION void last(void) { __asm__ volatile(""); }
int main(int argc, char **argv) {
  volatile int z = 3, pair[2] = {2, 1};
  char c;
  if (argc > 1 && read(0, &c, 1) < 0) return 1;
  deep(2); aligned(2); variable(100); both(77);
  signal(SIGUSR1, handler); interrupted(&z);
  pthread_t t; pthread_create(&t, 0, thread, 0); pthread_join(t, 0);
  qsort((void *)pair, 2, 4, by_qsort);
  generated();
  deep(200); last();
  return 0;
}
"""
START = ["__libc_start_call_main", "__libc_start_main", "_start"]
STACKS = [
    ["inner", "deep", "deep", "deep", "main", *START],
    ["inner", "aligned", "main", *START],
    ["inner", "variable", "main", *START],
    ["inner", "both", "main", *START],
    # The C library's names for what lies between differ.
    ["inner", "handler?", "…", "interrupted", "main", *START],
    ["inner", "thread", "…"],
    ["inner", "by_qsort?", "…", "main", *START],
    ["inner", "0x", "<unwind failure>"],
    ["inner", *["deep"] * 19],
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the same program, linked in several ways."""
    folder = tmp_path_factory.mktemp("unwound")
    (folder / "a.c").write_text(PROGRAM)
    for name, how in (("pie", []), ("fixed", ["-no-pie"]), ("static", ["-static-pie"])):
        command = ["gcc", "-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", *how,
                   "-o", name, "a.c", "-lpthread"]  # fmt: skip
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run(["strip", "-o", "stripped", "pie"], cwd=folder, check=True)
    return folder


def stacks(text: str) -> list[list[str]]:
    """Function names of each stack that is printed."""
    found = [part.split("\n") for part in text.strip("\n").split("\n\n")]
    return [[re.sub(r"\+\d+$", "", line.strip()) for line in s if line.strip()] for s in found]


def fits(found: list[str], wanted: list[str]) -> bool:
    """`name?` may be inlined, `…` is any number of frames, `0x` is an address."""
    shown = "".join(f"{'0x' if name.startswith('0x') else name};" for name in found)
    pattern = "".join(
        "(.*;)?" if w == "…" else f"({w[:-1]};)?" if w.endswith("?") else f"{re.escape(w)}[^;]*;"
        for w in wanted
    )
    return re.fullmatch(pattern, shown) is not None


@pytest.mark.parametrize("backend", ["native", "llvm"])
@pytest.mark.parametrize("name", ["pie", "fixed", "static"])
def test_frames_of_a_child(programs: Path, name: str, backend: str) -> None:
    script = "config = { unstable_dw_ustack = enable }"
    script += f" uprobe:{programs / name}:inner {{ print(dw_ustack(20)); }}"
    found = stacks(trace(script, str(programs / name), "--backend", backend))
    assert len(found) == len(STACKS)
    for stack, wanted in zip(found, STACKS, strict=True):
        assert fits(stack, wanted), (stack, wanted)


def test_limits_and_modes(programs: Path) -> None:
    path = programs / "pie"
    script = (
        "config = { unstable_dw_ustack = enable }"
        f" uprobe:{path}:inner {{ @n++; if (@n == 9) {{"
        " print((len(dw_ustack), len(dw_ustack(1000)), len(dw_ustack(0)), len(dw_ustack(3))));"
        " print(dw_ustack(perf, 2)); print(dw_ustack(raw, 2)); print(dw_ustack(build_id, 2)); }"
        " @same[dw_ustack(2)] = count(); } end { clear(@n); }"
    )
    lines = trace(script, str(path)).splitlines()
    assert lines[0] == "(127, 206, 0, 3)"
    text = "\n".join(lines)
    assert re.search(rf"\t[0-9a-f]+ deep\+\d+ \({path}\)\n", text)
    assert re.search(r"\n[0-9a-f]{12}\n[0-9a-f]{12}\n", text)
    assert len(re.findall(r"\n[0-9a-f]{40} 0x[0-9a-f]+", text)) == 2
    assert re.search(r"@same\[\n +inner\+0\n +deep\+\d+\n\]: 2$", text, re.M)


def test_a_stripped_program_has_the_same_frames(programs: Path) -> None:
    """A tracepoint has no registers: those with which the process entered the kernel are taken."""
    script = "tracepoint:syscalls:sys_enter_getppid /pid == cpid/ { print(len(dw_ustack)); }"
    counts = [trace(script, str(programs / name)) for name in ("pie", "stripped")]
    assert counts[0] == counts[1] and len(counts[0].split()) == len(STACKS)


def test_samples_unwind_what_they_interrupt(programs: Path) -> None:
    script = "software:context-switches:1 /pid == cpid/ { @[len(dw_ustack) > 2] = count(); }"
    assert "@[true]" in trace(script, str(programs / "pie"))


@contextmanager
def waiting(program: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which goes on once it is told."""
    process = subprocess.Popen([program, "wait"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(script: str, *words: str, tell: tuple[subprocess.Popen[bytes], ...] = ()) -> str:
    """What the tool prints; the processes go on once it is attached."""
    command = [sys.executable, "-m", "bpfscript.cli", "--no-cache", *words, "-e", script]
    tool = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert tool.stdout
    head = ""
    try:
        while "Attached" not in head and (line := tool.stdout.readline()):
            head += line
        for process in tell:
            process.communicate(b"\n", timeout=60)
        return head + tool.communicate(timeout=60)[0]
    finally:
        tool.kill()
        tool.communicate()


def test_processes_that_are_there(programs: Path) -> None:
    path, script = programs / "pie", "{ @[pid, len(dw_ustack)] = count(); }"
    with waiting(path) as first, waiting(path) as second, waiting(path) as third:
        script = f"uprobe:{path}:inner {script} uprobe:{path}:last {{ exit(); }}"
        words = ("--dwarf-pid", str(first.pid), f"--dwarf-pid={second.pid}")
        script = script.replace("exit();", "@done = count(); if (@done > 2) { exit(); }")
        text = run(script, *words, tell=(first, second, third))
    for process in (first, second):
        assert f"@[{process.pid}, 127]: 1\n" in text  # deep(200)
        assert f"@[{process.pid}, 0]" not in text
    assert f"@[{third.pid}, 0]: {len(STACKS)}\n" in text
    assert text.count("No DWARF unwind data available for this process.") == len(STACKS)


def test_the_process_of_p(programs: Path) -> None:
    path = programs / "pie"
    with waiting(path) as process:
        script = f"uprobe:{path}:inner {{ print(dw_ustack); exit(); }}"
        text = run(script, "-p", str(process.pid), tell=(process,))
    assert fits(stacks(text.split("Attached 1 probe\n")[1])[0], STACKS[0])


def test_a_child_that_never_begins(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "b.c").write_text("int other(void) { return 1; }")
    (tmp_path / "m.c").write_text("int other(void); int main(void) { return other(); }")
    for words in (["-shared", "-o", "libb.so", "b.c"], ["-o", "m", "m.c", "-L.", "-lb"]):
        subprocess.run(["gcc", *words], cwd=tmp_path, check=True)
    (tmp_path / "not").write_text("#!/no/such/interpreter\n")
    (tmp_path / "not").chmod(0o755)
    script = "tracepoint:syscalls:sys_enter_getppid /pid == cpid/ { print(dw_ustack); }"
    assert "Attached 1 probe" in run(script, "-c", str(tmp_path / "m"))
    assert "Failed to run child: No such file" in run(script, "-c", str(tmp_path / "not"))
    assert "Unable to open pidfd" in run(script, "--dwarf-pid", "4194303")


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("dw_ustack", Options(), "dw_ustack requires a target process. Use -p, -c, or --dwarf-pid"),
        ("dw_ustack", Options(targets=True, portable=True), "an object cannot have dw_ustack"),
        ("dw_ustack(2000)", Options(targets=True), "limit shouldn't exceed 1024, 2000 given"),
        ("dw_ustack(3, perf)", Options(targets=True), "Expected stack mode as first argument"),
        ("dw_ustack(foo)", Options(targets=True), "Invalid value for stack_mode"),
    ],
)
def test_what_is_refused(call: str, options: Options, message: str) -> None:
    assert message in errors(f"begin {{ print({call}); }}", options=options)[0]


def test_the_configuration_may_forbid_it() -> None:
    script = "config = { unstable_dw_ustack = error } begin { print(dw_ustack(1)); }"
    (message,) = errors(script, options=Options(targets=True))
    assert "feature is not enabled by default" in message
    checked(script.replace("(1)", ""), Options(targets=True))


def test_stacks_in_the_library(programs: Path) -> None:
    """The session traces in a thread of its own, which lets the child go."""
    path = programs / "pie"
    script = "tracepoint:syscalls:sys_enter_getppid /pid == cpid/ { print(dw_ustack); }"
    with bpfscript.trace(script, command=[str(path)]) as session:
        found = [event.args[0] for event in session.events(timeout=20.0)]
    names = [[frame.name or "0x" for frame in stack[1:]] for stack in found]
    assert fits(names[0], STACKS[0]) and fits(names[7], STACKS[7])
    assert str(found[7][-1]) == "<unwind failure>"
    artifact = bpfscript.compile(script, portable=False)
    with pytest.raises(MachineError, match="requires a target process"):
        bpfscript.load(artifact)
