"""What works where: a table of probe kinds by kernels, and objects of each kernel on the others.

lab/survey.py FILE           run all on this machine and in each guest, write FILE (Markdown)
lab/survey.py --kinds        in a guest: try every kind, compile the objects; JSON
lab/survey.py --run FILE     in a guest: run the objects that FILE (JSON) has; JSON
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from workload import LIBC, SECOND_INSTRUCTION, calls, marked, watched

from bpfscript import driver
from bpfscript.backends import elf
from bpfscript.diagnostics import MachineError, ScriptError, Source
from bpfscript.frontend.typed import Options
from bpfscript.manifest import Artifact
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.runtime.session import Session
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter

LAB = Path(__file__).parent
GUESTS = ("6.1", "6.12", "7")
HERE = "the host"
MODULE = "null_blk"
KINDS = {
    "begin": "begin", "end": "end", "self": "self:signal:SIGUSR1", "interval": "interval:ms:20",
    "profile": "profile:hz:199", "software": "software:page-faults:1",
    "hardware": "hardware:cycles:100000", "watchpoint": "watchpoint:WATCHED:8:w",
    "tracepoint, system call": "tracepoint:syscalls:sys_enter_getppid",
    "tracepoint": "tracepoint:sched:sched_switch",
    "tracepoint, wildcard": "tracepoint:sched:sched_*",
    "rawtracepoint": "rawtracepoint:sys_enter",
    "rawtracepoint, module": f"rawtracepoint:{MODULE}:nullb_zone_op",
    "kprobe": "kprobe:vfs_read", "kprobe, offset": "kprobe:vfs_read+OFFSET",
    "kprobe, module": f"kprobe:{MODULE}:null_queue_rq", "kprobe, wildcard": "kprobe:vfs_rea*",
    "kretprobe": "kretprobe:vfs_read", "kretprobe, wildcard": "kretprobe:vfs_rea*",
    "fentry": "fentry:vfs_read", "fentry, module": f"fentry:{MODULE}:null_queue_rq",
    "fexit": "fexit:vfs_read", "uprobe": "uprobe:LIBC:getppid",
    "uprobe, wildcard": "uprobe:LIBC:getp*", "uretprobe": "uretprobe:LIBC:getppid",
    "usdt": "usdt:MARKED:lab:marked", "iter:task": "iter:task", "iter:task_file": "iter:task_file",
    "iter:task_vma": "iter:task_vma", "iter, pinned": "iter:task:lab-survey",
}  # fmt: skip
OBJECTS = {
    "system calls": "tracepoint:syscalls:sys_enter_getp* { @[probe, comm] = count(); }",
    "events": 'begin { printf("%s\\n", comm); } interval:ms:20 { @ticks++; print(@ticks); }',
    "uprobe": "uprobe:LIBC:getp* { @[func] = count(); @s[ustack(2)] = count(); }",
    "samples": "profile:hz:199 { @[cpu] = count(); @h = hist(rand % 100); }",
    "loops": "interval:ms:20 { $i = 0; while ($i < 50) { $i++; @[$i % 7] = count(); }"
    " for ($kv : @) { @n += 1; } }",
    "kprobe": "kprobe:vfs_read { @[probe, kstack(2)] = count(); }",
}


def work(mark: Callable[[int], object]) -> None:
    calls(mark)
    if os.path.exists("/dev/lab"):
        subprocess.run(["blkzone", "reset", "-c", "1", "/dev/lab"], check=True)


class Guest:
    """What is tried on one kernel."""

    def __init__(self, folder: Path) -> None:
        self.target = LiveTarget(cache=Cache(str(folder / "cache")))
        self.worker = ThreadPoolExecutor(1)
        self.thread = self.worker.submit(threading.get_native_id).result()
        library, self.mark = marked(folder)
        self.words = {"LIBC": LIBC, "MARKED": str(library), "OFFSET": SECOND_INSTRUCTION,
                      "WATCHED": str(ctypes.addressof(watched))}  # fmt: skip

    def text(self, script: str) -> str:
        for word, value in self.words.items():
            script = script.replace(word, value)
        return script

    def compiled(self, script: str, *, portable: bool = False) -> Artifact:
        options = Options(unsafe=True, portable=portable)
        return driver.compile(Source("lab.bt", self.text(script)), self.target, options).artifact

    def run(self, artifact: Artifact, pid: int | None = None) -> str:
        """What it prints while there is work."""
        out, features = io.BytesIO(), self.target.features
        with closing(Symbols(artifact.manifest.settings)) as symbols:
            printer = TextPrinter(artifact.manifest, out, sys.stderr, symbols, quiet=True)
            with Session(artifact, printer, pid=pid, features=features, signals=False) as session:
                session.load()
                session.attach()
                session.run_all("self")
                session.iterate()
                self.worker.submit(work, self.mark).result()
                session.stop()
                session.run()
        return out.getvalue().decode("utf-8", "replace")

    def kind(self, name: str) -> str:
        point = KINDS[name]
        mine = f"/tid == {self.thread}/"
        if name.startswith(("begin", "end", "self", "interval", "iter")) or "module" in name:
            mine = ""
        try:
            artifact = self.compiled(f"{point} {mine} {{ @ = count(); }}")
            places = [place for info in artifact.manifest.probes for place in info.attachments]
            text = self.run(artifact, os.getpid() if name == "watchpoint" else None)
        except (MachineError, ScriptError) as error:
            return refusal(error)
        if name == "iter, pinned":
            path = Path(places[0].symbol)
            path.read_bytes()
            path.unlink()
            return "yes"
        lines = [line for line in text.splitlines() if line.startswith("@: ")]
        count = int(lines[0].split()[-1]) if lines else 0
        if not count:
            return "no: it does not fire"
        wanted = point.partition(":")[0]
        other = next((p.kind for p in places if p.kind in ("kprobe", "kretprobe")), wanted)
        return "yes" if other == wanted else f"by {other}"

    def kinds(self) -> dict[str, object]:
        objects = {}
        for name, script in OBJECTS.items():
            try:
                object = elf.write(self.compiled(script, portable=True))
                objects[name] = base64.b64encode(object).decode()
            except (MachineError, ScriptError):
                continue
        found = {name: self.kind(name) for name in KINDS}
        return {"release": os.uname().release, "kinds": found, "objects": objects}

    def object(self, content: str) -> str:
        try:
            text = self.run(elf.read(base64.b64decode(content)))
        except (MachineError, ScriptError) as error:
            return refusal(error)
        return "yes" if text.strip() else "no: it does not fire"


def refusal(error: MachineError | ScriptError) -> str:
    """Its first sentence, and the hint: without the probe's name many are the same."""
    hint = error.hint if isinstance(error, MachineError) else error.diagnostics[0].hint
    return f"no: {hint or str(error).splitlines()[0]}"


