"""Seconds until many matches of one probe are attached, and until they are let go, beside upstream.

    python -m conformance.attach_bench [--kinds uprobe,kprobe] [--counts 10,100,1000] [--ours]

Attached: from the start of the tool. Let go: from SIGINT to its end. Both are mostly the kernel's
grace periods; what the tool itself computes is shown as CPU seconds, which a busy machine changes
less. Each tool has run once before, on a script of the same kind: what it keeps of a machine is
there, the scripts that are measured are new to it.

`make attaching` prints the two tables of docs/attaching.md.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

UPSTREAM = [str(Path(__file__).parent / ".upstream/bpftrace")]
OURS = [sys.executable, "-m", "bpfscript.cli"]
TRACEFS = Path("/sys/kernel/tracing")
LONGEST = 300  # seconds
MOST = 1000
_QUIET = ("vfs", "tcp", "ext4", "inet", "ip", "dev", "net", "xfrm", "x64", "__x64")
_LOUD = re.compile(":syscalls:|:ftrace:|rcu|lock|irq|ipi")
_ATTACHED = re.compile(r"Attached (\d+) probe")


def program(folder: Path) -> Path:
    """MOST functions and as many static probes."""
    text = "#include <sys/sdt.h>\n"
    for i in range(MOST):
        text += f"int fn_{i:03d}(int a) {{ DTRACE_PROBE1(many, m_{i:03d}, a); return a + {i}; }}\n"
    path = folder / "many"
    command = ["cc", "-O1", "-o", str(path), "-xc", "-"]
    text += "int main(void) { return 0; }\n"
    subprocess.run(command, input=text.encode(), check=True)
    return path


def digits(count: int) -> str:
    return "*" if count >= 1000 else "0" * (4 - len(str(count))) + "*"


def listed(kind: str, count: int) -> str:
    """So many of the kernel's names, as a list."""
    command = [*OURS, "-l", f"{kind}:*:*" if kind == "tracepoint" else f"{kind}:*"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    names = [line for line in lines if not _LOUD.search(line)]
    return ",".join(names[:count])


def functions(kind: str, count: int) -> str:
    """The pattern of kernel functions whose matches are nearest to the count."""
    names = (TRACEFS / "available_filter_functions").read_text().splitlines()
    starts = Counter(
        name[:length]
        for name in names
        if name.startswith(_QUIET) and " " not in name
        for length in range(3, min(12, len(name)))
    )
    return f"{kind}:{min(starts, key=lambda start: abs(starts[start] - count))}*"


def point(kind: str, count: int, path: Path) -> str:
    match kind:
        case "uprobe":
            return f"uprobe:{path}:fn_{digits(count)}"
        case "usdt":
            return f"usdt:{path}:many:m_{digits(count)}"
        case "kprobe" | "kretprobe" | "fentry" | "fexit":
            return functions(kind, count)
        case _:
            return listed(kind, count)


def timed(tool: list[str], script: Path) -> str:
    start = time.monotonic()
    with subprocess.Popen(
        [*tool, str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        found, said = None, ""
        for line in process.stderr:
            said = line if "ERROR" in line or not said else said
            if found := _ATTACHED.search(line):
                break
        attached = time.monotonic() - start
        if not found:
            return f"refused: {said.strip()[:90]}"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() - begin > LONGEST:
                process.kill()
                return f"{attached:.1f} to attach; still letting go after {LONGEST}"
            time.sleep(0.01)
        let_go = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(ended[1])
    used = ended[2].ru_utime + ended[2].ru_stime
    return f"{attached:.2f} + {let_go:.2f}, CPU {used:.2f} ({found[1]})"


def rows(kinds: list[str], counts: list[int], tools: dict[str, list[str]]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path, script = program(Path(folder)), Path(folder) / "script.bt"
        for kind in kinds:
            for tool in tools.values():
                script.write_text(f"{point(kind, 10, path)} {{ }} begin {{ exit(); }}")
                subprocess.run([*tool, str(script)], capture_output=True, check=False)
            for count in counts:
                places = point(kind, count, path)
                script.write_text(f"{places} {{ @[probe] = count(); }}")
                cells = [kind, str(count)]
                cells += [timed(tool, script) for tool in tools.values()]
                yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", default="uprobe,usdt,tracepoint,rawtracepoint")
    parser.add_argument("--counts", default="10,100,1000")
    parser.add_argument("--ours", action="store_true", help="without upstream")
    given = parser.parse_args()
    tools = {"bpfscript": OURS} if given.ours else {"bpfscript": OURS, "bpftrace": UPSTREAM}
    print(f"| probe | matches | {' | '.join(f'{t}: attach + let go, s' for t in tools)} |")
    print(f"|{' --- |' * (2 + len(tools))}")
    for row in rows(given.kinds.split(","), [int(n) for n in given.counts.split(",")], tools):
        print(row, flush=True)


if __name__ == "__main__":
    main()
