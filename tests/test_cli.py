"""The command as users start it: streams, exit codes, refusals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.options import UsageError, parse, usage
from bpfscript.runtime.info import report

ROOT = Path(__file__).parent.parent
TOOL = [sys.executable, "-m", "bpfscript.cli"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BPFTRACE_")}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def tool(*words: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    done = subprocess.run(
        [*TOOL, *words], capture_output=True, text=True, errors="surrogateescape", timeout=60,
        input=stdin, env=environment(**more),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_options_anywhere_and_named_parameters() -> None:
    command = parse(["a.bt", "-q", "1", "-B", "full", "--", "--x=2", "--y", "z"])
    assert command.words == ["a.bt", "1", "z"]
    assert command.named == {"x": "2", "y": "true"}
    assert command.has("quiet") and command.last("B") == "full" and command.last("f") is None
    assert parse(["--emit-elf", "x"]).last("emit") == "x"
    for words in (["-x"], ["-e"], ["--nosuch"]):
        with pytest.raises(UsageError):
            parse(words)


def test_help_and_version() -> None:
    assert tool("-h", "x") == (0, usage("bpfscript"), "")
    assert "--debuginfo" not in usage("bpfscript") and "--emit-elf" not in usage("bpfscript")
    code, out, err = tool("-V")
    assert (code, err) == (0, "") and re.fullmatch(r"bpfscript v\d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-e", ""), "filename or -e 'program' required."),
        (("-x",), "option -x not recognized"),
        (("-B", "foo", "-e", "begin { }"), "-B must be either 'line', 'full', or 'none'."),
        (("-c", "true", "-p", "1", "-e", "begin { }"), "Cannot use both -c and -p."),
        (("-kk", "-e", "begin { }"), "-kk has been deprecated: -k may be given once"),
        (("-k", "--no-warnings", "x"), "-k, --warnings conflicts with --no-warnings"),
        (("--test", "--bench", "x"), "--bench conflicts with existing --mode"),
        (("--mode", "foo", "x"), "--mode can only be codegen, format, test, bench, not 'foo'."),
        (("--no-feature", "foo", "x"), "--no-feature can only have values 'kprobe_multi"),
    ],
)
def test_usage_errors(words: tuple[str, ...], said: str) -> None:
    code, out, err = tool(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"ERROR: USAGE: {said}")
    explained = {"-x", "-c"} & set(words)  # what options there are, or which exclude each other
    assert bool(explained) == ("\nUSAGE: bpfscript [options]" in err)


def test_nothing_given_is_a_wish_for_help() -> None:
    assert tool() == (1, "", usage("bpfscript"))


@pytest.mark.parametrize("flag", ["--usdt-file-activation", "--debuginfo=x"])
def test_what_bpftrace_has_and_we_do_not(flag: str) -> None:
    code, _, err = tool(flag, "-e", "begin { }")
    name = flag.partition("=")[0]
    assert code == 1 and err.splitlines()[0] == f"ERROR: {name} is not supported"


@as_root
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("-p", "a1"), 1, "Failed to parse pid: invalid integer: a1"),
        (("-p", "11x"), 1, "Failed to parse pid: invalid trailing bytes: 11x"),
        (("-p", "99999999"), 1, "Pid out of range: 99999999"),
        (("-f", "xml"), 1, 'Invalid output format "xml"'),
        (("-o", "/nonexistent/x"), 1, 'Failed to open output file: "/nonexistent/x": No such'),
        (("--probe-filter", "["), 255, "Invalid --probe-filter regex '['"),
        (("-c", "/nonexistent"), 1, "Failed to fork child: Path '/nonexistent' does not exist"),
    ],
)
def test_refusals(words: tuple[str, ...], status: int, said: str) -> None:
    code, out, err = tool(*words, "-e", "begin { }")
    assert (code, out) == (status, "") and err.startswith(f"ERROR: {said}")


@as_root
def test_scripts_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "a.bt").write_text("begin { print($1); }")
    assert tool(str(tmp_path / "a.bt"), "5", "-q") == (0, "5\n\n\n", "")
    assert tool("-", stdin="begin { print(2); }") == (0, "2\n\n\n", "Attached 1 probe\n")
    out = tmp_path / "out"
    assert tool("-q", "-o", str(out), "-e", "begin { @ = 1; }") == (0, "", "")
    assert out.read_text() == "\n\n@: 1\n"
    code, _, err = tool(str(tmp_path))
    assert code == 1 and err == f"ERROR: failed to open file '{tmp_path}': Is a directory\n"


@as_root
def test_nothing_to_attach(tmp_path: Path) -> None:
    (tmp_path / "empty.bt").touch()
    assert tool(str(tmp_path / "empty.bt")) == (1, "No probes to attach\n", "")
    assert tool("-q", str(tmp_path / "empty.bt")) == (1, "", "")
    said = "ERROR: No probes attached; use --bench to run benchmark probes.\n"
    assert tool("-e", "bench:a { }") == (255, "", said)


@as_root
def test_probe_filter() -> None:
    script = "begin { print(0) } i:ms:1 { print(1); exit() } i:ms:2 { print(2); exit() }"
    assert tool("-q", "--probe-filter", "ms:2$", "-e", script) == (0, "0\n2\n\n\n", "")


@as_root
def test_named_parameters() -> None:
    script = 'begin { print(getopt("aa", 1, "how many")); print(getopt("b")); }'
    shown = "HINT: expected program options:\n--aa: how many\n--b\n"
    assert tool("-e", script, "--", "--help") == (1, "", shown)
    assert tool("-q", "-e", script, "--", "--aa=3", "--b") == (0, "3\ntrue\n\n\n", "")


@as_root
def test_stages(tmp_path: Path) -> None:
    code, out, _ = tool("-d", "asm,ir", "-e", "begin { }")
    assert code == 0 and re.findall("^== .*", out, re.M) == ["== ir ==", "== asm =="]
    code, out, err = tool("-d", "ast", "-q", "-e", "begin { print(1); }")  # as bpftrace does
    assert (code, out) == (0, "1\n\n\n") and err.startswith("== nodes (AST) ==\nProgram\n")
    assert tool("-d", "x", "-e", "begin { }")[2].startswith("ERROR: USAGE: invalid option for -d")
    path = tmp_path / "x"
    assert tool("--emit-elf", f"{path}.o", "-e", "begin { }") == (0, "", "")
    assert Path(f"{path}.o").read_bytes()[:4] == b"\x7fELF"
    assert tool("--emit-llvm", str(path), "--mode", "codegen", "-e", "begin { }") == (0, "", "")
    assert "define" in Path(f"{path}.original.ll").read_text()
    assert sorted(os.listdir(tmp_path)) == ["x.o", "x.original.ll"]


@as_root
def test_colour() -> None:
    words = ("-e", "begin { foo }")
    red = (
        "\033[31mstdin:1:9-12: ERROR: Unknown identifier: 'foo'\033[0m\nbegin { foo }\n        ~~~"
    )
    assert tool(*words, BPFTRACE_COLOR="always")[2].startswith(red)
    assert "\033" not in tool(*words)[2]
    assert tool("-q", "-e", "begin { }", BPFTRACE_COLOR="x")[2].startswith(
        "WARNING: Invalid env value! The valid values of `BPFTRACE_COLOR` are"
    )


@as_root
def test_bytes_that_are_not_utf_8() -> None:
    script = 'begin { printf("%s\\n", str($1)) }'
    assert tool("-q", "-e", script, "\udcff", LC_ALL="C")[1] == "\udcff\n\n\n"
    code, _, err = tool("-e", "begin { \udcff }", LC_ALL="C")
    assert code == 1 and "begin { ? }" in err


def closed_early(*words: str) -> int:
    """Exit code of the tool when nobody reads what it prints."""
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [*TOOL, *words], stdout=write, stderr=subprocess.PIPE, env=environment(), text=True
    ) as process:
        os.close(write)
        assert process.communicate(timeout=60)[1] in ("", "Attached 1 probe\n")
    return process.returncode


@as_root
def test_nobody_reads() -> None:
    assert closed_early("-e", "i:ms:1 { print(1); }") == -signal.SIGPIPE
    assert closed_early("-l", "software:*") == -signal.SIGPIPE
    assert closed_early("-h") == -signal.SIGPIPE


@as_root
def test_no_streams_at_all() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *TOOL, "-l", "software:*"], env=environment()
    )
    assert done.returncode == 0


@as_root
def test_a_fault_of_ours_is_one_line() -> None:
    code = "from bpfscript import cli, modes\nmodes.run = lambda *a: [][1]\ncli.main(['-e', 'x'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 70 and done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("BUG: bpfscript ") and first.endswith(
        "IndexError: list index out of range"
    )
    assert second.startswith("HINT: ")


@as_root
def test_listing(tmp_path: Path) -> None:
    code, out, err = tool("-l", "interval:*")
    assert (code, out, err) == (0, "interval:hz:\ninterval:ms:\ninterval:s:\ninterval:us:\n", "")
    (tmp_path / "a.bt").write_text("begin { } s:cpu:5 { }")
    assert tool("-l", str(tmp_path / "a.bt")) == (0, "software:cpu:\n", "")
    assert tool("-l", "-e", "i:s:1 { }") == (0, "interval:s:\n", "")
    _, out, err = tool("-l", "nosuch.bt")
    assert out == "" and err.startswith("WARNING: It appears that 'nosuch.bt' is a filename but")
    (tmp_path / "functions").write_text("vfs_read\nvfs_write\n")
    words = ("--traceable-functions", str(tmp_path / "functions"), "-l", "k:vfs_r*")
    assert tool(*words) == (0, "kprobe:vfs_read\n", "")


def test_info() -> None:
    text = report("1.2.3")
    titles = ["System", "Build", "Kernel helpers", "Kernel features", "Probe types", "Uses"]
    assert re.findall(r"^\S.*", text, re.M) == titles
    assert "  version: 1.2.3\n" in text
    answers = re.findall(r"(?:yes|no|unknown \(.*?\))\b", text.partition("Kernel helpers")[2])
    assert len(answers) >= 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-e", "struct s { int x int y; }; begin { }"), "expected ';'"),
        (("-e", "#include <there_is_none.h>\nbegin { }"), "fatal error: 'there_is_none.h' file"),
        (
            ("--include", "there_is_none.h", "-e", "begin { print(sizeof(struct s)); }"),
            "ERROR: fatal error: 'there_is_none.h' file not found\n",
        ),
    ],
)
def test_what_a_c_compiler_refuses_has_a_status_of_its_own(
    words: tuple[str, ...], said: str
) -> None:
    code, out, err = tool(*words)
    assert (code, out) == (2, "") and said in err


def test_a_list_of_functions_that_cannot_be_read() -> None:
    code, _, err = tool("--traceable-functions", "/there/is/none", "-e", "begin { }")
    assert code == 1 and "/there/is/none" in err


@as_root
@pytest.mark.requires("tracefs", "btf")
def test_the_tool_is_quiet_while_it_traces() -> None:
    """It would be seen by traces of opens, of maps, of forks."""
    script = """
        begin { @me = pid; @h[1] = hist(3); @k = "a"; }
        tracepoint:syscalls:sys_enter_openat /pid == @me/ { printf("%s\\n", str(args.filename)); }
        interval:ms:200 { print((1, comm)); print(@k); time("%H\\n"); printf("%d %d\\n", 1, 2); }
        interval:ms:500 { clear(@h); clear(@k); clear(@me); exit(); }
    """
    status, out, _ = tool("-q", "-e", script)
    lines = out.strip().splitlines()
    assert status == 0 and "1 2" in lines
    assert [line for line in lines if ".py" in line] == []