def module() -> None:
    """A device whose zones can be reset, where there are kernel modules."""
    kernel = os.environ.get("LAB_KERNEL")
    if not kernel or subprocess.run(["modprobe", "-d", kernel, MODULE], check=False).returncode:
        return
    subprocess.run(["mount", "-t", "configfs", "none", "/sys/kernel/config"], check=False)
    directory = Path("/sys/kernel/config/nullb/lab")
    directory.mkdir()
    settings = {"size": 16, "zoned": 1, "zone_size": 4, "memory_backed": 1, "power": 1}
    for name, value in settings.items():
        (directory / name).write_text(str(value))


def in_guest(words: list[str]) -> None:
    if not os.path.ismount("/sys/fs/bpf"):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=False)
    with tempfile.TemporaryDirectory() as folder:
        if words[0] == "--kinds":
            module()
            json.dump(Guest(Path(folder)).kinds(), sys.stdout)
        else:
            path = Path(words[1])
            path = path if path.exists() else Path(f"/run/host{path}")
            guest, objects = Guest(Path(folder)), json.loads(path.read_text())
            json.dump(
                {name: guest.object(content) for name, content in objects.items()}, sys.stdout
            )


def ask(kernel: str, *words: str) -> dict[str, dict[str, str]]:
    command = [sys.executable, "-B", str(Path(__file__).resolve()), *words]
    if kernel != HERE:
        command = [str(LAB / "run"), "-k", kernel, "-t", "1500", "--", *command]
    found: dict[str, dict[str, str]] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    return found


def survey(path: str) -> None:
    kernels = (*GUESTS, HERE)
    found = {kernel: ask(kernel, "--kinds") for kernel in kernels}
    objects = {
        f"{name} of {kernel}": content
        for kernel in kernels
        for name, content in found[kernel]["objects"].items()
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(objects, file)
        file.flush()
        ran = {kernel: ask(kernel, "--run", file.name) for kernel in kernels}
    notes: list[str] = []
    heads = [f"{kernel} ({found[kernel]['release']})" for kernel in kernels]
    lines = [
        "# Kernels",
        "",
        "Made by `lab/survey.py`, which runs every kind of probe on each.",
        "",
    ]
    lines += table(["probe", *heads], [
        [name, *(cell(found[kernel]["kinds"][name], notes) for kernel in kernels)] for name in KINDS
    ])  # fmt: skip
    lines += ["", "Objects compiled on one kernel (rows), run on the others:", ""]
    lines += table(["object", *kernels], [
        [name, *(cell(ran[kernel][name], notes) for kernel in kernels)] for name in objects
    ])  # fmt: skip
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    Path(path).write_text("\n".join(lines) + "\n")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def cell(answer: str, notes: list[str]) -> str:
    """A reason becomes a note below the tables."""
    word, _, reason = answer.partition(": ")
    if not reason:
        return word
    if reason not in notes:
        notes.append(reason)
    return f"{word} ({notes.index(reason) + 1})"


if __name__ == "__main__":
    if sys.argv[1:2] in (["--kinds"], ["--run"]):
        in_guest(sys.argv[1:])
    else:
        survey(sys.argv[1])
